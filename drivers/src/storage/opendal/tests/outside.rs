//! Attempts to leave the root directory.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::*;

#[tokio::test]
async fn nothing_outside_the_root_can_be_reached() {
    let bench = Bench::new().await;
    let outside = bench.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), b"secret").unwrap();
    bench.write("inside", b"inside").await.unwrap();
    fs::create_dir(bench.root().join("dir")).unwrap();
    symlink("../outside", bench.root().join("relative")).unwrap();
    symlink(&outside, bench.root().join("absolute")).unwrap();
    symlink("../../outside", bench.root().join("dir/nested")).unwrap();
    symlink("../outside/secret", bench.root().join("file")).unwrap();
    symlink("../outside/new", bench.root().join("dangling")).unwrap();

    let mut tries = 0;
    for path in [
        "../outside/secret",
        "/../outside/secret",
        "dir/../../outside/secret",
        "relative/secret",
        "absolute/secret",
        "dir/nested/secret",
        "dir/../relative/secret",
        "file",
        "../outside/new",
        "relative/new",
        "absolute/sub/new",
        "dangling",
    ] {
        for (method, args) in [
            ("open", json!([path, "rb"])),
            ("open", json!([path, "wb"])),
            ("stat", json!([path])),
            ("hash", json!([path])),
            ("exists", json!([path])),
            ("copy", json!([path, "stolen"])),
            ("copy", json!(["inside", path])),
            ("create_dir", json!([format!("{path}/")])),
        ] {
            let error = bench.call(method, args).await.unwrap_err();
            assert!(error.contains("leads out of the storage's root"), "{method} {path}: {error}");
            tries += 1;
        }
        // The last name may be a link itself; these mean the link then.
        if path.contains('/') {
            for (method, args) in [
                ("delete", json!([path])),
                ("remove_all", json!([path])),
                ("rename", json!([path, "stolen"])),
                ("rename", json!(["inside", path])),
            ] {
                let error = bench.call(method, args).await.unwrap_err();
                assert!(error.contains("leads out of the storage's"), "{method} {path}: {error}");
                tries += 1;
            }
            assert!(bench.items("list", path).await.is_err(), "{path}");
        }
    }
    assert_eq!(tries, 12 * 8 + 10 * 4);
    for path in ["relative/", "absolute/", "dir/nested/", "../outside/", "../"] {
        for method in ["list", "scan"] {
            let error = bench.items(method, path).await.unwrap_err();
            assert!(error.contains("leads out of the storage's root"), "{method} {path}: {error}");
        }
    }
    assert!(bench.call("register_path", json!(["..\\outside"])).await.is_err());
    let absolute = outside.join("secret");
    let absolute = bench.call("exists", json!([absolute])).await;
    assert_eq!(absolute, Ok(json!(false)), "a leading slash means the root directory");

    for link in ["relative", "absolute", "dir/nested", "file", "dangling"] {
        bench.call("remove_all", json!([link])).await.unwrap();
    }
    assert_eq!(names(&outside), ["secret"]);
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
    assert_eq!(names(bench.directory.path()), ["outside", "root"]);
    assert_eq!(bench.items("scan", "/").await, Ok(json!(["/", "dir/", "inside"])));
}
