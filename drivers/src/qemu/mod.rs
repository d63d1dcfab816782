//! Boards that QEMU emulates: switched, flashed and talked to as real ones.
//!
//! ```text
//! power ────► Machine ──► Running      QEMU's process, and QMP, while the board is on
//! console ──►    ├──────► Console      the serial port, always
//! flasher ──►    └──────► Store        what was flashed, or else the configuration's files
//! vnc, and a TcpNetwork for each `hostfwd`
//! ```
//!
//! QEMU connects to two sockets of the exporter, for QMP and for the console, and starts its processor
//! only when both are there: not a byte of the console is lost. What was flashed, and what the board
//! has written since, is kept until the lease ends; the files of the configuration are never written
//! to. The settings are in `drivers/docs/qemu.md`.

mod cidata;
mod command;
mod config;
mod console;
mod flasher;
mod format;
mod machine;
mod network;
mod power;
mod process;
mod qmp;
mod running;
mod size;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use self::config::Config;
use self::machine::Machine;
use crate::Result;
use crate::driver::{Call, Driver, Method};
use crate::network::NetworkDriver;
use crate::network::tcp::TcpNetwork;
use crate::power::PowerDriver;
use crate::registry::{Build as _, BuildParent, Built};

/// `jumpstarter_driver_qemu.driver.Qemu`.
#[derive(Debug)]
pub struct Qemu(Arc<Machine>);

impl BuildParent for Qemu {
    type Config = Config;

    fn build(config: Config) -> Result<Built> {
        config.check()?;
        let forwards = config.hostfwd.clone();
        let machine = Arc::new(Machine::new(config));
        let parts: [(&str, Arc<dyn Driver>); 4] = [
            ("power", Arc::new(PowerDriver(power::Supply(Arc::clone(&machine))))),
            ("flasher", Arc::new(flasher::QemuFlasher::new(&machine))),
            ("console", Arc::new(console::Serial(Arc::clone(&machine)))),
            ("vnc", Arc::new(NetworkDriver(network::Vnc(Arc::clone(&machine))))),
        ];
        let mut children: Vec<(String, Built)> =
            parts.map(|(name, driver)| (name.to_owned(), driver.into())).into();
        for (name, forward) in forwards {
            let service: Arc<dyn Driver> =
                Arc::new(NetworkDriver(TcpNetwork::build(forward.endpoint())?));
            children.push((name, service.into()));
        }
        Ok(Built { driver: Arc::new(Self(machine)), children })
    }
}

#[async_trait]
impl Driver for Qemu {
    fn client(&self) -> &'static str {
        "jumpstarter_driver_qemu.client.QemuClient"
    }

    fn category(&self) -> &'static str {
        "composite"
    }

    fn methods(&self) -> &'static [Method] {
        const {
            &[
                Method::unary("get_hostname"),
                Method::unary("get_username"),
                Method::unary("get_password"),
                Method::unary("set_disk_size"),
                Method::unary("set_memory_size"),
            ]
        }
    }

    /// Makes sure that QEMU is there.
    async fn open(&self) -> Result<()> {
        self.0.program().map(drop)
    }

    /// Switches the board off, and forgets what this lease has made of it.
    async fn close(&self) {
        self.0.reset().await;
    }

    async fn call(&self, call: Call<'_>) -> Result<Value> {
        let config = self.0.config();
        match call.method {
            "get_hostname" => call.args.none().map(|()| config.hostname.as_str().into()),
            "get_username" => call.args.none().map(|()| config.username.as_str().into()),
            "get_password" => call.args.none().map(|()| config.password.reveal().into()),
            "set_disk_size" | "set_memory_size" => {
                call.args.at_most(1)?;
                let text: String = call.args.required(0, "size")?;
                if call.method == "set_disk_size" {
                    self.0.set_disk_size(size::disk(&text)?);
                } else {
                    self.0.set_memory_size(size::memory(&text)?);
                }
                Ok(Value::Null)
            }
            _ => Err(call.no_such_method()),
        }
    }
}
