//! The wire, with a real client and a real server in one process, and real scripts as hooks.
#![cfg(test)]

mod calls;
mod exporter_under_test;
mod leases;
mod logs;
mod presigned;
mod streams;
mod tls;
