//! The exporter against a controller that behaves as the real one was seen to, or worse.

mod leases;
mod outages;
mod schedules;
mod telemetry;
mod world;
