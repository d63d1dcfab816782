//! A group of drivers: no device, no methods, only children.

use crate::Result;
use crate::driver::{Driver, Method};
use crate::registry::{AnyConfig, Build};

/// `jumpstarter_driver_composite.driver.Composite`, and every node with only `children`.
#[derive(Debug)]
pub struct Composite;

impl Build for Composite {
    type Config = AnyConfig;

    fn build(_: AnyConfig) -> Result<Self> {
        Ok(Self)
    }
}

impl Driver for Composite {
    fn client(&self) -> &'static str {
        "jumpstarter_driver_composite.client.CompositeClient"
    }

    fn category(&self) -> &'static str {
        "composite"
    }

    fn methods(&self) -> &'static [Method] {
        &[]
    }
}
