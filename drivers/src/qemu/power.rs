//! The supply of an emulated board.

use std::sync::Arc;

use super::machine::Machine;
use crate::Result;
use crate::power::Power;
use crate::power::switch::State;

/// Starts and ends QEMU.
#[derive(Debug)]
pub(super) struct Supply(pub(super) Arc<Machine>);

impl Power for Supply {
    async fn on(&self) -> Result<()> {
        self.0.on().await
    }

    async fn off(&self) -> Result<()> {
        self.0.off().await
    }

    /// A board that has switched itself off is off.
    async fn status(&self) -> Result<State> {
        self.0.status().await
    }
}
