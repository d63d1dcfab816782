//! `on`, `off`, `cycle`, `read`, `rescue` and `status`: clients of power switches.

use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use serde::Deserialize;
use tokio::time;

use super::client::Client;
use super::command::{flag, option, value};
use super::error::Result;
use super::output;
use super::report::Driver;

/// What to do with a power switch.
#[derive(Debug, PartialEq)]
pub(crate) enum Verb {
    On,
    /// `destroy` is sent to virtual machines only.
    Off {
        destroy: Option<bool>,
    },
    Cycle {
        wait: u64,
    },
    /// A count of 0 never ends.
    Read {
        count: u64,
        interval: f64,
    },
    Rescue,
    Status,
}

/// What is switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Physical,
    /// A virtual machine, which can be destroyed when it is off.
    Virtual,
}

/// One measurement.
#[derive(Debug, Deserialize)]
struct Reading {
    voltage: f64,
    current: f64,
}

pub(crate) fn commands(driver: &Driver, kind: Kind) -> Vec<Command> {
    let destroy = flag("destroy").help("destroy the instance after powering it off");
    let wait = option("wait", "INTEGER").short('w').default_value("2");
    let count = option("count", "INTEGER").short('n').default_value("1");
    let interval = option("interval", "FLOAT").short('i').default_value("1.0");
    vec![
        driver.command("on", "Power on"),
        driver.command("off", "Power off").args((kind == Kind::Virtual).then_some(destroy)),
        driver.command("cycle", "Power cycle").arg(
            wait.value_parser(value_parser!(u64)).help("Wait time in seconds between off and on"),
        ),
        driver
            .command("read", "Read power measurements")
            .arg(count.value_parser(value_parser!(u64)).help("Number of readings (0 = infinite)"))
            .arg(seconds(interval).help("Seconds between readings")),
        driver.command("rescue", "Power on into the rescue mode"),
        driver.command("status", "Tell whether it is on, off or partial"),
    ]
}

pub(crate) fn seconds(argument: Arg) -> Arg {
    argument.allow_negative_numbers(true).value_parser(|text: &str| {
        let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
        if Duration::try_from_secs_f64(seconds).is_err() {
            return Err("not a time that can be waited for");
        }
        Ok(seconds)
    })
}

pub(crate) fn verb(kind: Kind, name: &str, matches: &ArgMatches) -> Option<Verb> {
    Some(match name {
        "on" => Verb::On,
        "off" => Verb::Off { destroy: (kind == Kind::Virtual).then(|| value(matches, "destroy")) },
        "cycle" => Verb::Cycle { wait: value(matches, "wait") },
        "read" => {
            Verb::Read { count: value(matches, "count"), interval: value(matches, "interval") }
        }
        "rescue" => Verb::Rescue,
        "status" => Verb::Status,
        _ => return None,
    })
}

pub(crate) async fn perform(client: &Client<'_>, verb: Verb) -> Result<()> {
    match verb {
        Verb::On => client.call("on", vec![]).await?,
        Verb::Off { destroy } => {
            client.call("off", destroy.into_iter().map(Into::into).collect()).await?
        }
        Verb::Cycle { wait } => {
            output::line(format_args!("Power cycling with {wait} seconds wait time..."))?;
            client.call("off", vec![]).await?;
            time::sleep(Duration::from_secs(wait)).await;
            client.call("on", vec![]).await?
        }
        Verb::Read { count, interval } => return read(client, count, interval).await,
        Verb::Rescue => client.call("rescue", vec![]).await?,
        Verb::Status => {
            let state: String = client.ask("status", vec![], "a state").await?;
            return output::line(state);
        }
    };
    Ok(())
}

/// One of the `count` readings is all that the driver yields: most yield one item, some go on.
async fn read(client: &Client<'_>, count: u64, interval: f64) -> Result<()> {
    let mut done = 0;
    loop {
        let mut readings = client.items("read", vec![]).await?;
        while let Some(Reading { voltage, current }) = readings.next("a power reading").await? {
            let power = voltage * current;
            output::line(format_args!(
                "voltage={voltage:?} V  current={current:?} A  apparent_power={power:?} VA"
            ))?;
        }
        done += 1;
        if done == count {
            return Ok(());
        }
        time::sleep(Duration::from_secs_f64(interval)).await;
    }
}
