//! What stands at the far end of a driver: a device on a serial line, servers on the network. All
//! of them on loopback addresses, each gone when it is dropped.

pub(crate) mod network;
pub(crate) mod serial;
pub(crate) mod web;
