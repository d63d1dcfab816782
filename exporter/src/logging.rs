//! Where log messages go: to stderr for the operator, and to the exporter that they are about for
//! its clients.
//!
//! Everything that an exporter does happens in its span, and every driver call in a span below it;
//! by them a message finds its exporter, and is told which driver and which operation it is about.

use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Span, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt as printed;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::session::log::{Log, Record, Severity, Source};

/// The target of messages that repeat a hook's output for the operator.
pub const HOOK_OUTPUT: &str = "exporter::hook_output";

/// How messages look on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Sends messages of this level and above on their ways.
pub fn init(level: LevelFilter, format: Format) -> Result<(), TryInitError> {
    let json = match format {
        Format::Auto => !std::io::stderr().is_terminal(),
        Format::Json => true,
        Format::Text => false,
    };
    let registry = tracing_subscriber::registry().with(wanted(level)).with(ExporterLogs);
    let printed = printed::layer().with_writer(std::io::stderr).with_target(false);
    if json {
        // The list of spans ends with the current one.
        let printed = printed.json().flatten_event(true).with_current_span(false);
        registry.with(printed).try_init()
    } else {
        registry.with(printed.with_ansi(std::io::stderr().is_terminal())).try_init()
    }
}

/// Sends messages of this level and above to the clients of the exporter that they are about, and
/// nowhere else.
pub fn init_silent(level: LevelFilter) -> Result<(), TryInitError> {
    tracing_subscriber::registry().with(wanted(level)).with(ExporterLogs).try_init()
}

/// Messages of this level from our own crates; of others, only what is serious.
fn wanted(level: LevelFilter) -> Targets {
    let own = [("exporter", level), ("drivers", level), ("hooks", level)];
    // Nobody is told what goes on without having asked for it.
    let own = own.into_iter().chain([("exporter::activity", level.max(LevelFilter::INFO))]);
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_targets(own)
}

/// The span in which everything happens that concerns this exporter; `log` is what its clients
/// hear.
pub fn exporter_span(name: &str, log: &Log) -> Span {
    // At the highest level, so that no filter can cut the way.
    let span = tracing::error_span!(parent: None, "exporter", name);
    span.with_subscriber(|(id, dispatch)| {
        let registry = dispatch.downcast_ref::<Registry>();
        if let Some(span) = registry.and_then(|registry| registry.span(id)) {
            span.extensions_mut().insert(log.clone());
        }
    });
    span
}

/// The span of one driver call.
pub fn call_span(exporter: &Span, driver: &str, driver_type: &str, operation: &str) -> Span {
    tracing::error_span!(parent: exporter, "call", driver, driver_type, operation)
}

/// Passes messages on to the log of the exporter that they are about.
#[derive(Debug)]
struct ExporterLogs;

/// What a call's span knows.
#[derive(Debug, Clone, Default)]
struct CallFields {
    driver: Option<String>,
    driver_type: Option<String>,
    operation: Option<String>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ExporterLogs {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != "call" {
            return;
        }
        let mut fields = CallFields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        // Hooks speak to their clients themselves.
        if event.metadata().target() == HOOK_OUTPUT {
            return;
        }
        let (mut log, mut call) = (None, CallFields::default());
        for span in context.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            if let Some(fields) = extensions.get::<CallFields>() {
                call = fields.clone();
            }
            log = log.or_else(|| extensions.get::<Log>().cloned());
        }
        let Some(log) = log else { return };
        let mut message = Message::default();
        event.record(&mut message);
        message.fields.extend(call.driver.map(|driver| ("driver", driver)));
        let metadata = event.metadata();
        let is_driver = metadata.target().starts_with("drivers");
        log.push(Record {
            time: SystemTime::now(),
            severity: severity(*metadata.level()),
            source: if is_driver { Source::Driver } else { Source::System },
            message: message.text,
            driver_type: call.driver_type,
            operation: call.operation,
            fields: message.fields,
            lease: None,
        });
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        Level::INFO => Severity::Info,
        _ => Severity::Debug,
    }
}

impl Visit for CallFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "driver" => self.driver = Some(value.to_owned()),
            "driver_type" => self.driver_type = Some(value.to_owned()),
            "operation" => self.operation = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// A message and the fields beside it.
#[derive(Debug, Default)]
struct Message {
    text: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, format!("{value:?}"));
    }
}

impl Message {
    fn record(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            // Writing to a string can't fail.
            write!(self.text, "{value}").ok();
        } else {
            self.fields.push((field.name(), value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_reaches_the_clients_of_the_exporter_that_it_is_about() {
        let registry = tracing_subscriber::registry().with(LevelFilter::INFO).with(ExporterLogs);
        let _default = tracing::subscriber::set_default(registry);
        let (one, two) = (Log::default(), Log::default());
        let (first, second) = (exporter_span("one", &one), exporter_span("two", &two));

        first.in_scope(|| tracing::info!(attempt = 2, "about one"));
        call_span(&second, "board.power", "power", "on").in_scope(|| {
            tracing::warn!(target: "drivers::power", "about {}", "two");
            tracing::debug!("nobody hears this");
        });
        tracing::info!("about none");

        let record = one.reader().next().await;
        assert_eq!(record.message, "about one");
        assert_eq!((record.severity, record.source), (Severity::Info, Source::System));
        assert_eq!(record.fields, [("attempt", "2".to_owned())]);

        let record = two.reader().next().await;
        assert_eq!(record.message, "about two");
        assert_eq!((record.severity, record.source), (Severity::Warning, Source::Driver));
        assert_eq!(record.driver_type.as_deref(), Some("power"));
        assert_eq!(record.operation.as_deref(), Some("on"));
        assert_eq!(record.fields, [("driver", "board.power".to_owned())]);
    }
}
