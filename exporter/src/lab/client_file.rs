//! The file by which a client comes in: `jmp` uses it as it is.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::directory::write;
use super::name::NAMESPACE;
use crate::config::Environment;
use crate::config::discover::Places;
use crate::secret::Secret;

/// What a client needs.
#[derive(Debug)]
pub struct ClientFile {
    /// Its name.
    pub name: String,
    /// Where the lab is, `HOST:PORT`.
    pub endpoint: String,
    /// What it has to trust, in PEM.
    pub ca: String,
    /// What it is known by.
    pub token: Secret,
}

impl ClientFile {
    /// Where `jmp` looks for the client of this name.
    pub fn place(name: &str, environment: &Environment) -> PathBuf {
        let exporters = Places::of(environment).user;
        exporters.with_file_name("clients").join(format!("{name}.yaml"))
    }

    /// Writes it, for its owner alone. What is in JSON is in YAML, too.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let text = format!("{:#}\n", self.content());
        write(path, text.as_bytes())
    }

    /// Unknown keys would be refused: there are none but these.
    fn content(&self) -> Value {
        json!({
            "apiVersion": "jumpstarter.dev/v1alpha1",
            "kind": "ClientConfig",
            "metadata": { "namespace": NAMESPACE, "name": self.name },
            "endpoint": self.endpoint,
            "tls": { "ca": STANDARD.encode(&self.ca), "insecure": false },
            "token": self.token.reveal(),
            "drivers": { "allow": [], "unsafe": true },
        })
    }
}
