//! `host`, `dut`, `off`, `write` and, on a mux that is a flasher, `flash` and `dump`: clients of
//! storage muxes.
//!
//! `write` is `host`, the writing, and `dut`: hooks write an image and then power the DUT on, which
//! is to boot from it. `write-local-file` is the writing alone, wherever the storage is connected
//! to.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::Value;

use super::client::Client;
use super::command::{argument, option, value};
use super::error::{Error, Result};
use super::flasher::{self, Image};
use super::output;
use super::report::Driver;
use super::resource::{Lent, Source};
use super::signals::Signals;

/// What to do with a storage mux.
#[derive(Debug, PartialEq)]
pub(crate) enum Verb {
    Switch(Side),
    WriteLocalFile(PathBuf),
    Write {
        image: Image,
        /// The image's block map.
        bmap: Option<Source>,
    },
    Dump(Image),
}

/// Where the storage is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Host,
    Dut,
    Off,
}

/// What the mux calls itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Mux,
    Flasher,
}

const WRITE_HELP: &str = "Write an image to the storage and connect it to the DUT

FILE is a local file, or an http(s) URL that the exporter fetches by itself.";

pub(crate) fn commands(driver: &Driver, kind: Kind) -> Vec<Command> {
    let file = argument("FILE").value_parser(value_parser!(PathBuf));
    let mut commands = vec![
        driver.command("host", "Connect storage to host"),
        driver.command("dut", "Connect storage to dut"),
        driver.command("off", "Disconnect storage"),
        driver
            .command("write-local-file", "Write a local file, wherever the storage is connected to")
            .arg(file),
        flasher::write(driver, WRITE_HELP).arg(bmap()),
    ];
    if kind == Kind::Flasher {
        commands.push(flasher::flash(driver).arg(bmap()));
        commands.push(flasher::dump(driver));
    }
    commands
}

fn bmap() -> Arg {
    option("bmap", "FILE")
        .value_parser(OsStringValueParser::new().map(|text| Source::parse(&text)))
        .help("The block map of the image, which says what to write and checks it; not all drivers take one")
}

pub(crate) fn verb(name: &str, matches: &ArgMatches) -> Option<Verb> {
    Some(match name {
        "host" => Verb::Switch(Side::Host),
        "dut" => Verb::Switch(Side::Dut),
        "off" => Verb::Switch(Side::Off),
        "write-local-file" => Verb::WriteLocalFile(value(matches, "FILE")),
        "write" | "flash" => {
            Verb::Write { image: flasher::image(matches), bmap: matches.get_one("bmap").cloned() }
        }
        "dump" => Verb::Dump(flasher::image(matches)),
        _ => return None,
    })
}

pub(crate) async fn perform(client: &Client<'_>, verb: Verb, signals: &mut Signals) -> Result<()> {
    match verb {
        Verb::Switch(side) => signals.guard(switch(client, side)).await,
        Verb::WriteLocalFile(path) => {
            let image = Source::File(path).open(None)?;
            let write = async |handle| client.call("write", vec![handle]).await;
            signals.guard(image.to(client, write)).await.map(drop)
        }
        Verb::Write { image: Image { source, compression }, bmap } => {
            let image = source.open(compression)?;
            let bmap = bmap.map(|bmap| bmap.open(None)).transpose()?;
            let write = async |handle| write(client, handle, bmap).await;
            with_host(client, signals, async { image.to(client, write).await.map(drop) }).await
        }
        Verb::Dump(Image { source, compression }) => {
            let output = source.create(compression)?;
            let read = async |handle| client.call("read", vec![handle]).await;
            with_host(client, signals, async { output.to(client, read).await.map(drop) }).await
        }
    }
}

/// Calls `write` with an image and, if there is one, its block map.
async fn write(client: &Client<'_>, image: Value, bmap: Option<Lent>) -> Result<Value> {
    match bmap {
        None => client.call("write", vec![image]).await,
        Some(bmap) => {
            let write = async |bmap| client.call("write", vec![image, bmap]).await;
            Box::pin(bmap.to(client, write)).await
        }
    }
}

async fn switch(client: &Client<'_>, side: Side) -> Result<()> {
    let method = match side {
        Side::Host => "host",
        Side::Dut => "dut",
        Side::Off => "off",
    };
    client.call(method, vec![]).await.map(drop)
}

/// Does `work` with the storage on the host, and gives it back to the DUT whatever happened
/// meanwhile.
///
/// A second signal gives up waiting for the mux.
async fn with_host(
    client: &Client<'_>,
    signals: &mut Signals,
    work: impl Future<Output = Result<()>>,
) -> Result<()> {
    let done = match signals.guard(switch(client, Side::Host)).await {
        Ok(()) => signals.guard(work).await,
        // The mux may be switching.
        Err(interrupted @ Error::Interrupted(_)) => Err(interrupted),
        // The mux is where it was.
        Err(error) => return Err(error),
    };
    if let Err(dut) = signals.guard(switch(client, Side::Dut)).await {
        let (driver, dut) = (client.name(), Box::new(dut));
        return Err(Error::StillWithHost { driver, dut, earlier: done.err().map(Box::new) });
    }
    if let Err(Error::Interrupted(_)) = done {
        let driver = client.name();
        output::note(format_args!("{driver}: interrupted; the storage is connected to the DUT"));
    }
    done
}
