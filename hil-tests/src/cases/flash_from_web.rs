//! Images that the exporter downloads itself.

use anyhow::{Result, ensure};
use indoc::formatdoc;

use super::cases;
use super::flash::{DEVICES, random};
use crate::bench::Bench;
use crate::known::Known;
use crate::peers::web::{Page, Web};
use crate::subject::{Exporter, free_port};

cases![redirects, relative_redirect[RelativeRedirects], secrets_stay_with_their_host, broken_links];

async fn redirects(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, DEVICES).await?;
    let image = random(1 << 20)?;
    let store = Web::serve(vec![("/image%20of%20a%20board", Page::File(image.clone()))]).await?;
    let target = store.url("/image%20of%20a%20board");
    let mirror = Web::serve(vec![("/latest", Page::Redirect(target))]).await?;
    let entry = Web::serve(vec![("/image", Page::Redirect(mirror.url("/latest")))]).await?;
    exporter.client().j(&["flasher", "flash", &entry.url("/image")]).await?.ok()?;
    exporter.client().j(&["flasher", "dump", "dump"]).await?.ok()?;
    ensure!(bench.read("dump")? == image, "the image should come back as it was");
    Ok(())
}

async fn relative_redirect(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, DEVICES).await?;
    let image = random(1000)?;
    let pages = vec![
        ("/images/latest", Page::Redirect("board.img".into())),
        ("/images/board.img", Page::File(image.clone())),
    ];
    let web = Web::serve(pages).await?;
    let flash = exporter.client().j(&["flasher", "flash", &web.url("/images/latest")]).await?;
    if bench.differs(Known::RelativeRedirects) {
        ensure!(
            flash.with_code(1)?.contains("INVALID_ARGUMENT"),
            "the reference takes the location for a whole URL"
        );
        return Ok(());
    }
    flash.ok()?;
    exporter.client().j(&["flasher", "dump", "dump"]).await?.ok()?;
    ensure!(bench.read("dump")? == image, "the image should come back as it was");
    Ok(())
}

async fn secrets_stay_with_their_host(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, DEVICES).await?;
    let store = Web::serve(vec![("/image", Page::File(random(1000)?))]).await?;
    let entry = Web::serve(vec![("/image", Page::Redirect(store.url("/image")))]).await?;
    let script = formatdoc! {r#"
        from raw import Exporter
        exporter = Exporter()
        secrets = {{"Authorization": "Bearer secret", "X-Amz-Security-Token": "secret"}}
        headers = {{**secrets, "X-Board": "public"}}
        handle = {{"kind": "presigned_request", "headers": headers, "url": "{}", "method": "GET"}}
        exporter.call(exporter.uuid("flasher"), "flash", handle, None)
    "#, entry.url("/image")};
    exporter.client().python(&script).await?;
    let [first, second] = [&entry, &store].map(|web| web.requests().concat().to_lowercase());
    for header in
        ["authorization: bearer secret", "x-amz-security-token: secret", "x-board: public"]
    {
        ensure!(
            first.contains(header),
            "{header:?} should have been sent to the host of the URL: {first}"
        );
    }
    ensure!(
        !second.contains("secret"),
        "no secret should have been sent to another host: {second}"
    );
    ensure!(
        second.contains("x-board: public"),
        "the other headers should have been sent on: {second}"
    );
    Ok(())
}

async fn broken_links(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, DEVICES).await?;
    let web = Web::serve(Vec::new()).await?;
    let missing = exporter
        .client()
        .j(&["flasher", "flash", &web.url("/missing?signature=secret")])
        .await?
        .with_code(1)?;
    ensure!(missing.contains("status=404"), "the error should name the status");
    ensure!(
        !missing.contains("signature=secret"),
        "the error should keep the query string to itself"
    );
    let port = free_port()?;
    let endless = Web::serve_on(
        port,
        vec![("/image", Page::Redirect(format!("http://127.0.0.1:{port}/image")))],
    )
    .await?;
    let looping =
        exporter.client().j(&["flasher", "flash", &endless.url("/image")]).await?.with_code(1)?;
    ensure!(
        looping.contains("Too many redirects (10)"),
        "the error should say that it goes in circles"
    );
    Ok(())
}
