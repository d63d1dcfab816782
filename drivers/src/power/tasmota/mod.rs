//! Plugs and relays with the firmware Tasmota, which can be spoken to in two ways: directly by HTTP,
//! and through an MQTT broker.

mod broker;
pub mod http;
pub mod mqtt;
