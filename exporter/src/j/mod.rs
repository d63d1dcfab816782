//! `j`, the command-line client: `j DRIVER[...] VERB [ARGS]`, for hooks and for `jmp shell`.
//!
//! A call is four steps, and this is the order to read the files in:
//!
//! 1. `environment` says where the exporter is, `connection` goes there.
//! 2. `report` makes a tree of drivers from the exporter's report.
//! 3. `command` builds the commands that the arguments can mean, and understands the arguments as
//!    a `Plan`: a driver and what to do with it.
//! 4. `client` is that driver over the wire. `power`, `serial`, `network`, `opendal`,
//!    `flasher`, `storage`, `shell`, `gpio` and `call` hold the verbs, one file a kind of client.
//!
//! A serial port's longer verbs have files of their own: `console`, `borrow` and `serial_log`.
//!
//! Below them, `stream` moves bytes to and from a device, `resource` lends a local file to a
//! driver, `local` is this end of such a transfer. Every word that is printed comes from `output`
//! or `progress`, and `signals` lets an interrupted verb leave the bench in order.
//!
//! Every hook is made of `j` calls, so it starts fast: one thread, one connection, one `GetReport`
//! and then the calls of the verb. Nothing is read from disk on the way, and no command is built
//! that the arguments can't mean.
//!
//! # Exit codes
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; also if whoever read the output has closed it |
//! | 1 | failed, with one line on stderr |
//! | 2 | the command line is wrong (also no command at all: the help, on stderr) |
//! | 129, 130, 143 | ended by SIGHUP, SIGINT or SIGTERM, after putting a storage mux back |
//! | any | a script of a shell driver: its own; 128 + N if signal N ended it |
//!
//! The reference's `j` says 1 for a wrong command line, 2 for a signal, and 0 for a failed script;
//! scripts that test for 0 see no difference except for the last, which is why it is one.

mod borrow;
mod call;
mod client;
mod command;
mod connection;
mod console;
mod environment;
mod error;
mod flasher;
mod gpio;
mod local;
mod network;
mod opendal;
mod output;
mod power;
mod progress;
mod report;
mod resource;
mod serial;
mod serial_log;
mod shell;
mod signals;
mod storage;
mod stream;

use std::ffi::OsString;
use std::process::ExitCode;

use client::Client;
use command::{Plan, Verb};
use connection::Connection;
use environment::Environment;
use error::{Error, Result};
use report::Driver;
use signals::Signals;

/// Runs `j` with the arguments and the environment of this process.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

/// Runs `j` with `args`, the first of which is the name it was called by and is not looked at.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().skip(1).collect();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Error::local("starting", error).report(),
    };
    let outcome = runtime.block_on(execute(&args));
    // A thread may be blocked in a read of stdin. Only the end of the process ends that.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => error.report(),
    }
}

/// The four steps. The number is the exit code.
async fn execute(args: &[OsString]) -> Result<u8> {
    let environment = Environment::read(|name| std::env::var_os(name))?;
    let connection = Connection::open(&environment).await?;
    let root = Driver::tree(connection.report().await?)?;
    let scripts = shell::scripts(&connection, &root, args).await?;
    let Plan { driver, verb } = command::parse(&root, &scripts, args)?;
    let client = Client::new(&connection, driver);
    let mut signals = Signals::listen()?;
    perform(&client, verb, &mut signals).await
}

async fn perform(client: &Client<'_>, verb: Verb, signals: &mut Signals) -> Result<u8> {
    match verb {
        Verb::Power(verb) => signals.guard(power::perform(client, verb)).await?,
        Verb::Serial(verb) => return serial::perform(client, verb, signals).await,
        Verb::Network(verb) => signals.guard(network::perform(client, verb)).await?,
        Verb::Opendal(verb) => opendal::perform(client, verb, signals).await?,
        Verb::Flasher(verb) => signals.guard(flasher::perform(client, verb)).await?,
        Verb::Storage(verb) => Box::pin(storage::perform(client, verb, signals)).await?,
        Verb::Gpio(verb) => signals.guard(gpio::perform(client, verb)).await?,
        Verb::Call(verb) => signals.guard(call::perform(client, verb)).await?,
        Verb::Shell(verb) => return signals.guard(shell::perform(client, verb)).await,
    }
    Ok(0)
}
