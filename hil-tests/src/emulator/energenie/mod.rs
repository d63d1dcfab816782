//! EnerGenie's power strips with four sockets: with a network socket, and with a plug for USB.

mod network;
mod usb;

pub(crate) use self::network::energenie;
pub(crate) use self::usb::EnerGenie;
