//! Sizes, as people write them: `512M`, `20G`, `1.5GiB`, `4GB`.

use crate::{DriverError, Result};

const MEBIBYTE: f64 = 1_048_576.0;

/// The size of a disk in bytes. A number without a unit is in bytes.
pub(super) fn disk(text: &str) -> Result<u64> {
    parse(text, 1.0)
}

/// The size of a memory in bytes. A number without a unit is in MiB, as QEMU takes it.
pub(super) fn memory(text: &str) -> Result<u64> {
    parse(text, MEBIBYTE)
}

/// A single letter, and the forms with `iB`, mean powers of 1024; those with `B` mean powers of 1000.
fn parse(text: &str, without_unit: f64) -> Result<u64> {
    let invalid = || {
        DriverError::InvalidArgument(format!(
            "Invalid size: '{text}'. Use e.g. '20G', '512M', '2T'"
        ))
    };
    let trimmed = text.trim();
    let unit = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(unit);
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let unit = unit.trim().to_ascii_lowercase();
    let factor = match unit.as_str() {
        "" => without_unit,
        "b" => 1.0,
        unit => {
            let (letter, rest) = unit.split_at_checked(1).ok_or_else(invalid)?;
            let power = "kmgtpe".find(letter).ok_or_else(invalid)? + 1;
            let power = i32::try_from(power).map_err(|_| invalid())?;
            match rest {
                "" | "ib" => 1024_f64.powi(power),
                "b" => 1000_f64.powi(power),
                _ => return Err(invalid()),
            }
        }
    };
    let bytes = (number * factor).round();
    // Beyond 2^63 there is neither a disk nor a memory.
    if !(1.0..9.2e18).contains(&bytes) {
        return Err(invalid());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    let bytes = bytes as u64;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("20G", 20 << 30),
            ("512M", 512 << 20),
            ("64k", 64 << 10),
            ("1.5GiB", 3 << 29),
            ("4GB", 4_000_000_000),
            ("4096", 4096),
            ("4096B", 4096),
        ] {
            assert_eq!(disk(text).unwrap(), bytes, "{text}");
        }
        assert_eq!(memory("512").unwrap(), 512 << 20);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "G", "-1G", "20X", "20Gi", "0", "9999E", "1e3", "é", "20é"] {
            let error = disk(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("Invalid size: '{text}'")), "{error}");
        }
    }
}
