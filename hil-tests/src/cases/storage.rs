//! A storage of files: the verbs of the Opendal driver, through its Python client.

use anyhow::{Context as _, Result, ensure};
use indoc::{formatdoc, indoc};
use nix::sys::signal::Signal;

use super::cases;
use crate::bench::Bench;
use crate::subject::Exporter;

cases![files, directories, open_files, what_was_created, errors];

/// Starts an exporter with a storage in the directory `files` of the bench.
async fn storage(bench: &Bench) -> Result<Exporter<'_>> {
    let root = bench.path("files");
    std::fs::create_dir(&root).context("making the storage")?;
    let config = formatdoc! {"
        export:
          storage:
            type: jumpstarter_driver_opendal.driver.Opendal
            config: {{scheme: fs, kwargs: {{root: {}}}, remove_created_on_close: true}}
    ", root.display()};
    Exporter::start(bench, &config).await
}

async fn files(bench: &Bench) -> Result<()> {
    let exporter = storage(bench).await?;
    let script = indoc! {r#"
        import hashlib, os
        from pathlib import Path
        from jumpstarter.utils.env import env

        large = os.urandom(1_000_000)
        with env() as client:
            storage = client.storage
            for content in b"", b"hello", large:
                storage.write_bytes("file", content)
                assert Path("files/file").read_bytes() == content
                assert storage.read_bytes("file") == content

            Path("local").write_bytes(large)
            storage.write_from_path("copied", "local")
            storage.read_into_path("copied", "back")
            assert Path("back").read_bytes() == large

            assert storage.hash("copied") == hashlib.sha256(large).hexdigest()
            assert storage.hash("copied", "md5") == hashlib.md5(large).hexdigest()
            entry = storage.stat("copied")
            assert entry.content_length == len(large) and entry.mode.entry_is_file, entry

            storage.copy("copied", "second")
            storage.rename("second", "third")
            there = [path for path in ("copied", "second", "third") if storage.exists(path)]
            assert there == ["copied", "third"], there
            storage.delete("third")
            storage.delete("third")
            assert not storage.exists("third")
    "#};
    exporter.client().python(script).await?;
    Ok(())
}

async fn directories(bench: &Bench) -> Result<()> {
    let exporter = storage(bench).await?;
    let script = indoc! {r#"
        from jumpstarter.utils.env import env
        with env() as client:
            storage = client.storage
            storage.create_dir("images/old/")
            storage.write_bytes("images/new", b"new")
            storage.write_bytes("images/old/first", b"first")
            assert storage.stat("images/").mode.entry_is_dir
            assert sorted(storage.list("images/")) == ["images/", "images/new", "images/old/"]
            tree = ["images/", "images/new", "images/old/", "images/old/first"]
            assert sorted(storage.scan("images/")) == tree
            storage.remove_all("images/")
            assert not storage.exists("images/new") and not storage.exists("images/")
            can = storage.capability()
            assert can.read and can.write and can.list and not can.presign_read, can
    "#};
    exporter.client().python(script).await?;
    Ok(())
}

async fn open_files(bench: &Bench) -> Result<()> {
    let exporter = storage(bench).await?;
    let script = indoc! {r#"
        from jumpstarter.utils.env import env
        with env() as client:
            storage = client.storage
            file = storage.open("file", "wb")
            assert file.writable() and not file.readable() and not file.closed
            file.write_bytes(b"0123456789")
            file.close()

            file = storage.open("file", "rb")
            assert file.readable() and file.seekable() and not file.writable()
            assert file.seek(4) == 4 and file.tell() == 4
            assert file.read_bytes() == b"456789"
            assert file.seek(-2, 2) == 8
            assert file.read_bytes() == b"89"
            file.close()
            assert file.closed
    "#};
    exporter.client().python(script).await?;
    Ok(())
}

async fn what_was_created(bench: &Bench) -> Result<()> {
    let exporter = storage(bench).await?;
    bench.write("files/before", "was there before")?;
    let script = indoc! {r#"
        from jumpstarter.utils.env import env
        with env() as client:
            storage = client.storage
            storage.create_dir("made/")
            storage.write_bytes("made/file", b"content")
            storage.copy("before", "./copy")
            storage.rename("copy", "renamed")
            storage.write_bytes("gone", b"content")
            storage.delete("gone")
            created = storage.get_created_resources()
            assert created == {"made", "made/file", "renamed"}, created
    "#};
    exporter.client().python(script).await?;
    exporter.signal(Signal::SIGTERM)?;
    exporter.ends().await?.ok()?;
    let left: Vec<_> = std::fs::read_dir(bench.path("files"))?
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .collect();
    ensure!(
        left == ["before"],
        "what was created should be removed at the end, and nothing else: {left:?}"
    );
    Ok(())
}

async fn errors(bench: &Bench) -> Result<()> {
    let exporter = storage(bench).await?;
    let script = indoc! {r#"
        from uuid import uuid4
        from jumpstarter.client.core import (
            DriverError, DriverInvalidArgument, DriverMethodNotImplemented,
        )
        from jumpstarter.utils.env import env
        from raw import raises
        with env() as client:
            storage = client.storage
            for call in [
                lambda: storage.stat("nowhere"),
                lambda: storage.read_bytes("nowhere"),
                lambda: storage.copy("nowhere", "elsewhere"),
            ]:
                with raises(DriverError, "NotFound"):
                    call()
            with raises(DriverInvalidArgument):
                storage.call("open", "file", "nonsense")
            with raises(DriverError):
                storage.call("file_tell", str(uuid4()))
            with raises((DriverError, DriverMethodNotImplemented)):
                storage.presign_read("file", 60)
            assert list(storage.list("nowhere/")) == []
            storage.write_bytes("still", b"usable")
    "#};
    exporter.client().python(script).await?;
    Ok(())
}
