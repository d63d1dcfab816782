//! Files that are open.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;

use serde_json::json;

use super::*;
use crate::encoding::{Encoding, decode};
use crate::testing::{cut_off, whole};

#[tokio::test]
async fn a_file_is_written_when_it_is_closed() {
    let bench = Bench::new().await;
    let fd = bench.open("boot/image", "wb").await;
    assert_eq!(bench.call("exists", json!(["boot/image"])).await, Ok(json!(false)));
    for part in [&b"one"[..], b"", b"two"] {
        let part = bench.lent.bytes(part);
        assert_eq!(bench.call("file_write", json!([fd, part])).await, Ok(Value::Null));
    }
    assert_eq!(bench.on_disk("boot/image"), None);
    assert_eq!(bench.call("file_close", json!([fd])).await, Ok(Value::Null));
    assert_eq!(bench.on_disk("boot/image").unwrap(), b"onetwo");
    assert_eq!(names(&bench.root().join("boot")), ["image"]);
    assert_eq!(bench.read("boot/image").await.unwrap(), b"onetwo");

    let fd = bench.open("/boot/image", "wb").await;
    bench.call("file_close", json!([fd])).await.unwrap();
    assert_eq!(bench.on_disk("boot/image").unwrap(), b"", "the old content is replaced");
}

#[tokio::test]
async fn an_incomplete_upload_leaves_the_file_as_it_was() {
    const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcbH\xcd\xc9\xc9\xe7\x02";
    for (expected, source) in [
        ("receive the data: the client went away", (|| cut_off("half")) as fn() -> crate::Source),
        ("the gzip data ends early", || decode(Encoding::Gzip, whole(GZIP))),
    ] {
        let bench = Bench::new().await;
        bench.write("old", b"content").await.unwrap();
        for (path, before) in [("old", Some(b"content".to_vec())), ("new", None)] {
            let fd = bench.open(path, "wb").await;
            bench.call("file_write", json!([fd, bench.lent.bytes("all")])).await.unwrap();
            let handle = bench.lent.source(source());
            let failed = bench.call("file_write", json!([fd, handle])).await;
            assert_eq!(failed, Err(expected.into()));

            let handle = bench.lent.bytes("once more");
            let again = bench.call("file_write", json!([fd, handle])).await;
            assert_eq!(again, Err(format!("an earlier write failed: {expected}")));
            assert_eq!(bench.call("file_writable", json!([fd])).await, Ok(json!(false)));
            let close = bench.call("file_close", json!([fd])).await;
            let message = format!("'{path}' was not written and is as it was before: {expected}");
            assert_eq!(close, Err(message));
            assert_eq!(bench.call("file_close", json!([fd])).await, Ok(Value::Null));
            assert_eq!(bench.on_disk(path), before);
        }
        assert_eq!(names(&bench.root()), ["old"]);
        assert_eq!(bench.call("get_created_resources", json!([])).await, Ok(json!(["old"])));
    }
}

#[tokio::test]
async fn a_write_that_is_given_up_counts_as_failed() {
    let bench = Bench::new().await;
    let fd = bench.open("file", "wb").await;
    let (_client, lent) = tokio::io::duplex(64);
    let handle = bench.lent.source(Box::pin(tokio::io::BufReader::new(lent)));
    {
        let mut write = Box::pin(bench.call("file_write", json!([fd, handle])));
        tokio::select! {
            biased;
            result = &mut write => panic!("the client has not sent anything: {result:?}"),
            () = std::future::ready(()) => {}
        }
    }
    let close = bench.call("file_close", json!([fd])).await.unwrap_err();
    assert!(close.ends_with("as it was before: the write was cancelled"), "{close}");
    assert_eq!(bench.on_disk("file"), None);
}

#[tokio::test]
async fn what_is_not_closed_is_gone_with_the_lease() {
    let bench = Bench::new().await;
    bench.write("old", b"content").await.unwrap();
    let fd = bench.open("old", "wb").await;
    bench.call("file_write", json!([fd, bench.lent.bytes("new")])).await.unwrap();
    assert_eq!(names(&bench.root()).len(), 2);
    bench.driver.close().await;
    assert_eq!(names(&bench.root()), ["old"]);
    assert_eq!(bench.on_disk("old").unwrap(), b"content");
    let closed = bench.call("file_tell", json!([fd])).await;
    assert_eq!(closed, Err("the storage is not open".into()));

    bench.driver.open().await.unwrap();
    let unknown = bench.call("file_tell", json!([fd])).await;
    assert_eq!(unknown, Err(format!("UUID('{}')", fd.as_str().unwrap())));
    assert_eq!(bench.call("get_created_resources", json!([])).await, Ok(json!([])));
}

