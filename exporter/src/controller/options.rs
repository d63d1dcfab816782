//! `grpcOptions`: what of gRPC core's channel arguments has a meaning here.

use std::time::Duration;

use crate::backoff::Pace;
use crate::config::{Config, GrpcOption};

/// How connections to a controller and its routers are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// How often a silent peer is asked whether it is there, and how long it may take to answer.
    pub(super) keepalive: (Duration, Duration),
    /// Also while nothing is under way.
    pub(super) keepalive_while_idle: bool,
    /// The name that the peer's certificate has to be for, if not the one it was dialled by.
    pub(super) server_name: Option<String>,
    /// What the peer is called in requests, if not by the name it was dialled by.
    pub(super) authority: Option<String>,
    /// The largest message that is taken from the peer, in bytes.
    pub(super) largest_received: usize,
    /// How long to wait before trying again.
    pub(super) pace: Pace,
}

/// A peer that has died without a word is noticed after both of these: well before the controller
/// would take the exporter for dead.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));

/// gRPC's default.
const LARGEST_RECEIVED: usize = 4 * 1024 * 1024;

/// The arguments that have a meaning.
const MEANT: [&str; 8] = [
    "grpc.default_authority",
    "grpc.initial_reconnect_backoff_ms",
    "grpc.keepalive_permit_without_calls",
    "grpc.keepalive_time_ms",
    "grpc.keepalive_timeout_ms",
    "grpc.max_receive_message_length",
    "grpc.max_reconnect_backoff_ms",
    "grpc.ssl_target_name_override",
];

impl Options {
    /// Those of a configuration.
    pub(super) fn of(config: &Config) -> Self {
        let options = &config.grpc_options;
        let number = |name: &str| match options.get(name)? {
            GrpcOption::Integer(number) => Some(*number),
            GrpcOption::Text(text) => text.parse().ok(),
        };
        let text = |name: &str| match options.get(name)? {
            GrpcOption::Integer(number) => Some(number.to_string()),
            GrpcOption::Text(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        };
        let time = |name: &str, default: Duration| {
            let given = number(name).and_then(|number| u64::try_from(number).ok());
            given.filter(|time| *time > 0).map_or(default, Duration::from_millis)
        };
        let pace = Pace::default();
        let largest = number("grpc.max_receive_message_length");
        Self {
            keepalive: (
                time("grpc.keepalive_time_ms", KEEPALIVE.0),
                time("grpc.keepalive_timeout_ms", KEEPALIVE.1),
            ),
            keepalive_while_idle: number("grpc.keepalive_permit_without_calls") != Some(0),
            server_name: text("grpc.ssl_target_name_override"),
            authority: text("grpc.default_authority"),
            largest_received: match largest.map(usize::try_from) {
                None => LARGEST_RECEIVED,
                Some(Ok(largest)) => largest,
                // As many as there are.
                Some(Err(_)) => usize::MAX,
            },
            pace: Pace {
                first: time("grpc.initial_reconnect_backoff_ms", pace.first),
                longest: time("grpc.max_reconnect_backoff_ms", pace.longest),
            },
        }
    }
}

/// What is wrong with an argument, and what would be right; none if it does what it says. gRPC core
/// passes over what it does not know or can't use, and so does this, except that it says so.
pub fn doubt(name: &str, value: &GrpcOption) -> Option<(String, String)> {
    if !MEANT.contains(&name) {
        let message = "has no meaning for Hilt, whose gRPC is not gRPC core".to_owned();
        return Some((message, format!("known here: {}", MEANT.join(", "))));
    }
    let number = match value {
        GrpcOption::Integer(number) => Some(*number),
        GrpcOption::Text(text) => text.parse().ok(),
    };
    let least = match name {
        // A text is any text.
        "grpc.default_authority" | "grpc.ssl_target_name_override" => return None,
        "grpc.max_receive_message_length" => -1,
        "grpc.keepalive_permit_without_calls" => 0,
        _ => 1,
    };
    let is_good = number.is_some_and(|number| number >= least);
    let message = "can't be used, and the default counts".to_owned();
    (!is_good).then(|| (message, format!("give a whole number, {least} or more")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(given: &[(&str, GrpcOption)]) -> Config {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Config { grpc_options: given.collect(), ..Config::default() }
    }

    #[test]
    fn what_grpc_core_calls_it_is_understood() {
        let config = options(&[
            ("grpc.keepalive_time_ms", GrpcOption::Integer(5000)),
            ("grpc.keepalive_timeout_ms", GrpcOption::Text("700".into())),
            ("grpc.keepalive_permit_without_calls", GrpcOption::Integer(0)),
            ("grpc.max_receive_message_length", GrpcOption::Integer(-1)),
            ("grpc.max_reconnect_backoff_ms", GrpcOption::Integer(5000)),
            ("grpc.ssl_target_name_override", GrpcOption::Text("controller".into())),
            ("grpc.lb_policy_name", GrpcOption::Text("round_robin".into())),
        ]);
        let options = Options::of(&config);
        assert_eq!(options.keepalive, (Duration::from_secs(5), Duration::from_millis(700)));
        assert!(!options.keepalive_while_idle);
        assert_eq!(options.largest_received, usize::MAX);
        assert_eq!(options.server_name.as_deref(), Some("controller"));
        assert_eq!(options.pace.longest, Duration::from_secs(5));
    }

    #[test]
    fn what_does_nothing_is_said_to() {
        let doubt =
            |name, value| doubt(name, &value).map(|(message, hint)| format!("{message}; {hint}"));
        let of_number = |name, number| doubt(name, GrpcOption::Integer(number));
        assert_eq!(of_number("grpc.keepalive_time_ms", 5000), None);
        assert_eq!(of_number("grpc.max_receive_message_length", -1), None);
        assert_eq!(of_number("grpc.keepalive_permit_without_calls", 0), None);
        assert_eq!(doubt("grpc.default_authority", GrpcOption::Text("a".into())), None);
        let unknown = of_number("grpc.lb_policy_name", 1).unwrap();
        assert!(unknown.starts_with("has no meaning for Hilt"), "{unknown}");
        let message = "can't be used, and the default counts; give a whole number, 1 or more";
        for value in [GrpcOption::Integer(0), GrpcOption::Text("often".into())] {
            assert_eq!(doubt("grpc.keepalive_time_ms", value).as_deref(), Some(message));
        }
    }

    #[test]
    fn nonsense_is_the_default() {
        let config = options(&[
            ("grpc.keepalive_time_ms", GrpcOption::Text("often".into())),
            ("grpc.keepalive_timeout_ms", GrpcOption::Integer(-7)),
            ("grpc.default_authority", GrpcOption::Text(String::new())),
        ]);
        assert_eq!(Options::of(&config), Options::of(&Config::default()));
    }
}
