//! `call METHOD [ARGS]...`: any method of any driver, without a client that knows it.

use clap::{Arg, ArgMatches, Command};
use serde_json::Value;
use tonic::Code;

use super::client::Client;
use super::command::{argument, value};
use super::error::Result;
use super::output;
use super::report::Driver;

/// The name of the verb, which every driver has.
pub(crate) const NAME: &str = "call";

const HELP: &str = "Call a method by its name

ARGS are JSON, so text is quoted twice: '\"text\"'. The result is printed as JSON,
one line for each item if the method yields several.";

/// One call.
#[derive(Debug, PartialEq)]
pub(crate) struct Verb {
    method: String,
    args: Vec<Value>,
}

pub(crate) fn command(driver: &Driver) -> Command {
    let args = Arg::new("ARGS").num_args(0..).allow_hyphen_values(true).trailing_var_arg(true);
    driver.command(NAME, HELP).arg(argument("METHOD")).arg(args.value_parser(json))
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not JSON ({error}); text is '\"{text}\"'"))
}

pub(crate) fn verb(matches: &ArgMatches) -> Verb {
    let args = matches.get_many("ARGS").unwrap_or_default().cloned().collect();
    Verb { method: value(matches, "METHOD"), args }
}

pub(crate) async fn perform(client: &Client<'_>, Verb { method, args }: Verb) -> Result<()> {
    let refused = match client.call(&method, args.clone()).await {
        Ok(result) => return output::line(result),
        // What an exporter says of a method that yields items, and of one that isn't there.
        Err(refused) if refused.code() == Some(Code::NotFound) => refused,
        Err(error) => return Err(error),
    };
    let mut items = match client.items(&method, args).await {
        Ok(items) => items,
        Err(error) if error.code() == Some(Code::NotFound) => return Err(refused),
        Err(error) => return Err(error),
    };
    loop {
        match items.next::<Value>("a value").await {
            Ok(Some(item)) => output::line(item)?,
            Ok(None) => return Ok(()),
            // Some exporters answer with headers before they look the method up.
            Err(error) if error.code() == Some(Code::NotFound) => return Err(refused),
            Err(error) => return Err(error),
        }
    }
}
