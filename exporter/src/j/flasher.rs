//! `flash`, `write` and `dump`: clients of flashers.

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::client::Client;
use super::command::{choice, option, value};
use super::error::Result;
use super::report::Driver;
use super::resource::{Compression, Source};

const FLASH_HELP: &str = "Flash an image to the DUT

FILE is a local file, or an http(s) URL that the exporter fetches by itself.";

/// What to do with a flasher.
#[derive(Debug, PartialEq)]
pub(crate) enum Verb {
    /// Each image to its target, or one to the only target there is.
    Flash(Vec<(Option<String>, Image)>),
    Dump(Option<String>, Image),
}

/// An image on this side.
#[derive(Debug, PartialEq)]
pub(crate) struct Image {
    pub(crate) source: Source,
    pub(crate) compression: Option<Compression>,
}

pub(crate) fn commands(driver: &Driver) -> Vec<Command> {
    let targets = option("target", "NAME:FILE").short('t').action(ArgAction::Append);
    let targets = targets.value_parser(named).conflicts_with("FILE");
    let target = option("target", "TEXT").help("What to dump; without it, what the driver has");
    vec![
        flash(driver)
            .mut_arg("FILE", |file| file.required(false).required_unless_present("target"))
            .arg(targets.help("Flash FILE to the target NAME; may be given several times")),
        write(driver, "Flash an image to the DUT"),
        dump(driver).arg(target),
    ]
}

/// `flash FILE`
pub(crate) fn flash(driver: &Driver) -> Command {
    driver.command("flash", FLASH_HELP).args([file("FILE").required(true), compression()])
}

/// `write [--image] FILE`, the form that hooks use.
pub(crate) fn write(driver: &Driver, help: &str) -> Command {
    let image = file("image").long("image").value_name("FILE").conflicts_with("FILE");
    driver.command("write", help).args([
        file("FILE").required_unless_present("image"),
        image.help("The image, if it is not given as FILE"),
        compression(),
    ])
}

/// `dump FILE`
pub(crate) fn dump(driver: &Driver) -> Command {
    let file = file("FILE").required(true);
    driver.command("dump", "Dump image from DUT to file").args([file, compression()])
}

fn file(name: &'static str) -> Arg {
    Arg::new(name).value_parser(OsStringValueParser::new().map(|text| Source::parse(&text)))
}

fn compression() -> Arg {
    choice("compression", &["gzip", "xz", "bz2", "zstd"])
        .ignore_case(true)
        .value_parser(value_parser!(Compression))
        .help("How the file is compressed; it is transferred as it is")
}

fn named(text: &str) -> Result<(String, Source), &'static str> {
    let (name, file) = text.split_once(':').ok_or("expected name:file")?;
    Ok((name.to_owned(), Source::parse(file.as_ref())))
}

pub(crate) fn verb(name: &str, matches: &ArgMatches) -> Option<Verb> {
    Some(match name {
        "flash" => Verb::Flash(match matches.get_many::<(String, Source)>("target") {
            None => vec![(None, image(matches))],
            Some(targets) => targets
                .cloned()
                .map(|(name, source)| (Some(name), with_compression(source, matches)))
                .collect(),
        }),
        "write" => Verb::Flash(vec![(None, image(matches))]),
        "dump" => Verb::Dump(matches.get_one("target").cloned(), image(matches)),
        _ => return None,
    })
}

/// The image of any of these commands.
pub(crate) fn image(matches: &ArgMatches) -> Image {
    let option = matches.try_get_one("image").ok().flatten().cloned();
    with_compression(option.unwrap_or_else(|| value(matches, "FILE")), matches)
}

fn with_compression(source: Source, matches: &ArgMatches) -> Image {
    Image { source, compression: matches.get_one("compression").copied() }
}

pub(crate) async fn perform(client: &Client<'_>, verb: Verb) -> Result<()> {
    match verb {
        Verb::Flash(images) => {
            // All are there before the first is flashed.
            let open =
                |(target, image): (_, Image)| Ok((target, image.source.open(image.compression)?));
            let images = images.into_iter().map(open).collect::<Result<Vec<_>>>()?;
            for (target, image) in images {
                let flash = async |handle| client.call("flash", vec![handle, target.into()]).await;
                image.to(client, flash).await?;
            }
        }
        Verb::Dump(target, image) => {
            let output = image.source.create(image.compression)?;
            let dump = async |handle| client.call("dump", vec![handle, target.into()]).await;
            output.to(client, dump).await?;
        }
    }
    Ok(())
}
