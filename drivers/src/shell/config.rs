//! The `config:` block of a shell.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Number;

/// Which scripts there are, and how they are run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The methods in the order of the file.
    #[serde(deserialize_with = "in_order")]
    pub(super) methods: Vec<(String, Method)>,
    /// The program that scripts are given to, and its first arguments.
    #[serde(default = "bash")]
    pub(super) shell: Vec<String>,
    /// How long a script may run, unless its method says otherwise.
    #[serde(default)]
    pub(super) timeout: Seconds,
    /// Where scripts run; none is where the exporter runs.
    #[serde(default)]
    pub(super) cwd: Option<String>,
}

/// One script: in the file either its text, or a map of these.
#[derive(Debug, PartialEq)]
pub(super) struct Method {
    pub(super) command: String,
    pub(super) description: Option<String>,
    pub(super) timeout: Option<Seconds>,
}

/// A time limit as it was written, because a client is told of it in the same form.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Number")]
pub(crate) struct Seconds {
    number: Number,
    duration: Duration,
}

impl Config {
    pub(super) fn method(&self, name: &str) -> Option<&Method> {
        self.methods.iter().find_map(|(known, method)| (known == name).then_some(method))
    }
}

fn bash() -> Vec<String> {
    vec!["bash".into(), "-c".into()]
}

impl Default for Method {
    fn default() -> Self {
        Self { command: "echo Hello".into(), description: None, timeout: None }
    }
}

impl Seconds {
    pub(super) const fn duration(&self) -> Duration {
        self.duration
    }
}

impl Default for Seconds {
    fn default() -> Self {
        Self::from(300)
    }
}

impl From<u32> for Seconds {
    fn from(seconds: u32) -> Self {
        Self { number: Number::from(seconds), duration: Duration::from_secs(seconds.into()) }
    }
}

impl TryFrom<Number> for Seconds {
    type Error = String;

    fn try_from(number: Number) -> Result<Self, String> {
        let duration = number.as_f64().and_then(|s| Duration::try_from_secs_f64(s).ok());
        match duration {
            Some(duration) => Ok(Self { number, duration }),
            None => Err(format!("{number} is not a number of seconds")),
        }
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

/// Reads a map without losing its order.
fn in_order<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, Method)>, D::Error> {
    struct Methods;
    impl<'de> Visitor<'de> for Methods {
        type Value = Vec<(String, Method)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map from method names to commands")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut methods = Vec::new();
            while let Some(method) = map.next_entry()? {
                methods.push(method);
            }
            Ok(methods)
        }
    }
    deserializer.deserialize_map(Methods)
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Method;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command, or a map of command, description and timeout")
            }

            fn visit_str<E>(self, command: &str) -> Result<Method, E> {
                Ok(Method { command: command.to_owned(), ..Method::default() })
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Method, M::Error> {
                let mut method = Method::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "command" => method.command = map.next_value()?,
                        "description" => method.description = map.next_value()?,
                        "timeout" => method.timeout = map.next_value()?,
                        other => {
                            // The reference ignores it, so there may be files that have it.
                            tracing::warn!(
                                "a method of a shell has command, description and timeout; \
                                 '{other}' is ignored"
                            );
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(method)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::parse;

    fn config(value: Value) -> Config {
        parse(value).unwrap()
    }

    #[test]
    fn a_method_has_two_forms() {
        let config = config(json!({"methods": {
            "ls": "ls -l",
            "hello": {"description": "Says hello"},
            "backup": {"command": "tar c /", "timeout": 1800, "shell": "ignored"},
        }}));
        assert_eq!(
            config.methods,
            [
                ("ls".into(), Method { command: "ls -l".into(), ..Method::default() }),
                (
                    "hello".into(),
                    Method { description: Some("Says hello".into()), ..Method::default() }
                ),
                (
                    "backup".into(),
                    Method {
                        command: "tar c /".into(),
                        description: None,
                        timeout: Some(Number::from(1800).try_into().unwrap()),
                    }
                ),
            ]
        );
        assert_eq!(config.method("hello").unwrap().command, "echo Hello");
        assert_eq!(config.shell, ["bash", "-c"]);
        assert_eq!(config.timeout.duration(), Duration::from_secs(300));
    }

    #[test]
    fn a_mistake_says_where_it_is() {
        let mistake = |value: Value| {
            let error = parse::<Config>(value).unwrap_err();
            (error.path.join("."), error.message)
        };
        assert_eq!(
            mistake(json!({"methods": {"ls": {"timeout": "1"}}})).0,
            "methods.ls.timeout",
            "the reference fails to compare text with a time"
        );
        assert_eq!(
            mistake(json!({"methods": {"ls": {"timeout": -1}}})).1,
            "-1 is not a number of seconds"
        );
        assert_eq!(mistake(json!({"methods": {"ls": 1}})).0, "methods.ls");
        assert_eq!(mistake(json!({"methods": {}, "shell": "bash"})).0, "shell");
        assert!(mistake(json!({"method": {}})).1.starts_with("unknown field `method`"));
        assert_eq!(mistake(json!({})).1, "missing field `methods`");
    }

    #[test]
    fn seconds_are_shown_as_written() {
        for number in [json!(1), json!(0.5), json!(1.0)] {
            let seconds: Seconds = serde_json::from_value(number.clone()).unwrap();
            assert_eq!(seconds.to_string(), number.to_string());
        }
    }
}
