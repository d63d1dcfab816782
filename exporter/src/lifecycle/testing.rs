//! What the tests of this room share.

use std::path::Path;

use crate::config::{Config, Environment, parse};
use crate::session::log::Log;

/// The configuration of a file with this after its metadata.
pub(super) fn config(rest: &str) -> Config {
    let source = format!("metadata: {{namespace: default, name: bench}}\n{rest}\n");
    let environment = Environment::from_iter([("PATH", "/bin:/usr/bin")]);
    let loaded = parse(Path::new("bench.yaml"), source.as_bytes(), &environment);
    loaded.unwrap_or_else(|mistakes| panic!("{mistakes}")).config
}

/// What was said so far.
pub(super) fn heard(log: &Log) -> Vec<String> {
    let mut reader = log.reader();
    std::iter::from_fn(|| reader.try_next()).map(|record| record.message.clone()).collect()
}
