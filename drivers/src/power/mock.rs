//! A power switch without a device, for trying things out: it logs what it was told.

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::{Power, Reading};
use crate::Result;
use crate::registry::{AnyConfig, Build};

/// `jumpstarter_driver_power.driver.MockPower`, and its twin `SyncMockPower`.
#[derive(Debug)]
pub struct MockPower;

impl Build for MockPower {
    // The reference's mock has no settings and takes any without a word.
    type Config = AnyConfig;

    fn build(_: AnyConfig) -> Result<Self> {
        Ok(Self)
    }
}

impl Power for MockPower {
    async fn on(&self) -> Result<()> {
        tracing::info!("power on");
        Ok(())
    }

    async fn off(&self) -> Result<()> {
        tracing::info!("power off");
        Ok(())
    }

    /// The two readings that clients of the reference's mock expect.
    fn read(&self) -> Result<BoxStream<'static, Result<Reading>>> {
        let readings =
            [Reading { voltage: 0.0, current: 0.0 }, Reading { voltage: 5.0, current: 2.0 }];
        Ok(stream::iter(readings.map(Ok)).boxed())
    }
}
