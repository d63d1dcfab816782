//! The command line: which commands there are, and what the arguments mean.
//!
//! The tree of commands is the tree of drivers with verbs at its leaves. Only what the arguments
//! can mean is built in full: a driver whose name does not occur among them is a line in its
//! parent's help.

use std::ffi::OsString;
use std::iter;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::error::Result;
use super::report::{Class, Driver};
use super::shell::{self, Scripts};
use super::{call, flasher, gpio, network, opendal, power, serial, storage};

/// A command line that was understood: what to do with which driver.
#[derive(Debug, PartialEq)]
pub(crate) struct Plan<'a> {
    pub(crate) driver: &'a Driver,
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Verb {
    Power(power::Verb),
    Serial(serial::Verb),
    Network(network::Verb),
    Opendal(opendal::Verb),
    Flasher(flasher::Verb),
    Storage(storage::Verb),
    Shell(shell::Verb),
    Gpio(gpio::Verb),
    Call(call::Verb),
}

/// Understands `args`, which don't include the name of the program.
///
/// # Errors
///
/// What clap has to say: a mistake with a suggestion, or the help that was asked for.
pub(crate) fn parse<'a>(
    root: &'a Driver,
    scripts: &Scripts,
    args: &[OsString],
) -> Result<Plan<'a>> {
    let program = OsString::from("j");
    let command = group(root, "j", "j", &Words { args, scripts });
    let matches = command.try_get_matches_from(iter::once(&program).chain(args))?;
    Ok(understand(root, scripts, &matches))
}

fn understand<'a>(driver: &'a Driver, scripts: &Scripts, matches: &ArgMatches) -> Plan<'a> {
    let (name, matches) = matches.subcommand().expect("because a group requires a command");
    let child = match verb(driver, scripts, name, matches) {
        Some(verb) => return Plan { driver, verb },
        None => driver.children.get(name),
    };
    let child = child.expect("because a command that is no verb is a child");
    understand(child, scripts, matches)
}

/// What the tree is built for.
struct Words<'a> {
    args: &'a [OsString],
    scripts: &'a Scripts,
}

impl Words<'_> {
    fn may_mean(&self, name: &str) -> bool {
        self.args.iter().any(|word| word == name)
    }
}

/// The group of commands of a driver: its verbs, then its children, as one list in the order of
/// names.
fn group(driver: &Driver, name: &str, path: &str, words: &Words<'_>) -> Command {
    let mut commands = verbs(driver, words.scripts);
    for (child, below) in &driver.children {
        if commands.iter().any(|verb| verb.get_name() == child) {
            continue;
        }
        commands.push(if words.may_mean(child) {
            group(below, child, &format!("{path} {child}"), words)
        } else {
            Command::new(child.clone()).about(summary(group_help(below)))
        });
    }
    commands.sort_by(|a, b| a.get_name().cmp(b.get_name()));
    let template = format!(
        "{{usage-heading}} {{usage}}\n\n{}\n\nOptions:\n{{options}}\n\nCommands:\n{{subcommands}}",
        indented(group_help(driver)),
    );
    bare(name)
        .about(summary(group_help(driver)))
        .help_template(template)
        .override_usage(format!("{path} [OPTIONS] COMMAND [ARGS]..."))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .args((driver.class == Class::Composite).then(log_level))
        .subcommands(commands)
}

/// Only groups of drivers take it, as in the reference.
fn log_level() -> Arg {
    let levels = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];
    choice("log-level", &levels).help("Taken for the sake of scripts: this client keeps no log")
}

fn group_help(driver: &Driver) -> &str {
    driver.description.as_deref().unwrap_or(match driver.class {
        Class::Composite => "Generic composite device",
        Class::Power | Class::VirtualPower => "Generic power",
        Class::Serial => "Serial port client",
        Class::Network => "Generic Network Connection",
        Class::Opendal => "Opendal Storage",
        Class::Flasher | Class::StorageMuxFlasher => "Generic flasher interface",
        Class::StorageMux => "Storage operations",
        Class::Shell => "Shell command executor",
        Class::DigitalOutput => "GPIO output",
        Class::DigitalInput => "GPIO input",
        Class::Unknown => "Device that has no verbs of its own here",
    })
}

