//! What the `record` setting of a serial port may say.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A recording as it is configured: `true`, or a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::serial) struct Settings {
    /// How much is kept, in bytes.
    pub(super) size: u64,
}

/// Some days of an ordinary console.
const USUAL: u64 = 16 << 20;

/// Less than this is hardly worth the files.
const LEAST: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mapping {
    size: Option<Value>,
}

/// Reads the setting: none for `false`.
pub(in crate::serial) fn settings<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Settings>, D::Error> {
    let setting = Value::deserialize(deserializer)?;
    let mapping = match setting {
        Value::Null | Value::Bool(false) => return Ok(None),
        Value::Bool(true) => return Ok(Some(Settings { size: USUAL })),
        Value::Object(_) => Mapping::deserialize(setting).map_err(D::Error::custom)?,
        Value::Number(_) | Value::String(_) | Value::Array(_) => {
            let words = "write `record: true`, or `record: {size: 16M}`";
            return Err(D::Error::custom(words));
        }
    };
    let size = match mapping.size {
        None => USUAL,
        Some(size) => bytes(&size).filter(|size| *size >= LEAST).ok_or_else(|| {
            D::Error::custom(format!("size {size} is not a size of at least 64K, such as 16M"))
        })?,
    };
    Ok(Some(Settings { size }))
}

/// A number of bytes, or one with K, M or G behind it, which are powers of 1024.
fn bytes(size: &Value) -> Option<u64> {
    let Value::String(text) = size else { return size.as_u64() };
    let (number, unit) = match text.char_indices().next_back()? {
        (at, 'K' | 'k') => (&text[..at], 1 << 10),
        (at, 'M' | 'm') => (&text[..at], 1 << 20),
        (at, 'G' | 'g') => (&text[..at], 1 << 30),
        _ => (&text[..], 1),
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_recording_is_asked_for_in_a_few_ways() {
        let size = |setting: Value| {
            settings(setting).map(|settings| settings.map(|settings| settings.size))
        };
        assert_eq!(size(json!(false)).unwrap(), None);
        assert_eq!(size(json!(true)).unwrap(), Some(16 << 20));
        assert_eq!(size(json!({})).unwrap(), Some(16 << 20));
        assert_eq!(size(json!({"size": "64K"})).unwrap(), Some(64 << 10));
        assert_eq!(size(json!({"size": "2G"})).unwrap(), Some(2 << 30));
        assert_eq!(size(json!({"size": 1_000_000})).unwrap(), Some(1_000_000));
    }

    #[test]
    fn other_ways_are_refused_with_what_would_be_right() {
        let refused = |setting: Value| settings(setting).unwrap_err().to_string();
        assert_eq!(refused(json!("yes")), "write `record: true`, or `record: {size: 16M}`");
        assert!(refused(json!({"length": 1})).starts_with("unknown field `length`"));
        for size in [json!("63K"), json!("M"), json!("16MB"), json!(-1), json!("99999999999G")] {
            let error = refused(json!({"size": size}));
            assert!(error.contains("is not a size of at least 64K, such as 16M"), "{error}");
        }
    }
}
