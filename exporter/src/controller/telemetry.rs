//! What the exporter says, for a telemetry service, where the controller knows one.
//!
//! Lines wait in the bench's own log, so that nobody waits for the service: if it is slow or away,
//! the oldest are left out, and counted. As in the reference, the service is a convenience: nothing
//! that goes wrong here is more than a line in the log.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::contact::{Contact, ContactError, Settings, Token, Ways, bearer, channel};
use super::outage::{Outage, reason};
use super::presence::within;
use super::{Link, Presence};
use crate::backoff::Backoff;
use crate::config::Tls;
use crate::session::log::{LogReader, Record, Severity};
use crate::wire::telemetry_service_client::TelemetryServiceClient;
use crate::wire::{GetServiceEndpointsRequest, LogEntry, PushLogsRequest, TelemetryEndpoint};

/// How many lines are sent at once, how long the first of them waits for others, and how long the
/// service may take for them.
const BATCH: usize = 50;
const PAUSE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(10);

/// How many lines may wait for the service.
const MOST_WAITING: u64 = 10_000;

/// What the service takes of what is known besides: so many pairs, and so many characters of each.
const MOST_FIELDS: usize = 16;
const LONGEST_KEY: usize = 64;
const LONGEST_VALUE: usize = 256;

/// The way to the service, for as long as it is the same. Kept beyond the link's run, for what is
/// left to be said at the end.
pub(super) type Place = Mutex<Option<Feed>>;

/// Carries lines to a telemetry service.
#[derive(Debug)]
pub(super) struct Feed {
    client: TelemetryServiceClient<InterceptedService<Channel, Token>>,
    reader: LogReader,
    least: Severity,
    /// Who says it.
    exporter: String,
    namespace: String,
    /// How many lines were left out since that was last told.
    dropped: u64,
}

/// Sends what the exporter says to whichever service the controller names, if it does.
pub(super) async fn keep(link: &Link, contact: &Contact) -> Infallible {
    let mut presence = link.presence.subscribe();
    loop {
        let Ok(here) = presence.wait_for(|presence| presence.is_there).await.map(|here| *here)
        else {
            std::future::pending().await
        };
        let mut place = link.telemetry.lock().await;
        *place = find(link, contact).await;
        // A controller that has been away may name another service.
        let is_back = |now: &Presence| now.is_there && now.times != here.times;
        match &mut *place {
            Some(feed) => tokio::select! {
                never = feed.run(link, contact) => match never {},
                _ = presence.wait_for(is_back) => {}
            },
            None => drop(presence.wait_for(is_back).await),
        }
    }
}

/// Sends what is left.
pub(super) async fn finish(link: &Link) {
    let Some(mut feed) = link.telemetry.lock().await.take() else { return };
    loop {
        let batch = feed.batch();
        if batch.is_empty() || feed.push(batch).await.is_err() {
            return;
        }
    }
}

/// The service that the controller names first.
async fn find(link: &Link, contact: &Contact) -> Option<Feed> {
    let call = contact.controller.clone();
    let answer = async { call.clone().get_service_endpoints(GetServiceEndpointsRequest {}).await };
    let endpoint = match within(answer).await {
        Ok(answer) => answer.into_inner().telemetry_endpoints.into_iter().next()?,
        Err(status) => {
            // Controllers up to 0.9 have never heard of it.
            if status.code() != Code::Unimplemented {
                tracing::debug!("no telemetry: {}", reason(&status));
            }
            return None;
        }
    };
    let shown = endpoint.endpoint.clone();
    match Feed::to(endpoint, contact, &*link.ways, link.bench.log.reader_from_now()) {
        Ok(feed) => {
            tracing::info!("telemetry: what is said here goes to {shown}, too");
            Some(feed)
        }
        Err(error) => {
            tracing::warn!("telemetry: {shown} can't be used: {error}");
            None
        }
    }
}

impl Feed {
    fn to(
        endpoint: TelemetryEndpoint,
        contact: &Contact,
        ways: &Ways,
        reader: LogReader,
    ) -> Result<Self, ContactError> {
        let TelemetryEndpoint { endpoint, certificate, min_severity } = endpoint;
        let of_exporter = &contact.settings;
        let mut options = of_exporter.options.clone();
        // Those are the controller's.
        (options.server_name, options.authority) = (None, None);
        let ca = Some(certificate).filter(|certificate| !certificate.is_empty());
        let settings = Settings {
            target: endpoint.parse()?,
            plaintext: ca.is_none() && of_exporter.tls.insecure,
            tls: Tls { ca, insecure: false },
            options,
            ..of_exporter.clone()
        };
        let channel = channel(&settings.target, &settings.options, ways(&settings)?);
        let token = bearer(settings.token.reveal()).ok_or(ContactError::Unsendable("token"))?;
        Ok(Self {
            client: TelemetryServiceClient::with_interceptor(channel, Token(token)),
            reader,
            least: severity(&min_severity),
            exporter: settings.name,
            namespace: settings.namespace,
            dropped: 0,
        })
    }

