//! JSON values on the wire.
//!
//! `google.protobuf.Value` has only doubles: every number loses its integer type on the way, and
//! integers above 2^53 their precision.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as WireValue};
use serde_json::{Map, Number, Value};

/// What a client has sent. A number that JSON can't hold (infinite, not a number) becomes null.
pub fn from_wire(value: WireValue) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(value)) => {
            Number::from_f64(value).map_or(Value::Null, Value::Number)
        }
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(from_wire).collect(),
        Some(Kind::StructValue(fields)) => {
            let fields = fields.fields.into_iter().map(|(name, value)| (name, from_wire(value)));
            Value::Object(fields.collect())
        }
    }
}

/// What a client will receive.
pub fn to_wire(value: Value) -> WireValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        // Without arbitrary precision, every number of serde_json has a double.
        Value::Number(number) => number.as_f64().map_or(Kind::NullValue(0), Kind::NumberValue),
        Value::String(value) => Kind::StringValue(value),
        Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.into_iter().map(to_wire).collect() })
        }
        Value::Object(fields) => Kind::StructValue(struct_to_wire(fields)),
    };
    WireValue { kind: Some(kind) }
}

fn struct_to_wire(fields: Map<String, Value>) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, value)| (name, to_wire(value))).collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_survive_the_wire_except_for_the_type_of_numbers() {
        let value = json!({"a": [null, true, 1.5, "x", {"b": []}], "c": "é"});
        assert_eq!(from_wire(to_wire(value.clone())), value);
        assert_eq!(from_wire(to_wire(json!(3))), json!(3.0));
    }

    #[test]
    fn what_json_cannot_hold_is_null() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let value = WireValue { kind: Some(Kind::NumberValue(number)) };
            assert_eq!(from_wire(value), Value::Null);
        }
        assert_eq!(from_wire(WireValue { kind: None }), Value::Null);
    }
}
