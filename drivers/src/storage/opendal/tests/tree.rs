//! What is done with paths.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::*;

#[tokio::test]
async fn stat_tells_files_from_directories() {
    let bench = Bench::new().await;
    bench.write("dir/file", b"content").await.unwrap();
    assert_eq!(
        bench.call("stat", json!(["dir/file"])).await,
        Ok(json!({
            "content_disposition": null,
            "content_length": 7,
            "content_md5": null,
            "content_type": null,
            "etag": null,
            "mode": {"entry_is_file": true, "entry_is_dir": false},
        }))
    );
    for path in ["dir", "dir/", "/", "", "dir/.."] {
        let stat = bench.call("stat", json!([path])).await.unwrap();
        assert_eq!(stat["mode"], json!({"entry_is_file": false, "entry_is_dir": true}), "{path}");
    }
    let stat = bench.call("stat", json!(["dir/file/"])).await;
    assert_eq!(stat, Err("stat 'dir/file/': not a directory".into()));
    for (path, exists) in [
        ("dir", true),
        ("dir/", true),
        ("/", true),
        ("dir/file", true),
        ("dir/file/", false),
        ("dir/file/more", false),
        ("nope", false),
    ] {
        assert_eq!(bench.call("exists", json!([path])).await, Ok(json!(exists)), "{path}");
    }
}

