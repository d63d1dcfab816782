//! What tells cloud-init in the board who may log in: the files of a disk that is called `CIDATA`.
//!
//! QEMU makes the disk of the folder by itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use uuid::Uuid;

use super::config::Config;

/// Writes the files into a new folder below `parent`.
pub(super) fn write(parent: &Path, config: &Config, instance: Uuid) -> io::Result<PathBuf> {
    let folder = parent.join("cidata");
    fs::create_dir(&folder)?;
    let meta = json!({"instance-id": instance.to_string(), "local-hostname": config.hostname});
    fs::write(folder.join("meta-data"), meta.to_string())?;
    fs::write(folder.join("user-data"), user_data(config))?;
    Ok(folder)
}

/// JSON is YAML, too.
fn user_data(config: &Config) -> String {
    let users: Value = json!({
        "ssh_pwauth": true,
        "users": [{
            "name": config.username,
            "plain_text_passwd": config.password.reveal(),
            "lock_passwd": false,
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
        }],
    });
    format!("#cloud-config\n{users}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::parse;

    #[test]
    fn a_password_may_hold_anything() {
        let config = json!({"username": "lab", "password": "a: \"b\"\n#"});
        let config: Config = parse(config).unwrap();
        let parent = tempfile::tempdir().unwrap();
        let folder = write(parent.path(), &config, Uuid::nil()).unwrap();
        let users = fs::read_to_string(folder.join("user-data")).unwrap();
        let (first, rest) = users.split_once('\n').unwrap();
        assert_eq!(first, "#cloud-config");
        let users: Value = serde_json::from_str(rest).unwrap();
        assert_eq!(users["users"][0]["plain_text_passwd"], "a: \"b\"\n#");
        let meta = fs::read_to_string(folder.join("meta-data")).unwrap();
        assert!(meta.contains("\"local-hostname\":\"demo\""), "{meta}");
    }
}
