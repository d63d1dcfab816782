//! The cases, one file a theme.

mod access;
mod clients;
mod command_line;
mod errors;
mod flash;
mod flash_from_web;
mod hook_output;
mod hooks;
mod lab;
mod lease;
mod lease_end;
mod logs;
mod network;
mod power;
mod serial;
mod shell;
mod stopping;
mod storage;
mod streams;
mod tree;

use std::pin::Pin;

use anyhow::Result;

use crate::bench::Bench;
use crate::known::Known;

/// One case: what is right, in steps that a client of any exporter could take.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// `theme::name`.
    pub(crate) name: String,
    /// Where the reference does something else; see [`Bench::differs`].
    pub(crate) known: &'static [Known],
    pub(crate) run: for<'b> fn(&'b Bench) -> Run<'b>,
}

/// A case on its way.
pub(crate) type Run<'b> = Pin<Box<dyn Future<Output = Result<()>> + 'b>>;

/// Lists the cases of a theme: `cases![on_off, stop[ExitCodeIsLost]]` runs the functions of these
/// names, the second one with a difference of the reference.
macro_rules! cases {
    ($($name:ident $([$($known:ident),+])?),+ $(,)?) => {
        pub(super) fn cases() -> Vec<crate::cases::Case> {
            let theme = module_path!().rsplit("::").next().unwrap_or_default();
            vec![$(crate::cases::Case {
                name: format!("{theme}::{}", stringify!($name)),
                known: &[$($(crate::known::Known::$known),+)?],
                run: |bench| Box::pin($name(bench)),
            }),+]
        }
    };
}
use cases;

/// The cases about what only Hilt has, in reading order.
pub(crate) fn of_hilt() -> Vec<Case> {
    lab::cases()
}

/// All other cases, in reading order.
pub(crate) fn all() -> Vec<Case> {
    [
        power::cases(),
        tree::cases(),
        lease::cases(),
        lease_end::cases(),
        stopping::cases(),
        hooks::cases(),
        hook_output::cases(),
        logs::cases(),
        access::cases(),
        clients::cases(),
        serial::cases(),
        network::cases(),
        shell::cases(),
        storage::cases(),
        flash::cases(),
        flash_from_web::cases(),
        streams::cases(),
        errors::cases(),
        command_line::cases(),
    ]
    .concat()
}
