//! Plugs and relays with the firmware Tasmota, which can be spoken to in two ways.

pub mod http;