#[tokio::test]
async fn a_replaced_file_keeps_its_owner_its_permissions_and_the_links_to_it() {
    let bench = Bench::new().await;
    bench.write("key", b"old").await.unwrap();
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(bench.root().join("key"), private).unwrap();
    // Only root may; for others, the owner stays the same anyway.
    chown(bench.root().join("key"), Some(1), Some(1)).ok();
    let before = fs::metadata(bench.root().join("key")).unwrap();
    symlink("key", bench.root().join("link")).unwrap();
    bench.write("link", b"new").await.unwrap();
    assert_eq!(bench.on_disk("key").unwrap(), b"new");
    let metadata = fs::symlink_metadata(bench.root().join("key")).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o600);
    assert_eq!((metadata.uid(), metadata.gid()), (before.uid(), before.gid()));
    assert!(fs::symlink_metadata(bench.root().join("link")).unwrap().is_symlink());
    bench.call("copy", json!(["key", "copy"])).await.unwrap();
    assert_eq!(fs::metadata(bench.root().join("copy")).unwrap().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn only_regular_files_are_opened() {
    let bench = Bench::new().await;
    bench.call("create_dir", json!(["dir/"])).await.unwrap();
    let _socket = UnixListener::bind(bench.root().join("socket")).unwrap();
    for (path, problem) in [
        ("dir", "'dir' is a directory"),
        ("dir/", "'dir/' is a directory"),
        ("", "'/' is a directory"),
        ("socket", "'socket' is not a regular file"),
    ] {
        for mode in ["rb", "wb"] {
            let opened = bench.call("open", json!([path, mode])).await;
            assert_eq!(opened, Err(problem.into()));
        }
    }
    let missing = bench.call("open", json!(["nope", "rb"])).await;
    assert_eq!(
        missing,
        Err("NotFound: stat 'nope': No such file or directory (os error 2)".into())
    );
    let mode = bench.call("open", json!(["nope", "ab"])).await;
    assert_eq!(mode, Err("argument 'mode': unknown variant `ab`, expected `rb` or `wb`".into()));
    assert_eq!(names(&bench.root()), ["dir", "socket"]);
}

#[tokio::test]
async fn a_file_is_read_from_its_position() {
    let bench = Bench::new().await;
    bench.write("file", b"0123456789").await.unwrap();
    let fd = bench.open("file", "rb").await;
    for (args, position) in [
        (json!([fd, 3]), json!(3)),
        (json!([fd, 2, 1]), json!(5)),
        (json!([fd, -2, 2]), json!(8)),
        (json!([fd, 100, 0]), json!(100)),
        (json!([fd, 4, null]), json!(4)),
    ] {
        assert_eq!(bench.call("file_seek", args).await, Ok(position.clone()));
        assert_eq!(bench.call("file_tell", json!([fd])).await, Ok(position));
    }
    let negative = bench.call("file_seek", json!([fd, -5, 1])).await;
    assert_eq!(negative, Err("invalid seek to a negative position".into()));
    assert_eq!(bench.call("file_seek", json!([fd, 0, 7])).await, Err("invalid whence".into()));

    for expected in ["456789", ""] {
        let (handle, received) = bench.lent.sink();
        bench.call("file_read", json!([fd, handle])).await.unwrap();
        assert_eq!(received.complete().unwrap(), expected.as_bytes());
        assert_eq!(bench.call("file_tell", json!([fd])).await, Ok(json!(10)));
    }
}

#[tokio::test]
async fn a_file_can_do_what_it_was_opened_for() {
    let bench = Bench::new().await;
    bench.write("file", b"content").await.unwrap();
    let reading = bench.open("file", "rb").await;
    let writing = bench.open("file", "wb").await;
    let closed = bench.open("file", "rb").await;
    for _ in 0..2 {
        bench.call("file_close", json!([closed])).await.unwrap();
    }
    for (fd, answers) in [
        (&reading, [false, true, true, false]),
        (&writing, [false, false, false, true]),
        (&closed, [true, false, false, false]),
    ] {
        let questions = ["file_closed", "file_readable", "file_seekable", "file_writable"];
        for (question, answer) in questions.iter().zip(answers) {
            assert_eq!(bench.call(question, json!([fd])).await, Ok(json!(answer)), "{question}");
        }
    }
    for (fd, problem) in
        [(&writing, "the file is open for writing only"), (&closed, "the file is closed")]
    {
        let (handle, received) = bench.lent.sink();
        let problem = Err(problem.to_owned());
        assert_eq!(bench.call("file_read", json!([fd, handle])).await, problem);
        assert_eq!(received.complete(), None);
        assert_eq!(bench.call("file_tell", json!([fd])).await, problem);
        assert_eq!(bench.call("file_seek", json!([fd, 0])).await, problem);
    }
    for (fd, problem) in
        [(&reading, "the file is open for reading only"), (&closed, "the file is closed")]
    {
        let written = bench.call("file_write", json!([fd, bench.lent.bytes("x")])).await;
        assert_eq!(written, Err(problem.to_owned()));
    }
    let read = bench.call("file_tell", json!([reading])).await;
    assert_eq!(read, Ok(json!(0)), "a refused write changes nothing");
}

#[tokio::test]
async fn unknown_descriptors_are_named() {
    let bench = Bench::new().await;
    let fd = "5d3cb0d1-2a0f-4c0e-9a3c-0f0d6a1b2c3d";
    assert_eq!(bench.call("file_tell", json!([fd])).await, Err(format!("UUID('{fd}')")));
    let error = bench.call("file_tell", json!(["zzz"])).await.unwrap_err();
    assert!(error.starts_with("argument 'fd': invalid character"), "{error}");
}
