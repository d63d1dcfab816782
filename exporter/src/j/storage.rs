//! `host`, `dut`, `off`, `write` and, on a mux that is a flasher, `flash` and `dump`: clients of
//! storage muxes.
//!
//! `write` is `host`, the writing, and `dut`: hooks write an image and then power the DUT on, which
//! is to boot from it. `write-local-file` is the writing alone, wherever the storage is connected
//! to.
//!
//! The block map that lies beside an image goes with it, as with `bmaptool`, if the driver says that
//! it takes one. Beside a URL the exporter looks for it.

use std::iter::successors;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::Value;

use super::client::Client;
use super::command::{argument, flag, option, value};
use super::error::{Error, Result};
use super::flasher::{self, Image};
use super::output;
use super::report::Driver;
use super::resource::{Lent, Source, any_of};
use super::signals::Signals;

/// What to do with a storage mux.
#[derive(Debug, PartialEq)]
pub(crate) enum Verb {
    Switch(Side),
    WriteLocalFile(PathBuf),
    Write { image: Image, bmap: BlockMap },
    Dump(Image),
}

/// Which block map goes with an image.
#[derive(Debug, PartialEq)]
pub(crate) enum BlockMap {
    Given(Source),
    /// The one that lies beside the image, if there is one.
    Beside,
    None,
}

/// A block map as it is lent.
#[derive(Debug)]
enum Map {
    Lent(Lent),
    /// At the first of these URLs where there is one.
    Maybe(Vec<String>),
    None,
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
        flasher::write(driver, WRITE_HELP).args(bmap(driver)),
    ];
    if kind == Kind::Flasher {
        commands.push(flasher::flash(driver).args(bmap(driver)));
        commands.push(flasher::dump(driver));
    }
    commands
}

/// Under what a driver describes that it takes a block map beside an image. The reference's don't.
const TAKES_BMAP: &str = "write --bmap";

const BMAP_HELP: &str =
    "The block map of the image, which says what to write and checks it; not all drivers take one";

fn bmap(driver: &Driver) -> Vec<Arg> {
    let takes = driver.methods.get(TAKES_BMAP);
    let bmap = option("bmap", "FILE")
        .value_parser(OsStringValueParser::new().map(|text| Source::parse(&text)))
        .help(takes.cloned().unwrap_or_else(|| BMAP_HELP.to_owned()));
    let no_bmap = || flag("no-bmap").conflicts_with("bmap").help("Don't look for a block map");
    std::iter::once(bmap).chain(takes.map(|_| no_bmap())).collect()
}

fn block_map(matches: &ArgMatches) -> BlockMap {
    // A driver that takes none has no option against it.
    let no_bmap = matches.try_get_one::<bool>("no-bmap").ok().flatten();
    match (matches.get_one("bmap"), no_bmap) {
        (Some(given), _) => BlockMap::Given(Source::clone(given)),
        (None, Some(false)) => BlockMap::Beside,
        (None, Some(true) | None) => BlockMap::None,
    }
}

impl BlockMap {
    /// The map itself, if there is one for this image.
    fn of(self, image: &Source) -> Result<Map> {
        let map = match (self, image) {
            (Self::None, _) => return Ok(Map::None),
            (Self::Given(map), _) => map,
            (Self::Beside, Source::Url(image)) => {
                // What is signed is good for itself only.
                let is_signed = image.contains(['?', '#']);
                let urls = if is_signed { Vec::new() } else { beside_url(image) };
                return Ok(if urls.is_empty() { Map::None } else { Map::Maybe(urls) });
            }
            (Self::Beside, Source::File(image)) => {
                let Some(map) = beside(image) else { return Ok(Map::None) };
                output::note(format_args!("with the block map {}", map.display()));
                Source::File(map)
            }
        };
        map.open(None).map(Map::Lent)
    }
}

/// The block map beside an image.
fn beside(image: &Path) -> Option<PathBuf> {
    let name = image.file_name()?;
    maps_of(Path::new(name)).map(|map| image.with_file_name(map)).find(|map| map.is_file())
}

/// Where the block map of an image may be on the web.
fn beside_url(image: &str) -> Vec<String> {
    // A URL without a path ends with a host.
    let is_image = |&(folder, name): &(&str, &str)| folder.contains("://") && !name.is_empty();
    let Some((folder, name)) = image.rsplit_once('/').filter(is_image) else { return Vec::new() };
    maps_of(Path::new(name)).map(|map| format!("{folder}/{}", map.display())).collect()
}

/// A name without its last extension, if it has one.
fn shorter(name: &Path) -> Option<&Path> {
    let stem = Path::new(name.file_stem()?);
    (stem != name).then_some(stem)
}

/// What the block map of an image may be called: of `a.wic.xz` it is `a.wic.xz.bmap`, or
/// `a.wic.bmap`, or `a.bmap`.
fn maps_of(name: &Path) -> impl Iterator<Item = PathBuf> {
    successors(Some(name), |name| shorter(name)).map(|stem| {
        let mut map = stem.as_os_str().to_owned();
        map.push(".bmap");
        map.into()
    })
}

pub(crate) fn verb(name: &str, matches: &ArgMatches) -> Option<Verb> {
    Some(match name {
        "host" => Verb::Switch(Side::Host),
        "dut" => Verb::Switch(Side::Dut),
        "off" => Verb::Switch(Side::Off),
        "write-local-file" => Verb::WriteLocalFile(value(matches, "FILE")),
        "write" | "flash" => {
            Verb::Write { image: flasher::image(matches), bmap: block_map(matches) }
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
            let bmap = bmap.of(&source)?;
            let image = source.open(compression)?;
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
async fn write(client: &Client<'_>, image: Value, bmap: Map) -> Result<Value> {
    match bmap {
        Map::None => client.call("write", vec![image]).await,
        Map::Maybe(urls) => client.call("write", vec![image, any_of(urls)]).await,
        Map::Lent(bmap) => {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_block_map_beside_an_image_has_its_name_with_fewer_extensions() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let found = |image: &str| {
            beside(&path(image)).map(|map| map.strip_prefix(folder.path()).unwrap().to_owned())
        };
        assert_eq!(found("a.wic.xz"), None);
        fs::create_dir(path("a.wic.xz.bmap")).unwrap();
        for map in ["a.bmap", "a.wic.bmap"] {
            fs::write(path(map), "").unwrap();
            assert_eq!(found("a.wic.xz"), Some(map.into()));
        }
        assert_eq!(found("b.wic.xz"), None);
        assert_eq!(beside(Path::new("-")), None);
        assert_eq!(beside(Path::new("..")), None);
    }

    #[test]
    fn beside_a_url_there_may_be_a_block_map_unless_it_is_signed() {
        let maybe = |url: &str| match BlockMap::Beside.of(&Source::Url(url.into())).unwrap() {
            Map::Maybe(urls) => urls,
            Map::None => Vec::new(),
            Map::Lent(_) => unreachable!("nothing was named"),
        };
        assert_eq!(
            maybe("http://h/x/a.wic.xz"),
            ["http://h/x/a.wic.xz.bmap", "http://h/x/a.wic.bmap", "http://h/x/a.bmap"]
        );
        for none in ["http://h/a.wic?X-Amz-Signature=s", "http://h/", "http://h"] {
            assert_eq!(maybe(none), [""; 0], "{none}");
        }
    }
}
