//! The configuration loader from outside: files in, configurations or mistakes out.
#![expect(clippy::unwrap_used, reason = "a test that fails may say so by panicking")]

mod exposure;
mod meaning;
mod mistakes;
mod properties;
mod reference;
mod samples;

use std::path::Path;

use exporter::config::{Config, Environment, parse};

/// A mock power switch, by its `type:`.
const POWER: &str = "jumpstarter_driver_power.driver.MockPower";

/// Every line about a file `bench.yaml` with this content, under this environment.
fn lines_in(source: &str, environment: &Environment) -> Vec<String> {
    let found = match parse(Path::new("bench.yaml"), source.as_bytes(), environment) {
        Ok(loaded) => loaded.warnings,
        Err(mistakes) => mistakes,
    };
    found.to_string().lines().map(str::to_owned).collect()
}

/// Every line about such a file, without its name, with nothing in the environment.
fn lines(source: &str) -> Vec<String> {
    let lines = lines_in(source, &Environment::default());
    lines.iter().map(|line| line.strip_prefix("bench.yaml:").unwrap().to_owned()).collect()
}

/// The configuration of such a file, which has to be without errors.
fn config(source: &str) -> Config {
    parse(Path::new("bench.yaml"), source.as_bytes(), &Environment::default()).unwrap().config
}

/// A whole file: metadata on line 1, then this.
fn file(rest: &str) -> String {
    format!("metadata: {{namespace: default, name: bench}}\n{rest}")
}
