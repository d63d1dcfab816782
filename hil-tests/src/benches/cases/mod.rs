//! The cases, one file a device.

mod board;
mod console;
mod discover;
mod lease;
mod mux;
mod power;
mod storage;

use std::pin::Pin;

use anyhow::Result;

use super::description::Ability;
use super::rig::Rig;

/// One case: what has to come out on every bench that can do it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// `device::name`
    pub(crate) name: String,
    /// What it needs of a bench.
    pub(crate) needs: &'static [Ability],
    pub(crate) run: for<'r> fn(&'r Rig) -> Run<'r>,
}

/// A case on its way.
pub(crate) type Run<'r> = Pin<Box<dyn Future<Output = Result<()>> + 'r>>;

/// Lists the cases of a device: `cases![switches: Power; pulled: Storage, PullCard]` runs the
/// functions of these names on benches that have these abilities.
macro_rules! cases {
    ($($name:ident: $($need:ident),+);+ $(;)?) => {
        pub(super) fn cases() -> Vec<crate::benches::cases::Case> {
            let device = module_path!().rsplit("::").next().unwrap_or_default();
            vec![$(crate::benches::cases::Case {
                name: format!("{device}::{}", stringify!($name)),
                needs: &[$(crate::benches::description::Ability::$need),+],
                run: |rig| Box::pin($name(rig)),
            }),+]
        }
    };
}
use cases;

/// All cases, in reading order.
pub(crate) fn all() -> Vec<Case> {
    [
        power::cases(),
        console::cases(),
        storage::cases(),
        mux::cases(),
        lease::cases(),
        discover::cases(),
        board::cases(),
    ]
    .concat()
}
