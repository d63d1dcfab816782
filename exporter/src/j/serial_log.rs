//! `log`: what a recorded serial port has said.

use std::io::{self, Write as _};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::{ArgMatches, Command};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use super::command::{flag, option, value};
use super::error::Result;
use super::output;
use super::report::Driver;
use crate::store::since;

/// The verb, and the exporter's method.
pub(crate) const NAME: &str = "log";

/// What to print.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wish {
    /// As the exporter wants it.
    since: Value,
    follow: bool,
    timestamps: bool,
}

/// One thing that was recorded, or is to be said about it.
#[derive(Debug, Deserialize)]
struct Item {
    #[serde(default)]
    time: f64,
    data: Option<String>,
    mark: Option<String>,
    note: Option<String>,
}

pub(crate) fn command(driver: &Driver) -> Command {
    let from = option("since", "boot|lease|TIME").default_value("lease").value_parser(since_of);
    let help = "From when on: 10m, 2h, or a time such as 2026-03-04T05:06:07Z, too.";
    // The exporter has the words for it, as it says with them that there is a log.
    driver.command(NAME, NAME).args([
        from.help(help),
        flag("follow").short('f').help("Go on with what comes, until Ctrl+C."),
        flag("timestamps")
            .short('t')
            .help("Begin each line with its time, and print what happened to the bench."),
    ])
}

fn since_of(text: &str) -> Result<Value, String> {
    match text {
        "lease" => Ok(Value::Null),
        "boot" => Ok(json!("boot")),
        _ => {
            let seconds = since(text, Timestamp::now())
                .map_err(|error| error.replace("write 2h", "write boot, lease, 2h"))?;
            Ok(json!(seconds.as_duration().as_secs_f64()))
        }
    }
}

pub(crate) fn wish(matches: &ArgMatches) -> Wish {
    Wish {
        since: value(matches, "since"),
        follow: value(matches, "follow"),
        timestamps: value(matches, "timestamps"),
    }
}

pub(crate) async fn run(client: &Client<'_>, wish: &Wish) -> Result<()> {
    let args = vec![wish.since.clone(), wish.follow.into()];
    let mut items = client.items(NAME, args).await?;
    let mut page = Page { timestamps: wish.timestamps, zone: TimeZone::system(), in_line: false };
    while let Some(item) = items.next::<Item>("an entry of a log").await? {
        if let Some(note) = &item.note {
            output::note(format_args!("({note})"));
        }
        let mut stdout = io::stdout().lock();
        let text = page.add(&item);
        stdout.write_all(&text).and_then(|()| stdout.flush()).map_err(output::to_stdout)?;
    }
    Ok(())
}

/// What is printed, as far as it matters for what comes next.
#[derive(Debug)]
struct Page {
    timestamps: bool,
    zone: TimeZone,
    /// Something stands in the last line.
    in_line: bool,
}

impl Page {
    /// What is to be printed of an item.
    fn add(&mut self, item: &Item) -> Vec<u8> {
        let data = item.data.as_ref().and_then(|data| BASE64_STANDARD.decode(data).ok());
        let data = data.unwrap_or_default();
        if !self.timestamps {
            return data;
        }
        let mut text = Vec::new();
        let time = self.time(item.time);
        if let Some(mark) = &item.mark {
            if std::mem::take(&mut self.in_line) {
                text.push(b'\n');
            }
            text.extend_from_slice(format!("{time} -- {mark} --\n").as_bytes());
        }
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            if !self.in_line {
                text.extend_from_slice(format!("{time} ").as_bytes());
            }
            text.extend_from_slice(line);
            self.in_line = !line.ends_with(b"\n");
        }
        text
    }

    /// In this machine's time zone.
    fn time(&self, seconds: f64) -> String {
        let time = jiff::SignedDuration::try_from_secs_f64(seconds).ok();
        let time = time.and_then(|time| Timestamp::from_duration(time).ok()).unwrap_or_default();
        let time = time.to_zoned(self.zone.clone());
        time.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(timestamps: bool, items: &[(f64, Result<&str, &str>)]) -> String {
        let mut page = Page { timestamps, zone: TimeZone::UTC, in_line: false };
        let item = |&(time, content): &(f64, Result<&str, &str>)| Item {
            time,
            data: content.ok().map(|data| BASE64_STANDARD.encode(data)),
            mark: content.err().map(str::to_owned),
            note: None,
        };
        let text = items.iter().flat_map(|content| page.add(&item(content))).collect();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn each_line_has_the_time_of_its_beginning() {
        let items = [
            (0.0, Err("power: power on")),
            (1.5, Ok("U-Boot\r\nHit any")),
            (2.25, Ok(" key\r\n")),
            (3.0, Ok("=> ")),
            (4.0, Err("lent to another program")),
            (5.0, Ok("=> ")),
        ];
        assert_eq!(
            printed(true, &items),
            "1970-01-01T00:00:00.000+00:00 -- power: power on --\n\
             1970-01-01T00:00:01.500+00:00 U-Boot\r\n\
             1970-01-01T00:00:01.500+00:00 Hit any key\r\n\
             1970-01-01T00:00:03.000+00:00 => \n\
             1970-01-01T00:00:04.000+00:00 -- lent to another program --\n\
             1970-01-01T00:00:05.000+00:00 => "
        );
        assert_eq!(printed(false, &items), "U-Boot\r\nHit any key\r\n=> => ");
    }

    #[test]
    fn since_has_a_few_words_and_times() {
        assert_eq!(since_of("lease"), Ok(Value::Null));
        assert_eq!(since_of("boot"), Ok(json!("boot")));
        assert_eq!(since_of("1970-01-01T00:00:02.5Z"), Ok(json!(2.5)));
        assert!(since_of("10m").unwrap().is_number());
        let error = since_of("soon").unwrap_err();
        assert!(error.contains("write boot, lease, 2h"), "{error}");
    }
}
