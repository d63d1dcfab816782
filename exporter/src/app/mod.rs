//! Puts an exporter together and runs it: a bench that is leased, one for local use, or one on which
//! a hook is rehearsed.

mod controlled;
mod exporter;
mod fleet;
mod idle;
mod in_lab;
mod local;
mod rehearsal;
mod standalone;
mod tries;

use std::any::Any;
use std::sync::Arc;

use anyhow::anyhow;
use drivers::Tree;
use drivers::tree::TreeError;
use tokio_util::sync::CancellationToken;

pub use self::controlled::Controlled;
pub use self::exporter::{Setup, State};
pub use self::fleet::{Fleet, Member, Start};
pub use self::in_lab::InLab;
pub use self::local::Local;
pub use self::rehearsal::rehearse;
pub use self::standalone::Standalone;
use crate::config::Config;
use crate::lease::status::Publisher;
use crate::session::bench::{Bench, Parts};
use crate::session::log::Log;

/// A bench that nobody leases, and what says how it may be used.
fn without_leases(
    config: &Config,
    name: Option<String>,
) -> anyhow::Result<(Publisher, Arc<Bench>)> {
    let (publisher, status) = Publisher::new();
    let tree = Tree::build(config.description.clone(), &config.specs());
    let parts = Parts {
        name,
        motd: config.motd.clone().unwrap_or_default(),
        tree: tree.map_err(|errors| unbuilt(&errors))?,
        status,
        log: Log::default(),
        lease: None,
    };
    Ok((publisher, Bench::new(parts, CancellationToken::new())))
}

/// A panic, as the failure of one exporter.
fn panicked(panic: &(dyn Any + Send)) -> anyhow::Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    anyhow!("it has panicked: {}", text.unwrap_or("no reason"))
}

fn unbuilt(errors: &[TreeError]) -> anyhow::Error {
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    anyhow!(lines.join("\n"))
}
