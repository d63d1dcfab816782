//! Scripts of the exporter's host, as methods.
//!
//! Which scripts there are is the configuration's business; a client picks one and may add arguments
//! and environment variables. Every script runs in a session of its own, and nothing of it is left
//! when its time is up, when its client has gone, or when the driver is closed. What a script leaves
//! running on purpose lives on until then, and no longer.

mod config;
mod output;
mod process;
mod python;
mod run;
mod runs;
mod text;

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use serde_json::{Map, Value};

pub use self::config::Config;
pub(crate) use self::config::Seconds;
pub(crate) use self::run::{End, Script};
pub(crate) use self::runs::Runs;
use crate::driver::{Call, Driver, Items, Method};
use crate::registry::Build;
use crate::{DriverError, Result};

/// `jumpstarter_driver_shell.driver.Shell`.
#[derive(Debug)]
pub struct Shell {
    config: Config,
    runs: Runs,
}

impl Build for Shell {
    type Config = Config;

    fn build(config: Config) -> Result<Self> {
        Ok(Self { config, runs: Runs::default() })
    }
}

#[async_trait]
impl Driver for Shell {
    fn client(&self) -> &'static str {
        "jumpstarter_driver_shell.client.ShellClient"
    }

    fn category(&self) -> &'static str {
        "shell"
    }

    fn methods(&self) -> &'static [Method] {
        const { &[Method::unary("get_methods"), Method::items("call_method")] }
    }

    fn methods_description(&self) -> BTreeMap<String, String> {
        let described = |(name, method): &(String, config::Method)| {
            Some((name.clone(), method.description.clone()?))
        };
        self.config.methods.iter().filter_map(described).collect()
    }

    /// Ends every script, and what earlier ones have left running.
    async fn close(&self) {
        self.runs.end().await;
    }

    async fn call(&self, call: Call<'_>) -> Result<Value> {
        match call.method {
            "get_methods" => {
                call.args.none()?;
                Ok(self.config.methods.iter().map(|(name, _)| name.as_str()).collect())
            }
            _ => Err(call.no_such_method()),
        }
    }

    async fn items(&self, call: Call<'_>) -> Result<Items> {
        match call.method {
            "call_method" => Ok(self.runs.start(self.script(&call)?)?.items),
            _ => Err(call.no_such_method()),
        }
    }
}

impl Shell {
    /// What a call asks to run, if it may.
    fn script(&self, call: &Call<'_>) -> Result<Script> {
        let name: String = call.args.required(0, "method")?;
        let method = self.config.method(&name).ok_or_else(|| {
            let names = python::list(self.config.methods.iter().map(|(name, _)| name.as_str()));
            DriverError::InvalidArgument(format!(
                "Method '{name}' not found in available methods: {names}"
            ))
        })?;
        let env = environment(call.args.optional(1, "env")?.unwrap_or_default())?;
        if method.command.trim().is_empty() {
            let text = "Shell script must be a non-empty string";
            return Err(DriverError::InvalidArgument(text.into()));
        }
        let mut argv = self.config.shell.clone();
        argv.extend([method.command.clone(), name.clone()]);
        for arg in call.args.rest(2) {
            let Value::String(arg) = arg else {
                return Err(DriverError::InvalidArgument(format!(
                    "All arguments must be strings, got {}",
                    python::type_of(arg)
                )));
            };
            argv.push(arg.clone());
        }
        let cwd = self.config.cwd.clone();
        if let Some(cwd) = cwd.as_deref().filter(|cwd| !Path::new(cwd).is_dir()) {
            return Err(DriverError::InvalidArgument(format!(
                "Working directory does not exist: {cwd}"
            )));
        }
        let timeout = method.timeout.as_ref().unwrap_or(&self.config.timeout).clone();
        Ok(Script { method: name, argv, env, cwd, timeout })
    }
}

/// Checks the variables that a client adds, in the reference's words.
fn environment(env: Map<String, Value>) -> Result<Vec<(String, String)>> {
    env.into_iter()
        .map(|(name, value)| {
            if !python::is_identifier(&name) {
                return Err(format!("Invalid environment variable name: {name}"));
            }
            if BLOCKED.contains(&&*name) || BLOCKED_PREFIXES.iter().any(|p| name.starts_with(p)) {
                return Err(format!(
                    "Environment variable '{name}' is blocked for security reasons"
                ));
            }
            let Value::String(value) = value else {
                return Err(format!(
                    "Environment variable '{name}' must be a string, got {}",
                    python::type_of(&value)
                ));
            };
            Ok((name, value))
        })
        .collect::<Result<_, _>>()
        .map_err(DriverError::InvalidArgument)
}

/// Variables by which a client could make the script run something else.
const BLOCKED: &[&str] =
    &["LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "BASH_ENV", "KUBECONFIG", "HOME"];
const BLOCKED_PREFIXES: &[&str] = &["LD_", "BASH_FUNC_"];

#[cfg(test)]
mod tests;
