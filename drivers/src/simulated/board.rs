//! The state of a simulated board.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::firmware::{self, Medium};
use crate::console::Console;
use crate::storage::image::Image;
use crate::stream::{Sink, Source};
use crate::{DriverError, Result};

/// A board with its supply, its console and its card.
#[derive(Debug, Default)]
pub(super) struct Board {
    console: Arc<Console>,
    power: Mutex<Supply>,
    card: Mutex<Card>,
}

/// Whether the board has power.
#[derive(Debug, Default)]
enum Supply {
    #[default]
    Off,
    On {
        firmware: JoinHandle<()>,
        /// Cuts the power when it is dropped.
        _power: DropGuard,
    },
}

#[derive(Debug, Default)]
struct Card {
    place: Place,
    image: Option<Image>,
}

/// Where the card is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Place {
    /// In the board.
    #[default]
    Dut,
    /// In the host.
    Host,
    /// Connected to neither.
    Nowhere,
}

impl Board {
    pub(super) fn console(&self) -> &Arc<Console> {
        &self.console
    }

    pub(super) fn is_on(&self) -> bool {
        matches!(*lock(&self.power), Supply::On { .. })
    }

    /// Switches on; the firmware begins. A board that is on goes on.
    pub(super) fn power_on(&self) {
        let mut power = lock(&self.power);
        if matches!(*power, Supply::On { .. }) {
            return;
        }
        let medium = {
            let card = lock(&self.card);
            card.image.clone().filter(|_| card.place == Place::Dut)
        };
        let cut = CancellationToken::new();
        let (console, is_cut) = (Arc::clone(&self.console), cut.clone());
        let firmware = async move {
            let run = async {
                let medium = match medium {
                    Some(image) => Medium::read(&image).await,
                    None => Medium::None,
                };
                firmware::run(medium, &console).await;
            };
            // Without power, everything stops where it is.
            is_cut.run_until_cancelled(run).await;
        };
        let runtime = tokio::runtime::Handle::current();
        *power = Supply::On { firmware: runtime.spawn(firmware), _power: cut.drop_guard() };
        tracing::info!("board powered on");
    }

    /// Switches off. Returns when nothing runs any more.
    pub(super) async fn power_off(&self) {
        let before = std::mem::take(&mut *lock(&self.power));
        if let Supply::On { firmware, _power } = before {
            drop(_power);
            // An error would be a panic of the firmware, which is off in any case.
            firmware.await.ok();
            tracing::info!("board powered off");
        }
    }

    pub(super) fn place_card(&self, place: Place) {
        lock(&self.card).place = place;
    }

    pub(super) async fn write_card(&self, source: Source) -> Result<()> {
        self.card_in_host()?;
        let image = Image::receive(source).await?;
        lock(&self.card).image = Some(image);
        Ok(())
    }

    pub(super) async fn read_card(&self, sink: &mut Sink) -> Result<()> {
        self.card_in_host()?;
        let image = lock(&self.card).image.clone();
        match image {
            Some(image) => image.send(sink).await,
            None => Ok(()),
        }
    }

    fn card_in_host(&self) -> Result<()> {
        match lock(&self.card).place {
            Place::Host => Ok(()),
            Place::Dut | Place::Nowhere => Err(DriverError::Device(
                "the card is not connected to the host; call host first".into(),
            )),
        }
    }
}

/// Locks a state that changes in single steps, so that it is whole even if a thread has panicked.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
