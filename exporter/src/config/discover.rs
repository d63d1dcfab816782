//! Where configurations are found by their alias.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::Environment;

/// The directories that hold `ALIAS.yaml` files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The user's; its files hide those of the system.
    pub user: PathBuf,
    /// The system's.
    pub system: PathBuf,
}

/// A name that can't be an alias.
#[derive(Debug, thiserror::Error)]
#[error("Invalid exporter alias '{0}': must not contain path separators or be '.' / '..'")]
pub struct BadAlias(pub String);

impl Places {
    /// `exporters` in `$JMP_CLIENT_CONFIG_HOME`, else in `jumpstarter` of `$XDG_CONFIG_HOME` (if that
    /// is an absolute path), else of `~/.config`; and `/etc/jumpstarter/exporters`.
    pub fn of(environment: &Environment) -> Self {
        let home = match environment.get("JMP_CLIENT_CONFIG_HOME") {
            Some(home) => PathBuf::from(home),
            None => environment
                .get("XDG_CONFIG_HOME")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .unwrap_or_else(|| {
                    Path::new(environment.get("HOME").unwrap_or_default()).join(".config")
                })
                .join("jumpstarter"),
        };
        Self { user: home.join("exporters"), system: "/etc/jumpstarter/exporters".into() }
    }

    /// The file of an alias. If there is none, the path where the user's would be.
    ///
    /// # Errors
    ///
    /// [`BadAlias`] if it would lead out of the directory.
    pub fn find(&self, alias: &str) -> Result<PathBuf, BadAlias> {
        if matches!(alias, "" | "." | "..") || alias.contains(['/', '\\']) {
            return Err(BadAlias(alias.to_owned()));
        }
        let file = format!("{alias}.yaml");
        let (user, system) = (self.user.join(&file), self.system.join(&file));
        Ok(if !user.exists() && system.exists() { system } else { user })
    }

    /// Every alias there is, with its file.
    ///
    /// # Errors
    ///
    /// If a directory is there but can't be read.
    pub fn list(&self) -> io::Result<BTreeMap<String, PathBuf>> {
        let mut found = BTreeMap::new();
        for directory in [&self.system, &self.user] {
            let entries = match directory.read_dir() {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let path = entry?.path();
                let is_yaml = path.extension().is_some_and(|extension| extension == "yaml");
                let alias = path.file_stem().and_then(|stem| stem.to_str());
                if let Some(alias) = alias.filter(|_| is_yaml && path.is_file()) {
                    found.insert(alias.to_owned(), path);
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn user_directory(variables: &[(&str, &str)]) -> PathBuf {
        Places::of(&variables.iter().copied().collect()).user
    }

    #[test]
    fn the_users_directory_follows_the_environment() {
        let all =
            [("JMP_CLIENT_CONFIG_HOME", "jmp"), ("XDG_CONFIG_HOME", "/xdg"), ("HOME", "/home/lab")];
        assert_eq!(user_directory(&all), Path::new("jmp/exporters"));
        assert_eq!(user_directory(&all[1..]), Path::new("/xdg/jumpstarter/exporters"));
        assert_eq!(user_directory(&all[2..]), Path::new("/home/lab/.config/jumpstarter/exporters"));
        assert_eq!(
            user_directory(&[("XDG_CONFIG_HOME", "relative"), ("HOME", "/home/lab")]),
            Path::new("/home/lab/.config/jumpstarter/exporters"),
            "a relative path doesn't count"
        );
        let system = Places::of(&Environment::default()).system;
        assert_eq!(system, Path::new("/etc/jumpstarter/exporters"));
    }

    /// Both directories, with these files in them.
    fn places(user: &[&str], system: &[&str]) -> (TempDir, Places) {
        let root = TempDir::new().unwrap();
        let places = Places { user: root.path().join("user"), system: root.path().join("system") };
        for (directory, files) in [(&places.user, user), (&places.system, system)] {
            fs::create_dir(directory).unwrap();
            for file in files {
                fs::write(directory.join(file), "").unwrap();
            }
        }
        (root, places)
    }

    #[test]
    fn the_users_file_hides_the_systems() {
        let (_root, places) = places(&["a.yaml"], &["a.yaml", "b.yaml"]);
        assert_eq!(places.find("a").unwrap(), places.user.join("a.yaml"));
        assert_eq!(places.find("b").unwrap(), places.system.join("b.yaml"));
        assert_eq!(places.find("c").unwrap(), places.user.join("c.yaml"));
    }

    #[test]
    fn an_alias_stays_in_its_directory() {
        let places = Places::of(&Environment::default());
        for alias in ["", ".", "..", "a/b", "a\\b"] {
            assert_eq!(
                places.find(alias).unwrap_err().to_string(),
                format!(
                    "Invalid exporter alias '{alias}': \
                     must not contain path separators or be '.' / '..'"
                )
            );
        }
        assert!(places.find("...").is_ok());
    }

    #[test]
    fn the_list_has_yaml_files_only() {
        let (_root, places) =
            places(&["a.yaml", ".yaml", "b.yml", ".c.yaml.tmp"], &["a.yaml", "d.yaml"]);
        fs::create_dir(places.user.join("directory.yaml")).unwrap();
        let list = places.list().unwrap();
        assert_eq!(list.keys().collect::<Vec<_>>(), ["a", "d"]);
        assert_eq!(list["a"], places.user.join("a.yaml"));
        let nowhere = Places { user: "/nonexistent/u".into(), system: "/nonexistent/s".into() };
        assert!(nowhere.list().unwrap().is_empty());
    }
}
