//! Numbers of a `config:` block, taken as leniently as by the reference, which turns text and
//! floating point numbers into whole ones where it needs them.

use serde::de::{Deserialize, Deserializer, Error as _, IntoDeserializer as _};
use serde_json::Value;

use crate::args::integral;

/// For `#[serde(deserialize_with)]`: a whole number, also as text or as a floating point number
/// without a fraction.
pub(crate) fn whole<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let value = integral(Value::deserialize(deserializer)?);
    let number = match &value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    match number {
        Some(number) => T::deserialize(number.into_deserializer()),
        None => Err(D::Error::custom(format!("{value} is not a whole number"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
}
