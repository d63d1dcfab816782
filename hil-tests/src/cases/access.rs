//! Who is let in: passphrase, TLS, and when drivers may be called.

use anyhow::{Context as _, Result, ensure};
use indoc::{formatdoc, indoc};
use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::cases;
use super::power::POWER;
use crate::bench::Bench;
use crate::known::Known;
use crate::subject::{Certificate, Exporter};

cases![
    passphrase,
    passphrase_on_every_call,
    passphrase_and_hooks[PassphraseLocksHooksOut],
    tls,
    tls_with_passphrase,
    drivers_wait_for_the_hook[CallsAreNotGated],
];

async fn passphrase(bench: &Bench) -> Result<()> {
    let exporter = Exporter::with(bench, POWER).passphrase("open sesame").start().await?;
    exporter.client().shell("j power on").await?.ok()?;
    for refused in [None, Some("open barley")] {
        let client = exporter.client().with_passphrase(refused);
        let output = client.shell("j power on").await?.with_code(1)?;
        let text = "Authentication failed: invalid or missing passphrase";
        ensure!(output.contains(text), "the client should say {text:?}");
        ensure!(
            client.j(&["power", "on"]).await?.code() != 0,
            "j should be refused with the passphrase {refused:?}"
        );
    }
    Ok(())
}

async fn passphrase_on_every_call(bench: &Bench) -> Result<()> {
    let exporter = Exporter::with(bench, POWER).passphrase("open sesame").start().await?;
    let script = indoc! {r#"
        from raw import Exporter, code
        exporter = Exporter()
        power = exporter.uuid("power")
        exporter.metadata = [("x-jumpstarter-passphrase", "open barley")]
        for call in [
            exporter.report,
            exporter.status,
            exporter.end_session,
            lambda: next(exporter.logs()),
            lambda: exporter.call(power, "on"),
            lambda: exporter.streaming_call(power, "read"),
            lambda: next(exporter.stream({"kind": "resource", "uuid": power}, [])),
        ]:
            assert code(call) == ("UNAUTHENTICATED", "invalid or missing passphrase"), code(call)

        # Only the last one counts.
        exporter.metadata.append(("x-jumpstarter-passphrase", "open sesame"))
        exporter.call(power, "on")
        unknown = exporter.channel.unary_unary("/jumpstarter.v1.ExporterService/Nonsense")
        assert code(lambda: unknown(b"", timeout=20))[0] in ("UNIMPLEMENTED", "UNAUTHENTICATED")
    "#};
    exporter.client().python(script).await?;
    Ok(())
}

async fn passphrase_and_hooks(bench: &Bench) -> Result<()> {
    let config = format!(
        "{POWER}\nhooks: {{beforeLease: {{script: j power on && echo driven || echo locked out}}}}"
    );
    let exporter = Exporter::with(bench, &config).passphrase("open sesame").start().await?;
    let line = if bench.differs(Known::PassphraseLocksHooksOut) { "locked out" } else { "driven" };
    exporter.client().start_logs()?.prints(&format!("BEFORE_LEASE_HOOK INFO {line}\n")).await
}

/// A certificate for the loopback addresses, made for this bench.
fn certificate(bench: &Bench) -> Result<Certificate> {
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(names).context("making a certificate")?;
    Ok(Certificate {
        certificate: bench.write("certificate.pem", cert.pem())?,
        key: bench.write("key.pem", signing_key.serialize_pem())?,
    })
}

async fn tls(bench: &Bench) -> Result<()> {
    let exporter = Exporter::with(bench, POWER).tls(certificate(bench)?).start().await?;
    let plain = exporter.client().without_tls().j(&["power", "on"]).await?;
    ensure!(plain.code() != 0, "a client without TLS should not get through");
    exporter.client().shell("j power on").await?.ok()?;
    Ok(())
}

async fn tls_with_passphrase(bench: &Bench) -> Result<()> {
    let exporter = Exporter::with(bench, POWER)
        .tls(certificate(bench)?)
        .passphrase("open sesame")
        .start()
        .await?;
    exporter.client().shell("j power on").await?.ok()?;
    exporter.client().with_passphrase(None).shell("j power on").await?.with_code(1)?;
    Ok(())
}

async fn drivers_wait_for_the_hook(bench: &Bench) -> Result<()> {
    let config = formatdoc! {"
        {POWER}
        hooks:
          beforeLease:
            script: |
              echo started
              until [ -e go ]; do sleep 0.05; done
              j power on
    "};
    let exporter = Exporter::start(bench, &config).await?;
    exporter.client().start_logs()?.prints("BEFORE_LEASE_HOOK INFO started").await?;
    if bench.differs(Known::CallsAreNotGated) {
        exporter.client().j(&["power", "on"]).await?.ok()?;
    } else {
        let script = indoc! {r#"
            from raw import Exporter, code
            exporter = Exporter()
            power = exporter.uuid("power")
            text = "Exporter not ready for driver calls (status: BEFORE_LEASE_HOOK)"
            for call in exporter.call, exporter.streaming_call:
                refusal = code(lambda: call(power, "on"))
                assert refusal == ("FAILED_PRECONDITION", text), refusal
        "#};
        exporter.client().python(script).await?;
    }
    bench.write("go", "")?;
    exporter.client().shell("j power on").await?.ok()?;
    Ok(())
}
