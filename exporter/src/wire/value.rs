//! JSON values on the wire.
//!
//! `google.protobuf.Value` has only doubles. A whole number comes out of it as an integer, because
//! that is what it went in as; integers above 2^53 have lost their precision on the way.

use drivers::number::whole_double;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as WireValue};
use serde_json::{Number, Value};

/// A value from the wire. A missing or empty one is null, and so is a number that JSON can't hold
/// (infinite, not a number).
pub fn from_wire(value: Option<WireValue>) -> Value {
    match value.and_then(|value| value.kind) {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(value)) => from_double(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::ListValue(list)) => {
            list.values.into_iter().map(|value| from_wire(Some(value))).collect()
        }
        Some(Kind::StructValue(Struct { fields })) => {
            fields.into_iter().map(|(name, value)| (name, from_wire(Some(value)))).collect()
        }
    }
}

/// A value for the wire.
pub fn to_wire(value: Value) -> WireValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        // JSON has no NaN and no infinity, so every number of it is a double.
        Value::Number(number) => number.as_f64().map_or(Kind::NullValue(0), Kind::NumberValue),
        Value::String(value) => Kind::StringValue(value),
        Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.into_iter().map(to_wire).collect() })
        }
        Value::Object(fields) => Kind::StructValue(Struct {
            fields: fields.into_iter().map(|(name, value)| (name, to_wire(value))).collect(),
        }),
    };
    WireValue { kind: Some(kind) }
}

fn from_double(number: f64) -> Value {
    match whole_double(number) {
        Some(whole) => whole.into(),
        None => Number::from_f64(number).map_or(Value::Null, Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_survives_the_wire() {
        let value = json!({"a": [1, 2.5, "é", null, true], "b": {"c": -3, "d": []}});
        assert_eq!(from_wire(Some(to_wire(value.clone()))), value);
    }

    #[test]
    fn whole_doubles_are_integers_as_far_as_doubles_go() {
        assert_eq!(from_double(5.0).to_string(), "5");
        assert_eq!(from_double(-0.5).to_string(), "-0.5");
        assert_eq!(from_double(1e300).to_string(), "1e+300");
    }

    #[test]
    fn what_json_cannot_hold_is_null() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(from_double(number), Value::Null);
        }
        assert_eq!(from_wire(None), Value::Null);
        assert_eq!(from_wire(Some(WireValue { kind: None })), Value::Null);
    }
}
