//! Images on their way, and what becomes of the mux.

use std::fs;
use std::io::Write as _;

use bytes::Bytes;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};
use tonic::Status;

use crate::bench::{Bench, End, lock, said, signal};

/// More than one frame, and no multiple of one.
fn image() -> Vec<u8> {
    (0..3_000_017_u32).map(|byte| (byte % 251) as u8).collect()
}

#[tokio::test]
async fn an_image_arrives_as_it_is() {
    let bench = Bench::start();
    fs::write(bench.path("a.img"), image()).unwrap();
    let output = bench.run("flasher flash a.img").await;
    assert_eq!(said(&output), (Some(0), "", ""));
    let upload = bench.state.upload.borrow().clone();
    assert!(upload.bytes == image(), "the image is another");
    assert_eq!((upload.encoding, upload.end), (None, Some(End::Complete)));
    assert!(upload.largest_frame <= 1 << 20, "{}", upload.largest_frame);
    let args = lock(&bench.state.args)["flasher.flash"].clone();
    assert_eq!(args[0]["kind"], "client_stream");
    assert_eq!(args[1], Value::Null);
}

#[tokio::test]
async fn a_compressed_image_is_announced_and_passed_on() {
    let bench = Bench::start();
    fs::write(bench.path("a.zst"), image()).unwrap();
    let output = bench.run("flasher flash --compression zstd -t root:a.zst").await;
    assert_eq!(said(&output), (Some(0), "", ""));
    let upload = bench.state.upload.borrow().clone();
    assert!(upload.bytes == image(), "the image is another");
    assert_eq!(upload.encoding.as_deref(), Some("zstd"));
    let args = lock(&bench.state.args)["flasher.flash"].clone();
    assert_eq!(args[0]["x_jmp_content_encoding"], "zstd");
    assert_eq!(args[1], "root");
}

#[tokio::test]
async fn a_url_is_the_exporters_business() {
    let bench = Bench::start();
    let output = bench.run("storage flash http://127.0.0.1/a%2Fb.img?sig=x").await;
    assert_eq!(said(&output), (Some(0), "", ""));
    assert_eq!(bench.calls(), ["storage.host", "storage.write", "storage.dut"]);
    let args = lock(&bench.state.args)["storage.write"].clone();
    let url = "http://127.0.0.1/a%2Fb.img?sig=x";
    let handle = json!({"kind": "presigned_request", "headers": {}, "url": url, "method": "GET"});
    assert_eq!(Value::from(args), json!([handle]));
    assert!(!lock(&bench.state.requests).contains_key("Stream"));

    let output = bench.run("storage flash http://127.0.0.1/b.img.xz").await;
    assert_eq!(said(&output), (Some(0), "", ""));
    let maps = lock(&bench.state.args)["storage.write"][1].clone();
    let urls: Vec<_> = maps.as_array().unwrap().iter().map(|map| map["url"].clone()).collect();
    assert_eq!(
        urls,
        ["b.img.xz.bmap", "b.img.bmap", "b.bmap"]
            .map(|name| { json!(format!("http://127.0.0.1/{name}")) })
    );
}

#[tokio::test]
async fn a_block_map_that_lies_beside_its_image_goes_with_it() {
    let bench = Bench::start();
    fs::write(bench.path("a.img.xz"), image()).unwrap();
    fs::write(bench.path("a.bmap"), "<bmap/>").unwrap();
    let output = bench.run("storage flash a.img.xz").await;
    assert_eq!(said(&output), (Some(0), "", "with the block map a.bmap\n"));
    let args = lock(&bench.state.args)["storage.write"].clone();
    assert_eq!((args.len(), &args[1]["kind"]), (2, &json!("client_stream")));
    let output = bench.run("storage flash a.img.xz --no-bmap").await;
    assert_eq!(said(&output), (Some(0), "", ""));
    assert_eq!(lock(&bench.state.args)["storage.write"].len(), 1);
}

#[tokio::test]
async fn a_block_map_is_lent_beside_its_image() {
    let bench = Bench::start();
    fs::write(bench.path("a.bmap"), "<bmap/>").unwrap();
    let output = bench.run("storage flash http://127.0.0.1/a.img --bmap a.bmap").await;
    assert_eq!(said(&output), (Some(0), "", ""));
    assert_eq!(bench.calls(), ["storage.host", "storage.write", "storage.dut"]);
    let args = lock(&bench.state.args)["storage.write"].clone();
    assert_eq!(args[0]["url"], "http://127.0.0.1/a.img");
    assert_eq!(args[1]["kind"], "client_stream");
    assert_eq!(bench.state.upload.borrow().bytes, b"<bmap/>");

    let output = bench.run("storage flash http://127.0.0.1/a.img --bmap no.bmap").await;
    let words = "Error: no.bmap: No such file or directory (os error 2)\n";
    assert_eq!(said(&output), (Some(1), "", words));
    assert_eq!(bench.calls().len(), 3, "nothing is switched for a map that is missing");
}

#[tokio::test]
async fn what_a_hook_writes_ends_up_at_the_dut() {
    for driver in ["mux", "storage"] {
        let bench = Bench::start();
        fs::write(bench.path("a.img"), image()).unwrap();
        let output = bench.run(&format!("{driver} write --image a.img")).await;
        assert_eq!(said(&output), (Some(0), "", ""));
        assert_eq!(bench.calls(), ["host", "write", "dut"].map(|it| format!("{driver}.{it}")));
        assert_eq!(bench.state.upload.borrow().bytes.len(), image().len());
    }
}

