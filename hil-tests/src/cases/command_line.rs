//! The flags of `run`, and configurations that can't be run.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use indoc::indoc;

use super::cases;
use crate::bench::Bench;
use crate::known::Known;
use crate::subject::{config, free_port, run};

cases![
    by_name,
    usage,
    unreadable_configurations,
    invalid_configurations,
    broken_trees[ExitCodeIsLost]
];

async fn by_name(bench: &Bench) -> Result<()> {
    let directory = bench.path("home/.config/jumpstarter/exporters");
    fs::create_dir_all(&directory).context("making the user's configuration directory")?;
    let hook =
        config("hooks: {beforeLease: {script: echo found > found.new && mv found.new found}}");
    fs::write(directory.join("bench.yaml"), hook).context("writing a named configuration")?;
    let listener = format!("127.0.0.1:{}", free_port()?);
    let _exporter = run(
        bench,
        &["--exporter", "bench", "--tls-grpc-listener", &listener, "--tls-grpc-insecure"],
    )?;
    ensure!(
        bench.file("found").await? == "found\n",
        "the hook of the named configuration should run"
    );
    Ok(())
}

/// Runs with these arguments, separated by spaces, and returns the message with which it ends with
/// `code`.
async fn refusal(bench: &Bench, arguments: &str, code: i32) -> Result<String> {
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    let message = run(bench, &arguments)?.ends().await?.with_code(code)?.stderr();
    ensure!(
        !message.trim().is_empty(),
        "run {arguments:?} should say on standard error what is wrong"
    );
    Ok(message)
}

async fn usage(bench: &Bench) -> Result<()> {
    for name in ["exporter.yaml", "cert.pem"] {
        bench.write(name, config("export: {}"))?;
    }
    refusal(bench, "", 2).await?;
    for arguments in [
        "--exporter bench",
        "--nonsense",
        "--tls-grpc-insecure",
        "--passphrase secret",
        "--tls-grpc-listener 127.0.0.1:20000",
        "--tls-grpc-listener 127.0.0.1:20000 --tls-cert cert.pem",
        "--tls-grpc-listener 127.0.0.1:20000 --tls-grpc-insecure --tls-cert cert.pem",
        "--tls-grpc-listener 127.0.0.1:0 --tls-grpc-insecure",
        "--tls-grpc-listener 127.0.0.1:http --tls-grpc-insecure",
    ] {
        refusal(bench, &format!("--exporter-config exporter.yaml {arguments}"), 2).await?;
    }
    Ok(())
}

async fn unreadable_configurations(bench: &Bench) -> Result<()> {
    bench.write("broken.yaml", "export: {power: ")?;
    bench.write("scalar.yaml", "export")?;
    for (arguments, part) in [
        ("--exporter-config nowhere.yaml", "nowhere.yaml"),
        ("--exporter-config broken.yaml", ""),
        ("--exporter-config scalar.yaml", ""),
        ("--exporter nobody", ".config/jumpstarter/exporters/nobody.yaml"),
        ("--exporter ../bench", "../bench"),
    ] {
        let message = refusal(bench, arguments, 1).await?;
        ensure!(message.contains(part), "the message should name {part}: {message}");
    }
    Ok(())
}

async fn invalid_configurations(bench: &Bench) -> Result<()> {
    let head = config("");
    for (text, key) in [
        (head.replace("v1alpha1", "v2"), "apiVersion"),
        (head.replace("ExporterConfig", "ClientConfig"), "kind"),
        (head.replace("name: bench", "name: bench, nonsense: 1"), "nonsense"),
        (config("endpoint: 5"), "endpoint"),
        (config("export: [power]"), "export"),
        (config("export: {power: MockPower}"), "power"),
        (config("hooks:"), "hooks"),
        (config("hooks: {beforeLease: {timeout: 5}}"), "script"),
        (config("hooks: {beforeLease: {script: 'true', timeout: soon}}"), "timeout"),
        (config("hooks: {beforeLease: {script: 'true', onFailure: explode}}"), "onFailure"),
    ] {
        bench.write("exporter.yaml", &text)?;
        let message = refusal(bench, "--exporter-config exporter.yaml", 1).await?;
        ensure!(message.contains(key), "the message should name {key}: {message}");
    }
    Ok(())
}

async fn broken_trees(bench: &Bench) -> Result<()> {
    let code = if bench.differs(Known::ExitCodeIsLost) { 0 } else { 1 };
    for (driver, part) in [
        ("{type: nonsense.driver.Nonsense}", "nonsense.driver.Nonsense"),
        ("{ref: nowhere}", "nowhere"),
        (
            "{type: jumpstarter_driver_pyserial.driver.PySerial, config: {url: 'loop://', nonsense: 1}}",
            "nonsense",
        ),
    ] {
        let body = indoc! {"
            # The reference tries again and again; once is enough.
            failureDetection: {maxRapidFailures: 1}
            export: {device: DRIVER}
        "};
        bench.write("exporter.yaml", config(&body.replace("DRIVER", driver)))?;
        let listener =
            format!("--tls-grpc-listener 127.0.0.1:{} --tls-grpc-insecure", free_port()?);
        let message =
            refusal(bench, &format!("--exporter-config exporter.yaml {listener}"), code).await?;
        ensure!(message.contains(part), "the message should name {part}: {message}");
    }
    Ok(())
}
