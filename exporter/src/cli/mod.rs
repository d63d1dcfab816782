//! The `hilt` command: one file a subcommand.

mod bind;
mod check;
mod demo;
mod discover;
mod down;
mod hooks;
mod lab;
mod release;
mod reload;
mod run;
mod run_lab;
mod running;
mod shell;
mod source;
mod status;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use tokio::runtime::Runtime;
use tracing_subscriber::filter::LevelFilter;

use crate::logging;

/// A hardware exporter that speaks the Jumpstarter protocol.
#[derive(Debug, Parser)]
#[command(name = "hilt", version)]
pub struct Cli {
    /// Log messages of this level and above.
    #[arg(long, global = true, value_enum, ignore_case = true, default_value_t = Level::Info)]
    log_level: Level,
    /// How log messages look.
    #[arg(long, global = true, value_enum, default_value_t = logging::Format::Auto)]
    log_format: logging::Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Check),
    Demo(demo::Demo),
    Discover(discover::Discover),
    Down(down::Down),
    Hooks(hooks::Hooks),
    Lab(lab::Lab),
    Release(release::Release),
    Reload(reload::Reload),
    Run(run::Run),
    Shell(shell::Shell),
    Status(status::Status),
}

/// The levels by the names that Jumpstarter's options have.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "UPPER")]
enum Level {
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

impl Cli {
    /// Does what was typed.
    ///
    /// # Errors
    ///
    /// What kept it from being done, for the terminal.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let level = match self.log_level {
            Level::Debug => LevelFilter::DEBUG,
            Level::Info => LevelFilter::INFO,
            Level::Warning => LevelFilter::WARN,
            Level::Error | Level::Critical => LevelFilter::ERROR,
        };
        match self.command {
            // It tells its story from the log, driver calls included.
            Command::Demo(_) => logging::init_silent(LevelFilter::DEBUG)?,
            Command::Hooks(ref hooks) if hooks.speaks_for_the_exporter() => {
                logging::init_silent(level)?;
            }
            Command::Check(_)
            | Command::Discover(_)
            | Command::Down(_)
            | Command::Hooks(_)
            | Command::Lab(_)
            | Command::Release(_)
            | Command::Reload(_)
            | Command::Run(_)
            | Command::Shell(_)
            | Command::Status(_) => {
                logging::init(level, self.log_format)?;
            }
        }
        match self.command {
            Command::Check(check) => check.run(),
            Command::Demo(demo) => demo.run(),
            Command::Discover(discover) => discover.run(),
            Command::Down(down) => down.run(),
            Command::Hooks(hooks) => hooks.run(),
            Command::Lab(lab) => lab.run(),
            Command::Release(release) => release.run(),
            Command::Reload(reload) => reload.run(),
            Command::Run(run) => run.run(),
            Command::Shell(shell) => shell.run(),
            Command::Status(status) => status.run(),
        }
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")
}
