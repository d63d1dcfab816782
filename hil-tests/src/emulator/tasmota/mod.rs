//! Plugs with Tasmota, whose documentation ("MQTT", "Commands with web requests") has what they
//! understand.

mod http;
mod mqtt;

pub(crate) use self::http::tasmota_with_web;
pub(crate) use self::mqtt::tasmota;
