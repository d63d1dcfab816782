//! What a configuration says of a line.

use std::fmt;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::chip::{Bias, Drive};
use crate::power::switch::AtOpen;

/// Where a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// By its number on the chip.
    Offset(u32),
    /// By the name that the board's device tree or firmware gives it.
    Name(String),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "{offset}"),
            Self::Name(name) => write!(f, "'{name}'"),
        }
    }
}

impl<'de> Deserialize<'de> for Line {
    /// From a number, also as text, or a name.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let offset = |number: u64| u32::try_from(number).ok().map(Self::Offset);
        let line = match &value {
            Value::Number(number) => number.as_u64().and_then(offset),
            Value::String(text) => match text.trim() {
                "" => None,
                text => Some(text.parse().map_or_else(|_| Self::Name(text.into()), Self::Offset)),
            },
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        line.ok_or_else(|| D::Error::custom(format!("{value} is no line's number and no name")))
    }
}

/// The chip that a line is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device(pub(super) PathBuf);

impl Default for Device {
    fn default() -> Self {
        Self("/dev/gpiochip0".into())
    }
}

impl<'de> Deserialize<'de> for Device {
    /// From a path, a name such as `gpiochip1`, or a number.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let path = match (value.as_str(), value.as_u64()) {
            (None, Some(number)) => format!("/dev/gpiochip{number}"),
            (Some(path), _) if path.starts_with('/') => path.to_owned(),
            (Some(name), _) if !name.is_empty() => format!("/dev/{name}"),
            _ => return Err(D::Error::custom(format!("{value} is no path of a GPIO chip"))),
        };
        Ok(Self(path.into()))
    }
}

/// For `#[serde(deserialize_with)]`: how an output drives its line. Null is the default.
pub(super) fn drive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Drive>, D::Error> {
    let drives = [
        ("push_pull", Drive::PushPull),
        ("open_drain", Drive::OpenDrain),
        ("open_source", Drive::OpenSource),
    ];
    one_of(deserializer, &drives)
}

/// For `#[serde(deserialize_with)]`: what pulls the line. Null is the default.
pub(super) fn bias<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bias>, D::Error> {
    let biases = [
        ("as_is", Bias::AsIs),
        ("pull_up", Bias::PullUp),
        ("pull_down", Bias::PullDown),
        ("disabled", Bias::Disabled),
    ];
    one_of(deserializer, &biases)
}

fn one_of<'de, D, T>(deserializer: D, choices: &[(&str, T)]) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Copy,
{
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(Some(*choice));
    }
    let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
    Err(D::Error::custom(format!("'{text}' is none of {}", names.join(", "))))
}

/// For `#[serde(deserialize_with)]`: the level that an output takes whenever its driver is opened.
pub(super) fn initial_value<'de, D>(deserializer: D) -> Result<AtOpen, D::Error>
where
    D: Deserializer<'de>,
{
    let value = Value::deserialize(deserializer)?;
    match (value.as_str(), value.as_bool()) {
        (Some("active" | "on"), _) | (_, Some(true)) => Ok(AtOpen::On),
        (Some("inactive" | "off"), _) | (_, Some(false)) => Ok(AtOpen::Off),
        _ if value.is_null() => Ok(AtOpen::Keep),
        _ => Err(D::Error::custom(format!(
            "{value} is none of active, inactive, on, off, true, false"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_has_a_number_or_a_name() {
        let line = |value: Value| serde_json::from_value::<Line>(value).map_err(|e| e.to_string());
        assert_eq!(line(json!(17)), Ok(Line::Offset(17)));
        assert_eq!(line(json!("17")), Ok(Line::Offset(17)));
        assert_eq!(line(json!("POWER_EN")), Ok(Line::Name("POWER_EN".into())));
        for value in [json!(-1), json!(1.5), json!(""), json!(true), json!(1_u64 << 32)] {
            assert!(line(value.clone()).unwrap_err().contains("no line's number"), "{value}");
        }
    }

    #[test]
    fn a_chip_has_a_path_a_name_or_a_number() {
        for value in [json!("/dev/gpiochip3"), json!("gpiochip3"), json!(3)] {
            let device: Device = serde_json::from_value(value).unwrap();
            assert_eq!(device.0.to_str(), Some("/dev/gpiochip3"));
        }
        assert!(serde_json::from_value::<Device>(json!(-3)).is_err());
    }

    #[test]
    fn the_levels_have_the_names_of_the_reference() {
        for (value, expected) in [
            (json!("active"), AtOpen::On),
            (json!("on"), AtOpen::On),
            (json!(true), AtOpen::On),
            (json!("inactive"), AtOpen::Off),
            (json!(false), AtOpen::Off),
            (json!(null), AtOpen::Keep),
        ] {
            assert_eq!(initial_value(value).unwrap(), expected);
        }
        let error = initial_value(json!("high")).unwrap_err();
        assert_eq!(error.to_string(), "\"high\" is none of active, inactive, on, off, true, false");
    }

    #[test]
    fn a_wrong_choice_names_the_right_ones() {
        assert_eq!(drive(json!(null)).unwrap(), None);
        assert_eq!(bias(json!("pull_up")).unwrap(), Some(Bias::PullUp));
        assert_eq!(
            bias(json!("up")).unwrap_err().to_string(),
            "'up' is none of as_is, pull_up, pull_down, disabled"
        );
    }
}
