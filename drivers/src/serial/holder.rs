//! Who has a device open.

use std::fs;
use std::path::Path;

/// The name and number of a process that has the device open, as far as this one may know: those of
/// other users show their files to root alone. Blocks.
pub(super) fn holder(path: &str) -> Option<String> {
    let device = fs::canonicalize(path).ok()?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let number = numbers.find(|number| has_open(*number, &device))?;
    let name = fs::read_to_string(format!("/proc/{number}/comm")).unwrap_or_default();
    Some(format!("{} (process {number})", name.trim()))
}

fn has_open(process: u32, device: &Path) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|open| open == device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let found = holder(path).unwrap();
        assert!(found.ends_with(&format!("(process {})", std::process::id())), "{found}");
        let closed = file.into_temp_path();
        assert_eq!(holder(closed.to_str().unwrap()), None);
    }
}
