//! A serial console.

use anyhow::{Result, ensure};
use tokio::io::AsyncWriteExt as _;

use super::cases;
use crate::benches::rig::Rig;
use crate::process::feed;

cases![
    carries_both_directions: Echo;
    an_unplugged_adapter_ends_the_stream: Echo, UnplugConsole;
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
