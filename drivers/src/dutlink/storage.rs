//! The board's switch for a USB storage, which is plugged into the board.

use std::sync::Arc;

use super::board::{Board, Command};
use crate::Result;
use crate::storage::block::{Mux, Side};

/// The switch, without the storage.
#[derive(Debug)]
pub(super) struct Switch(Arc<Board>);

impl Switch {
    pub(super) fn new(board: Arc<Board>) -> Self {
        Self(board)
    }
}

impl Mux for Switch {
    async fn switch(&self, side: Side) -> Result<()> {
        let command = match side {
            Side::Host => Command::StorageToHost,
            Side::Dut => Command::StorageToDut,
            Side::Off => Command::StorageOff,
        };
        self.0.tell(command).await?;
        tracing::info!("{side}");
        Ok(())
    }
}
