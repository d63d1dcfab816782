//! What goes wrong in a call, and what the client is told.

use anyhow::Result;
use indoc::{formatdoc, indoc};

use super::cases;
use crate::bench::Bench;
use crate::known::Known;
use crate::subject::Exporter;

cases![methods, drivers, long_texts[LongErrorsAreLost], resources, reset];

const DEVICES: &str = indoc! {"
    export:
      power: {type: jumpstarter_driver_power.driver.MockPower}
      flasher: {type: jumpstarter_driver_opendal.driver.MockFlasher}
      shell: {type: jumpstarter_driver_shell.driver.Shell, config: {methods: {hello: echo hello}}}
      echo: {type: jumpstarter_driver_network.driver.EchoNetwork}
"};

async fn methods(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, DEVICES).await?;
    let script = indoc! {r#"
        from jumpstarter.client.core import (
            DriverError, DriverInvalidArgument, DriverMethodNotImplemented,
        )
        from jumpstarter.utils.env import env
        from raw import REFUSED, Exporter, code, raises

        with env() as client:
            with raises(DriverMethodNotImplemented, "method nonsense not found on driver"):
                client.power.call("nonsense")
            with raises(DriverError, "method nonsense not found on driver"):
                list(client.power.streamingcall("nonsense"))
            with raises((DriverError, DriverInvalidArgument)):
                client.power.call("on", "too", "many")
            client.power.on()

        exporter = Exporter()
        power, flasher, echo = [exporter.uuid(name) for name in ("power", "flasher", "echo")]
        for call, uuid, method, text in [
            (exporter.call, power, "nonsense", "not found on driver"),
            (exporter.streaming_call, power, "nonsense", "not found on driver"),
            (exporter.call, power, "read", "missing marker marker_drivercall"),
            (exporter.streaming_call, power, "on", "missing marker marker_streamingdrivercall"),
            (exporter.call, echo, "connect", "missing marker marker_drivercall"),
        ]:
            refusal = code(lambda: call(uuid, method))
            assert refusal == ("NOT_FOUND", f"method {method} {text}"), refusal
        for call in [
            lambda: exporter.call(flasher, "flash"),
            lambda: exporter.call(power, "on", 1),
        ]:
            assert code(call)[0] in REFUSED, code(call)
    "#};
    exporter.client().python(script).await?;
    Ok(())
}

/// Which error it is doesn't matter to a client, as long as it is one, and the exporter lives.
async fn drivers(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, DEVICES).await?;
    let script = indoc! {r#"
        from uuid import uuid4
        from raw import REFUSED, Exporter, code
        exporter = Exporter()
        for uuid in str(uuid4()), "", "not a uuid", "x" * 10_000:
            for call in exporter.call, exporter.streaming_call:
                assert code(lambda: call(uuid, "on"))[0] in REFUSED
        exporter.call(exporter.uuid("power"), "on")
    "#};
    exporter.client().python(script).await?;
    Ok(())
}

async fn long_texts(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, DEVICES).await?;
    let expected = if bench.differs(Known::LongErrorsAreLost) {
        "RESOURCE_EXHAUSTED"
    } else {
        "INVALID_ARGUMENT"
    };
    let script = formatdoc! {r#"
        from raw import REFUSED, Exporter, code
        exporter = Exporter()
        shell = exporter.uuid("shell")
        for method in "x" * 20_480, "é\n" * 10_240:
            error = code(lambda: exporter.streaming_call(shell, "call_method", method, None))
            assert error[0] == "{expected}", error
        assert exporter.streaming_call(shell, "call_method", "hello", None)
    "#};
    exporter.client().python(&script).await?;
    Ok(())
}

async fn resources(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, DEVICES).await?;
    let script = indoc! {r#"
        from uuid import uuid4
        from jumpstarter.client.core import DriverInvalidArgument
        from jumpstarter.utils.env import env
        from raw import REFUSED, Exporter, code, raises

        exporter = Exporter()
        flasher = exporter.uuid("flasher")

        def flash(handle):
            return code(lambda: exporter.call(flasher, "flash", handle, None))

        unknown = str(uuid4())
        assert flash({"kind": "client_stream", "uuid": unknown})[0] in REFUSED
        url = "http://127.0.0.1:1/"
        for handle in [
            "nonsense", 5, None, {},
            {"kind": "nonsense"},
            {"kind": "client_stream", "uuid": "nonsense"},
            {"kind": "presigned_request", "headers": {}, "url": url, "method": "DELETE"},
        ]:
            assert flash(handle)[0] == "INVALID_ARGUMENT", (handle, flash(handle))
        text = "DriverCall 'flash' failed with gRPC INVALID_ARGUMENT: "
        with env() as client, raises(DriverInvalidArgument, text):
            client.flasher.call("flash", {})
    "#};
    exporter.client().python(script).await?;
    Ok(())
}

async fn reset(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, DEVICES).await?;
    let script = indoc! {r#"
        from jumpstarter_protocol import jumpstarter_pb2
        from raw import Exporter, code
        exporter = Exporter()
        request = jumpstarter_pb2.ResetRequest()
        assert code(lambda: exporter.service.Reset(request, timeout=20))[0] == "UNIMPLEMENTED"
    "#};
    exporter.client().python(script).await?;
    Ok(())
}
