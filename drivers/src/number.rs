//! Numbers, taken as leniently as by the reference, which turns text and floating point numbers
//! into whole ones where it needs them.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _, IntoDeserializer as _};
use serde_json::Value;

/// The largest double below which every integer is one, too: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The integer that a double holds, if it holds one exactly.
pub fn whole_double(number: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 53 bits")]
    let whole = number as i64;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(whole)
}

/// For `#[serde(deserialize_with)]`: a whole number, also as text or as a floating point number
/// without a fraction.
pub(crate) fn whole<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let value = Value::deserialize(deserializer)?;
    let number = match &value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole_double)),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    match number {
        Some(number) => T::deserialize(number.into_deserializer()),
        None => Err(D::Error::custom(format!("{value} is not a whole number"))),
    }
}

/// For `#[serde(deserialize_with)]`: a number of seconds, zero or more.
pub(crate) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| D::Error::custom(format!("{seconds} is not a number of seconds")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn doubles_are_integers_as_far_as_they_go() {
        assert_eq!(whole_double(-3.0), Some(-3));
        assert_eq!(whole_double(0.5), None);
        assert_eq!(whole_double(1e300), None);
        assert_eq!(whole_double(f64::NAN), None);
        assert_eq!(whole_double(f64::INFINITY), None);
    }

    #[test]
    fn a_whole_number_has_many_forms() {
        for form in [json!(8080), json!(8080.0), json!("8080"), json!(" 8080 ")] {
            assert_eq!(whole::<_, u16>(form).unwrap(), 8080);
        }
    }

    #[test]
    fn what_is_no_whole_number_is_refused() {
        let refused = |value: Value| whole::<_, u16>(value).unwrap_err().to_string();
        assert_eq!(refused(json!("http")), "\"http\" is not a whole number");
        assert_eq!(refused(json!(1.5)), "1.5 is not a whole number");
        assert_eq!(refused(json!(true)), "true is not a whole number");
        assert_eq!(refused(json!("70000")), "invalid value: integer `70000`, expected u16");
    }

    #[test]
    fn seconds_are_not_negative() {
        assert_eq!(seconds(json!(1.5)).unwrap(), Duration::from_millis(1500));
        assert_eq!(seconds(json!(0)).unwrap(), Duration::ZERO);
        assert_eq!(seconds(json!(-1)).unwrap_err().to_string(), "-1 is not a number of seconds");
    }
}
