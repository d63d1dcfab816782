//! One command for every script of a shell driver.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value};

use super::client::Client;
use super::connection::Connection;
use super::error::Result;
use super::output;
use super::report::{Class, Driver};

/// The scripts of shell drivers, by the driver's uuid. Their names are not in the report.
pub(crate) type Scripts = BTreeMap<String, Vec<String>>;

/// One run of a script.
#[derive(Debug, PartialEq)]
pub(crate) struct Verb {
    script: String,
    environment: Map<String, Value>,
    args: Vec<String>,
}

/// Asks the shell drivers that `args` name for their scripts.
pub(crate) async fn scripts(
    connection: &Connection,
    root: &Driver,
    args: &[OsString],
) -> Result<Scripts> {
    let mut scripts = Scripts::new();
    let mut drivers = vec![root];
    while let Some(driver) = drivers.pop() {
        if driver.class == Class::Shell {
            let client = Client::new(connection, driver);
            let names = client.ask("get_methods", vec![], "a list of names").await?;
            scripts.insert(driver.uuid.clone(), names);
        }
        let named = |name: &String| args.iter().any(|word| word.as_os_str() == name.as_str());
        drivers.extend(driver.children.iter().filter(|(name, _)| named(name)).map(|(_, it)| it));
    }
    Ok(scripts)
}

pub(crate) fn commands(driver: &Driver, scripts: &Scripts) -> Vec<Command> {
    let names = scripts.get(&driver.uuid).into_iter().flatten();
    names.map(|name| command(driver, name)).collect()
}

fn command(driver: &Driver, name: &str) -> Command {
    let environment = Arg::new("env").long("env").short('e').action(ArgAction::Append);
    let environment = environment.value_name("KEY=VALUE").value_parser(pair);
    let args = Arg::new("ARGS").num_args(0..).allow_hyphen_values(true).trailing_var_arg(true);
    driver
        .command(name, &format!("Execute the {name} shell method"))
        .arg(environment.help("Environment variables in KEY=VALUE format"))
        .arg(args)
}

fn pair(text: &str) -> Result<(String, Value), &'static str> {
    let (name, value) = text.split_once('=').ok_or("use KEY=VALUE")?;
    Ok((name.to_owned(), value.into()))
}

pub(crate) fn verb(
    driver: &Driver,
    scripts: &Scripts,
    name: &str,
    matches: &ArgMatches,
) -> Option<Verb> {
    scripts.get(&driver.uuid)?.iter().find(|script| *script == name)?;
    Some(Verb {
        script: name.to_owned(),
        environment: matches.get_many("env").unwrap_or_default().cloned().collect(),
        args: matches.get_many("ARGS").unwrap_or_default().cloned().collect(),
    })
}

/// Returns the exit code of the script.
pub(crate) async fn perform(client: &Client<'_>, verb: Verb) -> Result<u8> {
    let mut args = vec![verb.script.into(), verb.environment.into()];
    args.extend(verb.args.into_iter().map(Value::from));
    let mut items = client.items("call_method", args).await?;
    let mut code = 0;
    while let Some(item) = items.next("output of a script").await? {
        let (stdout, stderr, ended): (Option<String>, Option<String>, Option<i64>) = item;
        output::text(&stdout.unwrap_or_default())?;
        output::diagnostics(&stderr.unwrap_or_default());
        code = ended.unwrap_or(code);
    }
    Ok(exit_code(code))
}

/// As shells count: 128 and the number of the signal for a script that a signal has ended, else the
/// code that the script has given.
fn exit_code(code: i64) -> u8 {
    let code = if code < 0 { 128 - code } else { code };
    // Only failures become 1: no code that is not 0 may turn into success.
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_code_is_ours() {
        assert_eq!([0, 7, 199, 255].map(exit_code), [0, 7, 199, 255]);
        assert_eq!(exit_code(-15), 143);
        assert_eq!([256, -1000].map(exit_code), [1, 1]);
    }
}