#[tokio::test]
async fn hashes_are_those_of_the_content() {
    let bench = Bench::new().await;
    bench.write("file", b"hello world").await.unwrap();
    let sha256 = json!("b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
    for (args, expected) in [
        (json!(["file"]), &sha256),
        (json!(["file", null]), &sha256),
        (json!(["file", "sha256"]), &sha256),
        (json!(["file", "md5"]), &json!("5eb63bbbe01eeed093cb22bb8f5acdc3")),
    ] {
        assert_eq!(bench.call("hash", args).await.as_ref(), Ok(expected));
    }
    let error = bench.call("hash", json!(["file", "sha1"])).await.unwrap_err();
    assert_eq!(error, "argument 'algo': unknown variant `sha1`, expected `md5` or `sha256`");
    assert!(bench.call("hash", json!(["nope"])).await.is_err());
    assert_eq!(bench.call("hash", json!(["/"])).await, Err("'/' is a directory".into()));
}

#[tokio::test]
async fn files_are_copied_and_renamed() {
    let bench = Bench::new().await;
    bench.write("file", b"content").await.unwrap();
    bench.write("target", b"a longer content").await.unwrap();
    bench.call("copy", json!(["file", "a/b/copy"])).await.unwrap();
    bench.call("copy", json!(["file", "target"])).await.unwrap();
    assert_eq!(bench.on_disk("a/b/copy").unwrap(), b"content");
    assert_eq!(bench.on_disk("target").unwrap(), b"content");
    bench.call("rename", json!(["a/b/copy", "c/moved"])).await.unwrap();
    assert_eq!(bench.on_disk("c/moved").unwrap(), b"content");
    assert_eq!(bench.on_disk("a/b/copy"), None);
    bench.call("rename", json!(["c", "d"])).await.unwrap();
    assert_eq!(bench.on_disk("d/moved").unwrap(), b"content");

    for method in ["copy", "rename"] {
        for (source, target, problem) in [
            ("file", "/file", "'file' and 'file' are the same"),
            ("a/", "x", "'a/' is a directory"),
            ("file", "a/", "'a/' is a directory"),
        ] {
            let result = bench.call(method, json!([source, target])).await;
            assert_eq!(result, Err(problem.into()), "{method}");
        }
        let missing = bench.call(method, json!(["nope", "new/x"])).await.unwrap_err();
        assert!(missing.ends_with("'nope': No such file or directory (os error 2)"), "{missing}");
        assert!(bench.call(method, json!(["file", "a"])).await.is_err(), "{method}");
    }
    assert_eq!(bench.call("copy", json!(["a", "x"])).await, Err("'a' is a directory".into()));
    assert_eq!(names(&bench.root()), ["a", "d", "file", "target"]);
}

#[tokio::test]
async fn directories_are_created_and_things_removed() {
    let bench = Bench::new().await;
    assert_eq!(
        bench.call("create_dir", json!(["d1"])).await,
        Err("the path of a directory to create must end in '/', as in 'd1/'".into())
    );
    for path in ["d1/d2/", "d1/d2/", "d10/", "/"] {
        assert_eq!(bench.call("create_dir", json!([path])).await, Ok(Value::Null), "{path}");
    }
    bench.write("file", b"").await.unwrap();
    assert!(bench.call("create_dir", json!(["file/"])).await.is_err());

    let full = bench.call("delete", json!(["d1/"])).await.unwrap_err();
    assert_eq!(full, "delete 'd1/': Directory not empty (os error 39)");
    let root = bench.call("delete", json!(["/"])).await;
    assert_eq!(root, Err("the root directory can't be deleted".into()));
    for path in ["nope", "nope/nope", "d1/d2", "file"] {
        assert_eq!(bench.call("delete", json!([path])).await, Ok(Value::Null), "{path}");
    }
    assert_eq!(bench.items("scan", "/").await, Ok(json!(["/", "d1/", "d10/"])));

    bench.write("d1/a/b", b"").await.unwrap();
    for path in ["nope", "nope/", "d1", "file"] {
        assert_eq!(bench.call("remove_all", json!([path])).await, Ok(Value::Null), "{path}");
    }
    assert_eq!(names(&bench.root()), ["d10"], "not everything that begins alike");
    bench.write("d1/a/b", b"").await.unwrap();
    bench.call("remove_all", json!(["/"])).await.unwrap();
    assert_eq!(names(&bench.root()), [""; 0]);
}

#[tokio::test]
async fn listings_begin_with_the_directory_itself() {
    let bench = Bench::new().await;
    for path in ["a/b/file", "a/c", "ab", "z"] {
        bench.write(path, b"").await.unwrap();
    }
    symlink("a", bench.root().join("link")).unwrap();
    for (path, list, scan) in [
        (
            "/",
            json!(["/", "a/", "ab", "link", "z"]),
            json!(["/", "a/", "a/b/", "a/b/file", "a/c", "ab", "link", "z"]),
        ),
        ("a/", json!(["a/", "a/b/", "a/c"]), json!(["a/", "a/b/", "a/b/file", "a/c"])),
        ("a", json!(["a/", "ab"]), json!(["a/", "a/b/", "a/b/file", "a/c", "ab"])),
        ("a/b", json!(["a/b/"]), json!(["a/b/", "a/b/file"])),
        ("a/c", json!(["a/c"]), json!(["a/c"])),
        ("./a//b/", json!(["a/b/", "a/b/file"]), json!(["a/b/", "a/b/file"])),
        (
            "link/",
            json!(["link/", "link/b/", "link/c"]),
            json!(["link/", "link/b/", "link/b/file", "link/c"]),
        ),
        ("nope/", json!([]), json!([])),
        ("nope/nope", json!([]), json!([])),
        ("a/c/", json!([]), json!([])),
    ] {
        assert_eq!(bench.items("list", path).await, Ok(list), "list {path}");
        assert_eq!(bench.items("scan", path).await, Ok(scan), "scan {path}");
    }
    assert_eq!(bench.items("list", "").await, bench.items("list", "/").await);
}

#[tokio::test]
async fn long_listings_are_complete() {
    let bench = Bench::new().await;
    for directory in 0..20 {
        let directory = bench.root().join(directory.to_string());
        fs::create_dir(&directory).unwrap();
        for file in 0..20 {
            fs::write(directory.join(file.to_string()), b"").unwrap();
        }
    }
    let found = bench.items("scan", "/").await.unwrap();
    assert_eq!(found.as_array().unwrap().len(), 1 + 20 + 400);
}

#[tokio::test]
async fn what_was_created_is_remembered() {
    let bench = Bench::new().await;
    bench.write("/a/./file", b"").await.unwrap();
    bench.call("create_dir", json!(["dir//sub/"])).await.unwrap();
    bench.call("copy", json!(["a/file", "copy"])).await.unwrap();
    bench.call("copy", json!(["a/file", "other"])).await.unwrap();
    bench.call("rename", json!(["copy", "moved"])).await.unwrap();
    bench.call("delete", json!(["other"])).await.unwrap();
    bench.call("register_path", json!(["\\foo\\..//bar/./baz/"])).await.unwrap();
    bench.call("register_path", json!(["/"])).await.unwrap();
    assert_eq!(
        bench.call("get_created_resources", json!([])).await,
        Ok(json!(["a/file", "bar/baz", "dir/sub", "moved"]))
    );
    bench.call("remove_all", json!(["dir/sub/"])).await.unwrap();
    assert_eq!(
        bench.call("get_created_resources", json!([])).await,
        Ok(json!(["a/file", "bar/baz", "moved"]))
    );
    bench.driver.close().await;
    assert_eq!(names(&bench.root()), ["a", "dir", "moved"]);
}

#[tokio::test]
async fn what_was_created_is_removed_if_the_configuration_says_so() {
    let config = json!({"remove_created_on_close": true}).as_object().unwrap().clone();
    let bench = Bench::with(config).await;
    fs::create_dir_all(bench.root().join("kept")).unwrap();
    fs::write(bench.root().join("kept/file"), b"").unwrap();
    let outside = bench.directory.path().join("outside");
    fs::write(&outside, b"").unwrap();
    symlink(&outside, bench.root().join("kept/link")).unwrap();

    bench.write("kept/new", b"").await.unwrap();
    bench.call("create_dir", json!(["dir/"])).await.unwrap();
    bench.write("dir/more/file", b"").await.unwrap();
    bench.call("create_dir", json!(["/"])).await.unwrap();
    bench.call("register_path", json!(["kept/link"])).await.unwrap();
    let _unfinished = bench.open("dir/unfinished", "wb").await;
    bench.driver.close().await;
    assert_eq!(names(&bench.root()), ["kept"]);
    assert_eq!(names(&bench.root().join("kept")), ["file"]);
    assert!(outside.exists());
}
