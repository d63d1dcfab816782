//! JSON as the wire carries it.

use std::collections::BTreeMap;

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as Wire};
use serde_json::{Number, Value};

/// The largest double below which every integer is one, too.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A value for the wire.
pub(crate) fn to_wire(value: Value) -> Wire {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        // JSON has no NaN and no infinity, so every number of it is a double.
        Value::Number(number) => number.as_f64().map_or(Kind::NullValue(0), Kind::NumberValue),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => {
            Kind::ListValue(ListValue { values: values.into_iter().map(to_wire).collect() })
        }
        Value::Object(fields) => Kind::StructValue(Struct {
            fields: fields.into_iter().map(|(name, value)| (name, to_wire(value))).collect(),
        }),
    };
    Wire { kind: Some(kind) }
}

/// A value from the wire. An empty one is null; a whole number is an integer, since the wire's
/// doubles can't tell.
pub(crate) fn from_wire(value: Option<Wire>) -> Value {
    match value.and_then(|value| value.kind) {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => value.into(),
        Some(Kind::NumberValue(number)) => from_double(number),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::ListValue(list)) => {
            list.values.into_iter().map(|value| from_wire(Some(value))).collect()
        }
        Some(Kind::StructValue(Struct { fields })) => from_fields(fields),
    }
}

fn from_fields(fields: BTreeMap<String, Wire>) -> Value {
    fields.into_iter().map(|(name, value)| (name, from_wire(Some(value)))).collect()
}

fn from_double(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 53 bits")]
        let whole = number as i64;
        whole.into()
    } else {
        Number::from_f64(number).map_or(Value::Null, Value::Number)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_survives_the_wire() {
        let value = json!({"a": [1, 2.5, "x", null, true], "b": {"c": -3}});
        assert_eq!(from_wire(Some(to_wire(value.clone()))), value);
    }

    #[test]
    fn whole_doubles_are_integers_as_far_as_doubles_go() {
        assert_eq!(from_double(5.0).to_string(), "5");
        assert_eq!(from_double(-0.5).to_string(), "-0.5");
        assert_eq!(from_double(1e300).to_string(), "1e+300");
        assert_eq!(from_double(f64::NAN), Value::Null);
    }

    #[test]
    fn nothing_is_null() {
        assert_eq!(from_wire(None), Value::Null);
        assert_eq!(from_wire(Some(Wire { kind: None })), Value::Null);
    }
}
