//! A controller with a router, in this process: what it does is what the real ones were seen to do,
//! and what it is told to do wrong it does at once.

mod bytes;
mod client;
mod controller;
mod router;

pub(super) use self::bytes::Fault;
pub(super) use self::client::Client;
pub(super) use self::controller::{Fake, Reported, Rpc};