    async fn run(&mut self, link: &Link, contact: &Contact) -> Infallible {
        let mut backoff = Backoff::new(contact.settings.options.pace);
        let mut outage = Outage::new("telemetry service".to_owned(), &link.bench.activity);
        let mut is_full = false;
        loop {
            if !is_full {
                self.reader.ready().await;
                sleep(PAUSE).await;
            }
            let batch = self.batch();
            is_full = batch.len() == BATCH;
            if batch.is_empty() {
                continue;
            }
            match self.push(batch).await {
                Ok(()) => {
                    backoff.reset();
                    outage.over();
                    if self.dropped > 0 {
                        let dropped = std::mem::take(&mut self.dropped);
                        tracing::warn!(dropped, "telemetry: {dropped} lines were not delivered");
                    }
                }
                Err(status) => {
                    outage.failed(&reason(&status));
                    backoff.wait().await;
                }
            }
        }
    }

    /// The next lines; none if there are none.
    fn batch(&mut self) -> Vec<LogEntry> {
        self.dropped += self.reader.skip_all_but(MOST_WAITING);
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(record) = self.reader.try_next()
        {
            if record.severity >= self.least {
                batch.push(self.entry(&record));
            }
        }
        batch
    }

    /// Sends lines. Those that the service does not take are lost.
    async fn push(&mut self, entries: Vec<LogEntry>) -> Result<(), Status> {
        let count = entries.len() as u64;
        let call = self.client.push_logs(PushLogsRequest { entries });
        let late = Err(Status::deadline_exceeded("no answer in time"));
        match timeout(PATIENCE, call).await.unwrap_or(late) {
            Ok(answer) => {
                self.dropped += u64::from(answer.into_inner().dropped);
                Ok(())
            }
            Err(status) => {
                self.dropped += count;
                Err(status)
            }
        }
    }

    fn entry(&self, record: &Record) -> LogEntry {
        let lease = record.lease.as_deref();
        let result = record.fields.iter().find(|(name, _)| *name == "result");
        let context = lease.into_iter().flat_map(|lease| &lease.context);
        let context = context.map(|(key, value)| (key.as_str(), value));
        let fields = record.fields.iter().map(|(name, value)| (*name, value));
        let extra = context.chain(fields.filter(|(name, _)| *name != "result"));
        let cut = |text: &str, most| text.chars().take(most).collect::<String>();
        let mut extra_fields = HashMap::new();
        for (key, value) in extra {
            let key = cut(key, LONGEST_KEY);
            if extra_fields.len() < MOST_FIELDS || extra_fields.contains_key(&key) {
                extra_fields.insert(key, cut(value, LONGEST_VALUE));
            }
        }
        LogEntry {
            timestamp: record
                .time
                .duration_since(SystemTime::UNIX_EPOCH)
                .ok()
                .map(|_| record.time.into()),
            severity: record.severity.to_string().to_lowercase(),
            message: record.message.clone(),
            component: "exporter".into(),
            exporter: self.exporter.clone(),
            lease: lease.map(|lease| lease.name.clone()).unwrap_or_default(),
            client: lease.map(|lease| lease.client.clone()).unwrap_or_default(),
            operation: record.operation.clone().unwrap_or_default(),
            result: result.map(|(_, result)| result.clone()).unwrap_or_default(),
            driver_type: record.driver_type.clone().unwrap_or_default(),
            extra_fields,
            namespace: self.namespace.clone(),
        }
    }
}

/// The least severity that a service wants.
fn severity(word: &str) -> Severity {
    match word {
        "debug" => Severity::Debug,
        "warning" => Severity::Warning,
        // Nothing here is worse than an error.
        "error" | "critical" => Severity::Error,
        // As in the reference.
        _ => Severity::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_severity_has_the_references_name() {
        let words = ["debug", "info", "warning", "error", "critical", "", "loud"];
        use Severity::{Debug, Error, Info, Warning};
        assert_eq!(words.map(severity), [Debug, Info, Warning, Error, Error, Info, Info]);
    }
}
