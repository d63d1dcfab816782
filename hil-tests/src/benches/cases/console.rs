//! A serial console.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt as _;

use super::cases;
use crate::benches::rig::Rig;
use crate::process::feed;

cases![
    carries_both_directions: Echo;
    an_unplugged_adapter_ends_the_stream: Echo, UnplugConsole;
    a_full_pipe_holds_up_nobody_else: Echo, Stall, Power;
];

async fn carries_both_directions(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    let (mut pipe, input) = exporter.client().start_own_j_with_input(&["serial", "pipe"])?;
    // More than any buffer on the way holds.
    let lines: String = (0..2000).map(|line| format!("line {line} of many\n")).collect();
    feed(input, format!("{lines}the end\n").as_bytes()).await?;
    pipe.prints("the end").await?;
    let came_back = pipe.lines();
    ensure!(
        came_back.len() == 2001
            && came_back.iter().map(String::as_str).eq(lines.lines().chain(["the end"])),
        "{} lines came back",
        came_back.len()
    );
    Ok(())
}

/// What can't be sent waits, is not lost, and keeps neither other drivers nor the exporter's end.
async fn a_full_pipe_holds_up_nobody_else(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    let console = rig.console()?;
    console.stop(true)?;
    let (mut pipe, input) = exporter.client().start_own_j_with_input(&["serial", "pipe"])?;
    // More than any buffer on the way holds.
    let lines: String = (0..20_000).map(|line| format!("line {line} of many\n")).collect();
    let all = format!("{lines}the end\n");
    let meanwhile = async {
        for to in ["off", "on"] {
            exporter.client().own_j(&["power", to]).await?.ok()?;
        }
        console.stop(false)
    };
    let (fed, meanwhile) = tokio::join!(feed(input, all.as_bytes()), meanwhile);
    fed.and(meanwhile)?;
    pipe.prints("the end").await?;
    let came_back = pipe.lines().len();
    ensure!(came_back == 20_001, "{came_back} lines came back");

    console.stop(true)?;
    let (_pipe, mut input) = exporter.client().start_own_j_with_input(&["serial", "pipe"])?;
    input.write_all(&all.as_bytes()[..4096]).await?;
    exporter.signal(Signal::SIGTERM)?;
    exporter.ends().await?.ok()?;
    Ok(())
}

async fn an_unplugged_adapter_ends_the_stream(rig: &Rig) -> Result<()> {
    let exporter = rig.exporter().await?;
    let console = rig.console()?;
    for round in ["first", "second"] {
        let (mut pipe, mut input) =
            exporter.client().start_own_j_with_input(&["serial", "pipe"])?;
        input.write_all(format!("{round}\n").as_bytes()).await?;
        pipe.prints(round).await?;
        console.unplug().await?;
        let ended = pipe.ends().await?.with_code(1)?;
        ensure!(!ended.stderr().is_empty(), "nothing says why the stream has ended");
        console.plug_in()?;
    }
    Ok(())
}
