//! `on`, `off`, `cycle`, `read` and the ways to wait: clients of GPIO lines.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

use super::client::Client;
use super::command::{argument, option, value};
use super::error::Result;
use super::report::Driver;
use super::{output, power};

/// What to do with a line.
#[derive(Debug, PartialEq)]
pub(crate) enum Verb {
    /// An output is switched as power is.
    Switch(power::Verb),
    Read,
    /// The method that waits, and what for if it does not say it itself.
    Wait {
        method: &'static str,
        edge: Option<String>,
        /// In seconds.
        timeout: f64,
    },
}

/// Which way a line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Output,
    Input,
}

const SWITCH: [&str; 3] = ["on", "off", "cycle"];

pub(crate) fn commands(driver: &Driver, direction: Direction) -> Vec<Command> {
    let read = driver.command("read", "Tell whether the line is active or inactive");
    match direction {
        Direction::Output => {
            let switch = power::commands(driver, power::Kind::Physical).into_iter();
            let switch = switch.filter(|command| SWITCH.contains(&command.get_name()));
            switch.chain([read]).collect()
        }
        Direction::Input => {
            let edges = PossibleValuesParser::new(["rising", "falling"]);
            let wait = |name, help| driver.command(name, help).arg(timeout());
            vec![
                read,
                wait("wait-for-edge", "Wait for an edge")
                    .arg(argument("EDGE_TYPE").value_parser(edges)),
                wait("wait-for-active", "Wait until the line is active"),
                wait("wait-for-inactive", "Wait until the line is inactive"),
            ]
        }
    }
}

fn timeout() -> Arg {
    let timeout = option("timeout", "SECONDS").short('t').default_value("3600");
    power::seconds(timeout).help("How long to wait at most")
}

pub(crate) fn verb(direction: Direction, name: &str, matches: &ArgMatches) -> Option<Verb> {
    let wait = |method, edge| Some(Verb::Wait { method, edge, timeout: value(matches, "timeout") });
    match (direction, name) {
        (_, "read") => Some(Verb::Read),
        (Direction::Output, name) => {
            power::verb(power::Kind::Physical, name, matches).map(Verb::Switch)
        }
        (Direction::Input, "wait-for-active") => wait("wait_for_active", None),
        (Direction::Input, "wait-for-inactive") => wait("wait_for_inactive", None),
        (Direction::Input, "wait-for-edge") => {
            wait("wait_for_edge", Some(value(matches, "EDGE_TYPE")))
        }
        (Direction::Input, _) => None,
    }
}

pub(crate) async fn perform(client: &Client<'_>, verb: Verb) -> Result<()> {
    match verb {
        Verb::Switch(verb) => power::perform(client, verb).await,
        Verb::Read => {
            let active: f64 = client.ask("read_pin", vec![], "a level").await?;
            output::line(if active == 0.0 { "inactive" } else { "active" })
        }
        Verb::Wait { method, edge, timeout } => {
            let edge = edge.map(Value::from);
            client.call(method, edge.into_iter().chain([json!(timeout)]).collect()).await?;
            Ok(())
        }
    }
}
