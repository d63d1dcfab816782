//! From a file to a configuration, or to everything that is wrong with it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use nix::unistd::geteuid;

use super::decode::{self, Findings, Item};
use super::mistake::{Mistake, Mistakes, Position, Severity};
use super::{Config, Environment, devices, exposure, yaml};

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// What is probably not what its author meant.
    pub warnings: Mistakes,
}

/// Reads a configuration file, and tries its drivers without touching a device.
///
/// # Errors
///
/// Everything that is wrong with it, warnings included.
pub fn load(file: &Path, environment: &Environment) -> Result<Loaded, Mistakes> {
    match read(file) {
        Ok(source) => parse_with(file, &source, environment, exposed(file)),
        Err(error) => {
            let message = format!("can't be read: {error}");
            let hint = "give the path of a readable file";
            Err(Mistakes::new(file, vec![Mistake::error(Position::START, message, hint)]))
        }
    }
}

/// As [`load`], for who is going to run the hooks: what others can change is refused, unless the
/// configuration allows it.
///
/// # Errors
///
/// As [`load`].
pub fn load_to_run(file: &Path, environment: &Environment) -> Result<Loaded, Mistakes> {
    let Loaded { config, warnings } = load(file, environment).map_err(Mistakes::to_run)?;
    let warnings = warnings.to_run();
    if warnings.are_errors() { Err(warnings) } else { Ok(Loaded { config, warnings }) }
}

/// What is wrong with the file itself.
fn exposed(file: &Path) -> Vec<Mistake> {
    let exposure = exposure::of_file(file, geteuid().as_raw());
    let mistake = exposure.map(|exposure| Mistake {
        severity: Severity::Exposed,
        ..Mistake::error(Position::START, exposure.message, exposure.hint)
    });
    mistake.into_iter().collect()
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut source = Vec::new();
    // One byte more, so that `parse` sees that there is more.
    File::open(file)?.take(LARGEST + 1).read_to_end(&mut source)?;
    Ok(source)
}

/// As [`load`], from the content of a file.
///
/// # Errors
///
/// As [`load`].
pub fn parse(file: &Path, source: &[u8], environment: &Environment) -> Result<Loaded, Mistakes> {
    parse_with(file, source, environment, Vec::new())
}

/// As [`parse`], where some mistakes are already known.
fn parse_with(
    file: &Path,
    source: &[u8],
    environment: &Environment,
    mut list: Vec<Mistake>,
) -> Result<Loaded, Mistakes> {
    let node = match text(source).and_then(|source| yaml::compose(source, &mut list)) {
        Ok(Some(node)) => node,
        Ok(None) => {
            let hint = "begin with `apiVersion: jumpstarter.dev/v1alpha1`";
            return Err(Mistakes::new(
                file,
                vec![Mistake::error(Position::START, "is empty", hint)],
            ));
        }
        Err(mistake) => {
            list.push(mistake);
            return Err(Mistakes::new(file, list));
        }
    };
    let findings = Findings::new(environment, list);
    let top = Item::top(&node, &findings);
    let config = decode::config(&top);
    devices::check(&top, &config);
    let mut list = findings.into_list();
    if config.allow_writable_config {
        list.retain(|mistake| mistake.severity != Severity::Exposed);
    }
    let found = Mistakes::new(file, list);
    if found.are_errors() { Err(found) } else { Ok(Loaded { config, warnings: found }) }
}

/// The file's bytes as text, without a byte order mark.
fn text(source: &[u8]) -> Result<&str, Mistake> {
    if source.len() as u64 > LARGEST {
        let message = format!("is larger than {} KiB", LARGEST / 1024);
        let hint = "keep one exporter's configuration in a file";
        return Err(Mistake::error(Position::START, message, hint));
    }
    match std::str::from_utf8(source) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let good = String::from_utf8_lossy(&source[..error.valid_up_to()]);
            let good = good.replace("\r\n", "\n").replace('\r', "\n");
            let line = good.matches('\n').count() + 1;
            let column = good.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
            let position = Position { line, column };
            Err(Mistake::error(position, "is not UTF-8", "save the file as UTF-8"))
        }
    }
}
