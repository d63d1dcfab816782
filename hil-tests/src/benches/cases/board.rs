//! The whole bench: power, console and storage are those of one board.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use indoc::{formatdoc, indoc};
use nix::sys::signal::Signal;

use super::cases;
use super::power::position;
use crate::benches::rig::Rig;

cases![
    boots_what_was_flashed: Board, Power, Storage;
    is_silent_while_the_host_has_its_card: Board, Power, Storage, Mux;
    survives_a_crash_in_a_flash: Board, Power, Storage, SeeCard;
];

/// How long it may take to flash a board of one's own and to boot it.
const SESSION: Duration = Duration::from_secs(1800);

/// With the reference's own `j`.
const HOOKS: &str = indoc! {"
    hooks:
      beforeLease: { script: 'j power off && echo prepared', timeout: 120, onFailure: endLease }
      afterLease: { script: 'j power off && touch cleaned-up', timeout: 120 }
"};

/// A person's session, in the words of the reference's library.
async fn boots_what_was_flashed(rig: &Rig) -> Result<()> {
    let (image, says) = rig.image()?;
    let exporter = rig.exporter_with(HOOKS).await?;
    let script = formatdoc! {"
        import pexpect
        from jumpstarter.utils.env import env

        with env() as client, client.serial.pexpect() as console:
            if {blank}:
                client.power.on()
                assert console.expect([r'.', pexpect.TIMEOUT], timeout=5) == 1, 'a blank card speaks'
                client.power.off()
            client.storage.flash({image:?})
            client.power.on()
            console.expect_exact({says:?}, timeout=300)
            client.power.off()
            print('it said', console.after.decode())
    ", blank = if rig.card().is_ok() { "True" } else { "False" }};
    rig.bench().write("session.py", script)?;
    let output =
        exporter.client().start_shell("python session.py")?.ends_within(SESSION).await?.ok()?;
    ensure!(output.contains(&format!("it said {says}")), "{}", output.stdout());
    exporter.signal(Signal::SIGTERM)?;
    exporter.ends().await?.ok()?;
    rig.bench().file("cleaned-up").await?;
    if let Ok(hub) = rig.hub() {
        hub.must_have([false, true, true])?;
    }
    Ok(())
}

/// What is on the card starts when the board has it, and not before.
async fn is_silent_while_the_host_has_its_card(rig: &Rig) -> Result<()> {
    let (image, says) = rig.image()?;
    let exporter = rig.exporter().await?;
    let script = formatdoc! {"
        import pexpect
        from jumpstarter.utils.env import env

        with env() as client, client.serial.pexpect() as console:
            client.power.off()
            client.storage.flash({image:?})
            client.storage.host()
            client.power.on()
            assert console.expect([r'.', pexpect.TIMEOUT], timeout=5) == 1, 'it has no card, and speaks'
            client.power.off()
            client.storage.dut()
            client.power.on()
            console.expect_exact({says:?}, timeout=300)
            client.power.off()
            print('it said', console.after.decode())
    "};
    let output = exporter.client().start_python(&script)?.ends_within(SESSION).await?.ok()?;
    ensure!(output.contains(&format!("it said {says}")), "{}", output.stdout());
    Ok(())
}

/// The exporter is killed while it writes. Whoever flashed is told that it failed; the next start
/// goes on with the lease, and the bench is fit for use; the lease's end is cleaned up as any other.
async fn survives_a_crash_in_a_flash(rig: &Rig) -> Result<()> {
    const HOOKS: &str = indoc! {"
        hooks:
          beforeLease: { script: '{j} power off && echo prepared >>hooks' }
          afterLease: { script: '{j} power off && echo cleaned up >>hooks' }
    "};
    let card = rig.card()?;
    let (image, says) = rig.image()?;
    let mut long = fs::read(&image).context("reading the image")?;
    long.resize(usize::try_from(card.size())?, 0xa5);
    long[..4096].fill(0x5a);
    rig.bench().write("long.img", &long)?;

    let exporter = rig.exporter_with(HOOKS).await?;
    exporter.client().own_j(&["power", "on"]).await?.ok()?;
    let flashing = exporter.client().start_own_j(&["storage", "flash", "long.img"])?;
    card.receives(&long).await?;
    exporter.signal(Signal::SIGKILL)?;
    exporter.ends().await?.with_code(137)?;
    flashing.ends().await?.with_code(1)?;
    ensure!(card.content(long.len())? != long, "all was written before the exporter was killed");

    let exporter = rig.exporter_with(HOOKS).await?;
    let told = position(exporter.client(), "power").await?;
    ensure!(told == "on", "it was on before the crash, and says that it is {told:?}");
    exporter.client().own_j(&["power", "off"]).await?.ok()?;
    let image = image.display().to_string();
    exporter.client().own_j(&["storage", "flash", &image]).await?.ok()?;
    let mut console = exporter.client().start_own_j(&["serial", "pipe", "--no-input"])?;
    exporter.client().own_j(&["power", "on"]).await?.ok()?;
    console.prints(says).await?;

    exporter.signal(Signal::SIGTERM)?;
    exporter.ends().await?.ok()?;
    rig.hub()?.must_have([false, true, true])?;
    let hooks = rig.bench().file("hooks").await?;
    ensure!(hooks == "prepared\ncleaned up\n", "the hooks were run like this: {hooks:?}");
    Ok(())
}
