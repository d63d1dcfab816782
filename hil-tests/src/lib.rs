//! Three programs that try exporters from outside, as separate processes on loopback addresses.
//!
//! [`conformance`] asks whether they are right: the same cases, with the reference's own unmodified
//! client, against the reference's exporter and against Hilt. [`speed`] asks how fast they are: the
//! same measurements, with one client for all, of both exporters and of the limit that the machine
//! sets.
//!
//! [`benches`] asks whether Hilt can be trusted with hardware: the same cases on benches whose
//! devices are emulated, under umockdev, under a real kernel, with a real board's firmware, and on
//! real ones.
//!
//! They share the **subject** (`subject`), which is the exporter they look at, and the `bench`
//! that it is started on.

mod bench;
pub mod benches;
mod cases;
mod client;
pub mod conformance;
mod emulator;
mod known;
mod lab;
mod peers;
mod prepared;
mod process;
pub mod speed;
mod subject;
