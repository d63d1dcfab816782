//! Byte streams and resources, frame by frame.

use anyhow::Result;
use indoc::{formatdoc, indoc};

use super::cases;
use crate::bench::Bench;
use crate::known::Known;
use crate::subject::Exporter;

cases![
    half_close,
    headers_come_first,
    other_frames[OtherFramesAreData],
    bad_requests,
    resource_headers,
    resource_is_used_once,
    resource_of_another_driver,
    chunks_of_any_size,
];

const DEVICES: &str = indoc! {"
    export:
      power: {type: jumpstarter_driver_power.driver.MockPower}
      echo: {type: jumpstarter_driver_network.driver.EchoNetwork}
      flasher: {type: jumpstarter_driver_opendal.driver.MockFlasher}
      other: {type: jumpstarter_driver_opendal.driver.MockFlasher}
"};

/// Runs a script with the `exporter`, its drivers' uuids by name in `uuid`, and what the raw module
/// has.
async fn with_streams(bench: &Bench, script: &str) -> Result<()> {
    let exporter = Exporter::start(bench, DEVICES).await?;
    let head = indoc! {r#"
        import json
        from queue import SimpleQueue
        from uuid import uuid4
        from raw import DATA, GOAWAY, REFUSED, Exporter, code, frame, received
        exporter = Exporter()
        uuid = {name: exporter.uuid(name) for name in ("power", "echo", "flasher", "other")}

        def connect(frames, uuid=uuid["echo"]):
            return exporter.stream({"kind": "driver", "uuid": uuid, "method": "connect"}, frames)

        def resource(frames, uuid=uuid["flasher"], **more):
            stream = exporter.stream({"kind": "resource", "uuid": uuid, **more}, frames)
            headers = dict(stream.initial_metadata())
            return stream, headers, json.loads(headers["resource"])

        def flash(handle):
            exporter.call(uuid["flasher"], "flash", handle, None)

        def frames_of(content):
            return [frame(DATA, content), frame(GOAWAY)]
    "#};
    exporter.client().python(&format!("{head}\n{script}")).await?;
    Ok(())
}

/// The end of the client's half, said by GOAWAY or by the stream itself, ends neither the other
/// half nor the call.
async fn half_close(bench: &Bench) -> Result<()> {
    let script = indoc! {r#"
        for frames in [frame(DATA, b"hello"), frame(GOAWAY)], [frame(DATA, b"hello")]:
            stream = connect(frames)
            assert received(stream) == b"hello"
    "#};
    with_streams(bench, script).await
}

async fn headers_come_first(bench: &Bench) -> Result<()> {
    let script = indoc! {r#"
        frames = SimpleQueue()
        stream = connect(iter(frames.get, None))
        stream.initial_metadata()
        frames.put(frame(DATA, b"hello"))
        assert next(stream).payload == b"hello"
        frames.put(None)
    "#};
    with_streams(bench, script).await
}

async fn other_frames(bench: &Bench) -> Result<()> {
    let expected = if bench.differs(Known::OtherFramesAreData) {
        r#"[b"", b"", b"", b"hello"]"#
    } else {
        r#"[b"hello"]"#
    };
    let script = formatdoc! {r#"
        ping, reset, unknown = frame(6), frame(3), frame(9)
        stream = connect([ping, reset, unknown, *frames_of(b"hello")])
        chunks = []
        for message in stream:
            if message.frame_type == GOAWAY:
                break
            chunks.append(message.payload)
        assert chunks == {expected}, chunks
    "#};
    with_streams(bench, &script).await
}

async fn bad_requests(bench: &Bench) -> Result<()> {
    let script = indoc! {r#"
        def refusal(request):
            return code(lambda: next(exporter.stream(request, [])))

        some = str(uuid4())
        for request in [
            "", "{", "[]", "5", "{}",
            {"kind": "nonsense", "uuid": uuid["echo"]},
            {"kind": "driver", "uuid": "nonsense", "method": "connect"},
            {"kind": "driver", "uuid": uuid["echo"]},
            {"kind": "driver", "uuid": some, "method": "connect"},
            {"kind": "resource", "uuid": some},
        ]:
            assert refusal(request)[0] in REFUSED, request

        for name, method, text in [
            ("echo", "nonsense", "method nonsense not found on driver"),
            ("power", "on", "method on missing marker marker_streamcall"),
            ("power", "connect", "method connect not found on driver"),
        ]:
            refused = refusal({"kind": "driver", "uuid": uuid[name], "method": method})
            assert refused == ("NOT_FOUND", text), refused

        # Without any metadata.
        assert code(lambda: next(exporter.router.Stream(iter([]), timeout=20)))[0] in REFUSED
        # What is not known is ignored.
        more = {"kind": "driver", "uuid": uuid["echo"], "method": "connect", "more": [1]}
        assert received(exporter.stream(more, frames_of(b"hello"))) == b"hello"
    "#};
    with_streams(bench, script).await
}

async fn resource_headers(bench: &Bench) -> Result<()> {
    let script = indoc! {r#"
        for encoding in None, "gzip", "xz", "bz2", "zstd":
            stream, headers, handle = resource([], x_jmp_content_encoding=encoding)
            assert handle["kind"] == "client_stream", handle
            assert handle["x_jmp_content_encoding"] == encoding, handle
            assert headers["x_jmp_accept_encoding"] == (encoding or ""), headers
            stream.cancel()

        # An encoding that nobody knows is an error, here or when the handle is used.
        try:
            stream, _, handle = resource(frames_of(b"content"), x_jmp_content_encoding="rot13")
        except Exception:
            pass
        else:
            assert code(lambda: flash(handle))[0] in REFUSED
    "#};
    with_streams(bench, script).await
}

async fn resource_is_used_once(bench: &Bench) -> Result<()> {
    let script = indoc! {r#"
        stream, _, handle = resource(frames_of(b"the image"))
        flash(handle)
        assert received(stream) == b"", "the end of a source is said to the client"
        used = [handle]

        # The client's half of a sink is closed before the first byte arrives.
        stream, _, handle = resource([frame(GOAWAY)])
        exporter.call(uuid["flasher"], "dump", handle, None)
        assert received(stream) == b"the image"
        used.append(handle)

        for handle in used:
            assert code(lambda: flash(handle))[0] in REFUSED
    "#};
    with_streams(bench, script).await
}

async fn resource_of_another_driver(bench: &Bench) -> Result<()> {
    let script = indoc! {r#"
        stream, _, handle = resource(frames_of(b"the image"), uuid["other"])
        assert code(lambda: flash(handle))[0] in REFUSED
        exporter.call(uuid["other"], "flash", handle, None)
        assert received(stream) == b""
    "#};
    with_streams(bench, script).await
}

async fn chunks_of_any_size(bench: &Bench) -> Result<()> {
    let script = indoc! {r#"
        import os
        from concurrent.futures import ThreadPoolExecutor
        image = os.urandom(9_000_000)
        cuts = [0, 0, 1, 2, 65_535, 65_536, 4_000_000, 7_999_999, len(image)]
        chunks = [frame(DATA, image[start:end]) for start, end in zip(cuts, cuts[1:])]
        stream, _, handle = resource([*chunks, frame(GOAWAY)])
        flash(handle)
        received(stream)
        stream, _, handle = resource([frame(GOAWAY)])
        with ThreadPoolExecutor() as pool:
            dump = pool.submit(received, stream)
            exporter.call(uuid["flasher"], "dump", handle, None)
            assert dump.result() == image
    "#};
    with_streams(bench, script).await
}
