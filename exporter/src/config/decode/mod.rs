//! From nodes to a [`Config`]: one file a section of the configuration.

mod coerce;
mod connection;
mod export;
mod findings;
mod hooks;
mod item;
mod metadata;
mod section;
mod stages;
mod values;

use std::collections::BTreeMap;
use std::time::Duration;

pub(super) use self::findings::Findings;
pub(super) use self::item::Item;
use self::section::Section;
use super::{Config, FailureDetection};
use crate::lab::label;
use crate::secret::Secret;

/// Reads a whole file.
pub(super) fn config(top: &Item<'_>) -> Config {
    top.section(|keys| {
        let version = [("jumpstarter.dev/v1alpha1", ())];
        keys.get("apiVersion").and_then(|item| item.choice(&version));
        keys.get("kind").and_then(|item| item.choice(&[("ExporterConfig", ())]));
        for key in ["alias", "path"] {
            let message = "is ignored: the file's own name and place count";
            keys.ignore(key, message, "remove it");
        }
        let config = Config {
            metadata: metadata::metadata(keys),
            endpoint: optional_text(keys, "endpoint"),
            tls: keys.get("tls").map(|item| connection::tls(&item)).unwrap_or_default(),
            token: optional_text(keys, "token").map(Secret::from),
            grpc_options: keys
                .get("grpcOptions")
                .map(|item| connection::grpc_options(&item))
                .unwrap_or_default(),
            description: optional_text(keys, "description"),
            motd: optional_text(keys, "motd"),
            export: keys.get("export").map(|item| export::nodes(&item)).unwrap_or_default(),
            hooks: keys.get("hooks").map(|item| hooks::hooks(&item)).unwrap_or_default(),
            failure_detection: keys
                .get("failureDetection")
                .map(|item| failure_detection(&item))
                .unwrap_or_default(),
            exit_on_lease_end: keys
                .get("exitOnLeaseEnd")
                .and_then(|item| item.boolean())
                .unwrap_or_default(),
            labels: unless_null(keys, "labels").map(|item| labels(&item)).unwrap_or_default(),
            allow_writable_config: keys
                .get("allowWritableConfig")
                .and_then(|item| item.boolean())
                .unwrap_or_default(),
            python: optional_text(keys, "python"),
        };
        for (given, missing) in [("endpoint", "token"), ("token", "endpoint")] {
            if let Some(item) = unless_null(keys, given)
                && unless_null(keys, missing).is_none()
            {
                let message = format!("is of no use without `{missing}`");
                item.key_warning(message, "give both to be scheduled by a controller, or neither");
            }
        }
        config
    })
    .unwrap_or_default()
}

fn optional_text(keys: &mut Section<'_>, key: &'static str) -> Option<String> {
    keys.get(key).and_then(|item| item.optional_text())
}

/// The value of a key that may as well be null.
fn unless_null<'a>(keys: &mut Section<'a>, key: &'static str) -> Option<Item<'a>> {
    keys.get(key).filter(|item| !item.is_null())
}

/// Labels that a selector could ask for.
fn labels(item: &Item<'_>) -> BTreeMap<String, String> {
    let check = |(key, item): (String, Item<'_>)| {
        if let Err(error) = label::check_key(&key) {
            item.key_error(error, "write a key such as `board` or `example.com/board`");
        }
        let value = item.text()?;
        if let Err(error) = label::check_value(&value) {
            item.error(error, "write a value such as `rpi5`");
        }
        Some((key, value))
    };
    item.named().into_iter().filter_map(check).collect()
}

fn failure_detection(item: &Item<'_>) -> FailureDetection {
    let default = FailureDetection::default();
    let detection = item.section(|keys| FailureDetection {
        max_rapid_failures: keys
            .get_either("maxRapidFailures", "max_rapid_failures")
            .and_then(|item| item.integer(5))
            .map_or(default.max_rapid_failures, |failures| {
                u32::try_from(failures).unwrap_or(if failures < 0 { 0 } else { u32::MAX })
            }),
        rapid_failure_window: keys
            .get_either("rapidFailureWindow", "rapid_failure_window")
            .and_then(|item| item.integer(60))
            .map_or(default.rapid_failure_window, seconds),
    });
    detection.unwrap_or(default)
}

/// Seconds; a negative number is nought.
fn seconds(number: i64) -> Duration {
    Duration::from_secs(number.try_into().unwrap_or(0))
}

/// A number of seconds that has to be at least one.
fn positive_seconds(item: &Item<'_>, example: i64) -> Option<Duration> {
    let number = item.integer(example)?;
    if number < 1 {
        let hint = format!("write a number of seconds, such as {example}");
        item.error(format!("must be at least 1, but is {number}"), hint);
    }
    Some(seconds(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use crate::config::yaml::compose;

    /// What `read` makes of this value, without a mistake on the way.
    pub(super) fn read<T>(source: &str, read: impl FnOnce(&Item<'_>) -> T) -> T {
        let node = compose(source, &mut Vec::new()).unwrap().unwrap();
        let environment = Environment::default();
        let findings = Findings::new(&environment, Vec::new());
        let value = read(&Item::top(&node, &findings));
        assert_eq!(findings.into_list(), [], "{source}");
        value
    }

    #[test]
    fn numbers_out_of_range_are_clamped() {
        let source = "{maxRapidFailures: -1, rapidFailureWindow: -5}";
        let detection = read(source, failure_detection);
        assert_eq!(detection.max_rapid_failures, 0);
        assert_eq!(detection.rapid_failure_window, Duration::ZERO);
        let source = "{maxRapidFailures: 1_000_000_000_000_000_000_000}";
        assert_eq!(read(source, failure_detection).max_rapid_failures, u32::MAX);
    }
}
