//! Several exporters in one process.

#![cfg(test)]

mod failures;
mod fleet_under_test;
mod sigquit;
