//! The arguments of a driver call.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{DriverError, Result};

/// Positional arguments, as JSON values.
///
/// A `null` counts as an omitted argument.
#[derive(Debug, Clone, Default)]
pub struct Args {
    values: Vec<Value>,
}

impl Args {
    /// The arguments in the order of the wire.
    pub fn new(values: Vec<Value>) -> Self {
        Self { values }
    }

    /// Fails unless there are none.
    pub fn none(&self) -> Result<()> {
        self.at_most(0)
    }

    /// Fails if there are more than `count`.
    pub fn at_most(&self, count: usize) -> Result<()> {
        if self.values.len() > count {
            return Err(DriverError::InvalidArgument(format!(
                "takes at most {count} arguments, but {} were given",
                self.values.len()
            )));
        }
        Ok(())
    }

    /// The required argument at `index`; `name` is what error messages call it.
    pub fn required<T: DeserializeOwned>(&self, index: usize, name: &str) -> Result<T> {
        self.optional(index, name)?.ok_or_else(|| {
            DriverError::InvalidArgument(format!(
                "missing 1 required positional argument: '{name}'"
            ))
        })
    }

    /// The argument at `index`, or none if it is absent or null.
    pub fn optional<T: DeserializeOwned>(&self, index: usize, name: &str) -> Result<Option<T>> {
        let value = match self.values.get(index) {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => value.clone(),
        };
        serde_json::from_value(value)
            .map(Some)
            .map_err(|error| DriverError::InvalidArgument(format!("argument '{name}': {error}")))
    }

    /// All arguments from `index` on.
    pub fn rest(&self, index: usize) -> &[Value] {
        self.values.get(index..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn args(value: Value) -> Args {
        Args::new(value.as_array().unwrap().clone())
    }

    #[test]
    fn an_argument_of_the_wrong_type_is_named() {
        let args = args(json!([3, 3.5, -1]));
        assert_eq!(args.required::<u16>(0, "port").unwrap(), 3);
        assert_eq!(
            args.required::<u16>(1, "port").unwrap_err().to_string(),
            "argument 'port': invalid type: floating point `3.5`, expected u16"
        );
        assert!(args.required::<u16>(2, "port").is_err());
    }

    #[test]
    fn null_is_omitted() {
        let args = args(json!(["a", null]));
        assert_eq!(args.optional::<String>(1, "target").unwrap(), None);
        assert_eq!(args.optional::<String>(2, "target").unwrap(), None);
        assert_eq!(
            args.required::<String>(1, "target").unwrap_err().to_string(),
            "missing 1 required positional argument: 'target'"
        );
    }

    #[test]
    fn surplus_is_refused() {
        assert!(args(json!([])).none().is_ok());
        assert_eq!(
            args(json!([1])).none().unwrap_err().to_string(),
            "takes at most 0 arguments, but 1 were given"
        );
    }
}