fn verbs(driver: &Driver, scripts: &Scripts) -> Vec<Command> {
    let mut commands = match driver.class {
        Class::Composite | Class::Unknown => vec![],
        Class::Power => power::commands(driver, power::Kind::Physical),
        Class::VirtualPower => power::commands(driver, power::Kind::Virtual),
        Class::Serial => serial::commands(driver),
        Class::Network => network::commands(driver),
        Class::Opendal => opendal::commands(driver),
        Class::Flasher => flasher::commands(driver),
        Class::StorageMux => storage::commands(driver, storage::Kind::Mux),
        Class::StorageMuxFlasher => storage::commands(driver, storage::Kind::Flasher),
        Class::Shell => shell::commands(driver, scripts),
        Class::DigitalOutput => gpio::commands(driver, gpio::Direction::Output),
        Class::DigitalInput => gpio::commands(driver, gpio::Direction::Input),
    };
    // A script of that name comes first.
    if !commands.iter().any(|verb| verb.get_name() == call::NAME) {
        commands.push(call::command(driver));
    }
    commands
}

fn verb(driver: &Driver, scripts: &Scripts, name: &str, matches: &ArgMatches) -> Option<Verb> {
    let own = match driver.class {
        Class::Composite | Class::Unknown => None,
        Class::Power => power::verb(power::Kind::Physical, name, matches).map(Verb::Power),
        Class::VirtualPower => power::verb(power::Kind::Virtual, name, matches).map(Verb::Power),
        Class::Serial => serial::verb(name, matches).map(Verb::Serial),
        Class::Network => network::verb(name, matches).map(Verb::Network),
        Class::Opendal => opendal::verb(name, matches).map(Verb::Opendal),
        Class::Flasher => flasher::verb(name, matches).map(Verb::Flasher),
        Class::StorageMux | Class::StorageMuxFlasher => {
            storage::verb(name, matches).map(Verb::Storage)
        }
        Class::Shell => shell::verb(driver, scripts, name, matches).map(Verb::Shell),
        Class::DigitalOutput => gpio::verb(gpio::Direction::Output, name, matches).map(Verb::Gpio),
        Class::DigitalInput => gpio::verb(gpio::Direction::Input, name, matches).map(Verb::Gpio),
    };
    own.or_else(|| (name == call::NAME).then(|| Verb::Call(call::verb(matches))))
}

impl Driver {
    /// A command for a verb. The exporter's configuration may know a better help text.
    pub(crate) fn command(&self, name: &str, help: &str) -> Command {
        let help = self.methods.get(name).map_or(help, String::as_str);
        let template =
            format!("{{usage-heading}} {{usage}}\n\n{}\n\nOptions:\n{{options}}", indented(help));
        bare(name).about(summary(help)).help_template(template)
    }
}

/// A command with nothing but `--help`. The reference has no `-h`, so that it can be an argument of
/// a script.
fn bare(name: &str) -> Command {
    let help = Arg::new("help").long("help").action(ArgAction::Help);
    Command::new(name.to_owned())
        .disable_help_flag(true)
        .arg(help.help("Show this message and exit.").display_order(usize::MAX))
}

/// An option with a value.
pub(crate) fn option(name: &'static str, value: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value)
}

/// An option whose value is one of a few.
pub(crate) fn choice(name: &'static str, values: &[&'static str]) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(values.join("|"))
        .hide_possible_values(true)
        .value_parser(PossibleValuesParser::new(values.to_vec()))
}

/// An option without a value.
pub(crate) fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

/// A required argument.
pub(crate) fn argument(name: &'static str) -> Arg {
    Arg::new(name).required(true)
}

/// The value of an argument that is required or has a default.
pub(crate) fn value<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> T {
    let value = matches.get_one::<T>(name).cloned();
    value.expect("because clap refuses a command line without it")
}

/// For a list of commands.
fn summary(help: &str) -> String {
    help.trim().lines().next().unwrap_or_default().to_owned()
}

fn indented(help: &str) -> String {
    let indent = |line: &str| if line.is_empty() { String::new() } else { format!("  {line}") };
    help.trim().lines().map(indent).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