#[tokio::test]
async fn a_missing_image_switches_nothing() {
    let bench = Bench::start();
    for line in ["storage flash no.img", "mux write no.img", "flasher flash -t a:no.img"] {
        let output = bench.run(line).await;
        let words = "Error: no.img: No such file or directory (os error 2)\n";
        assert_eq!(said(&output), (Some(1), "", words), "{line}");
    }
    assert_eq!(bench.calls(), [""; 0]);
}

#[tokio::test]
async fn a_failed_write_gives_the_storage_back() {
    let bench = Bench::start();
    fs::write(bench.path("a.img"), "x").unwrap();
    bench.refuse("write", Status::unknown("disk full"));
    let output = bench.run("storage flash a.img").await;
    assert_eq!(said(&output), (Some(1), "", "Error: storage: write: disk full\n"));
    assert_eq!(bench.calls(), ["storage.host", "storage.write", "storage.dut"]);
}

#[tokio::test]
async fn storage_that_stays_with_the_host_is_spoken_of() {
    let bench = Bench::start();
    fs::write(bench.path("a.img"), "x").unwrap();
    bench.refuse("write", Status::unknown("disk full"));
    bench.refuse("dut", Status::unknown("mux gone"));
    let output = bench.run("storage flash a.img").await;
    let words = "Error: storage: the storage is still connected to the host: \
                 storage: dut: mux gone (after: storage: write: disk full)\n";
    assert_eq!(said(&output), (Some(1), "", words));
}

#[tokio::test]
async fn storage_that_could_not_be_switched_is_left_alone() {
    let bench = Bench::start();
    fs::write(bench.path("a.img"), "x").unwrap();
    bench.refuse("host", Status::unknown("mux gone"));
    let output = bench.run("storage flash a.img").await;
    assert_eq!(said(&output), (Some(1), "", "Error: storage: host: mux gone\n"));
    assert_eq!(bench.calls(), ["storage.host"]);
}

#[tokio::test]
async fn an_interrupted_flash_gives_the_storage_back_and_claims_no_end() {
    for (number, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let bench = Bench::start();
        let pipe = bench.path("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        // Open for both, so that nobody waits; the image has no end as long as this is open.
        let mut image = fs::File::options().read(true).write(true).open(&pipe).unwrap();
        let child = bench.j("storage flash pipe").spawn().unwrap();
        image.write_all(&[1; 4096]).unwrap();
        bench.called("storage.write").await;
        signal(&child, number);
        let output = child.wait_with_output().await.unwrap();
        let words = "storage: interrupted; the storage is connected to the DUT\n";
        assert_eq!(said(&output), (Some(code), "", words));
        assert_eq!(bench.calls(), ["storage.host", "storage.write", "storage.dut"]);
        let mut upload = bench.state.upload.subscribe();
        let upload = upload.wait_for(|upload| upload.end.is_some()).await.unwrap();
        assert_eq!(upload.end, Some(End::CutOff));
    }
}

#[tokio::test]
async fn a_dump_waits_for_what_comes_after_the_call() {
    let bench = Bench::start();
    let chunks: Vec<_> = image().chunks(70_000).map(Bytes::copy_from_slice).collect();
    *lock(&bench.state.download) = chunks.clone();
    let output = bench.run("storage dump dump.img").await;
    assert_eq!(said(&output), (Some(0), "", ""));
    assert!(fs::read(bench.path("dump.img")).unwrap() == image(), "the image is another");
    assert_eq!(bench.calls(), ["storage.host", "storage.read", "storage.dut"]);
    *lock(&bench.state.download) = chunks;
    let output = bench.run("fs read-bytes a.txt").await;
    assert!(output.stdout == image(), "the image is another");
}

#[tokio::test]
async fn a_dump_that_breaks_off_leaves_no_file() {
    let bench = Bench::start();
    *lock(&bench.state.download) = vec![Bytes::from_static(b"half")];
    *lock(&bench.state.breaks_off) = true;
    let output = bench.run("flasher dump dump.img").await;
    let words = "Error: flasher: resource: disk gone (Unavailable)\n";
    assert_eq!(said(&output), (Some(1), "", words));
    let left: Vec<_> = fs::read_dir(bench.directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "only the socket: {left:?}");
}

#[tokio::test]
async fn a_remote_file_is_closed_whatever_happens() {
    let bench = Bench::start();
    let output = bench.run_with("fs write-bytes a.txt", b"piped").await;
    assert_eq!(said(&output), (Some(0), "", ""));
    assert_eq!(bench.state.upload.borrow().bytes, b"piped");
    assert_eq!(bench.calls(), ["fs.open", "fs.file_write", "fs.file_close"]);
    assert_eq!(lock(&bench.state.args)["fs.open"], ["a.txt", "wb"]);
    assert_eq!(lock(&bench.state.args)["fs.file_close"], ["fd-1"]);

    let bench = Bench::start();
    bench.refuse("file_write", Status::unknown("disk full"));
    let output = bench.run_with("fs write-bytes a.txt", b"piped").await;
    assert_eq!(said(&output), (Some(1), "", "Error: fs: file_write: disk full\n"));
    assert_eq!(bench.calls(), ["fs.open", "fs.file_write", "fs.file_close"]);
}
