//! Where a bench can stand, and what is remembered there.

use super::super::Lease;
use super::event::{Effect, Farewell};

/// Where the bench stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nobody has it.
    Idle,
    /// The devices are being opened for a lease.
    Opening(Tenancy, Option<Ending>),
    /// The beforeLease hook runs.
    BeforeHook(Lease, Option<Ending>),
    /// The client has the bench.
    Ready(Tenancy),
    /// The failure of the beforeLease hook is being shown; the afterLease hook comes next.
    Failing(Tenancy, Rest),
    /// The afterLease hook runs.
    AfterHook(Tenancy, Rest),
    /// The devices are being closed.
    Closing(Lease, Rest),
    /// The lease is being given back.
    Releasing(Lease, Rest),
    /// The bench is out of service.
    Quarantined(Quarantine),
    /// Something is done to the bench between leases; it may be out of service meanwhile.
    Maintaining(Work, Option<Quarantine>),
    /// The exporter is done.
    Stopped,
}

impl State {
    /// What has to happen before the bench goes on.
    pub fn waits_for(&self) -> &'static str {
        match self {
            Self::Idle => "the next lease",
            Self::Opening(..) => "the devices to open",
            Self::BeforeHook(_, None) => "the beforeLease hook",
            Self::BeforeHook(_, Some(_)) => "the beforeLease hook, though the lease is over",
            Self::Ready(_) => "the end of the lease",
            Self::Failing(..) => "clients to see that the beforeLease hook has failed",
            Self::AfterHook(..) => "the afterLease hook",
            Self::Closing(..) => "the devices to close",
            Self::Releasing(..) => "the lease to be given back",
            Self::Quarantined(_) => "somebody to repair the bench",
            Self::Maintaining(..) => "the work between leases: drivers, repair, or the last hooks",
            Self::Stopped => "nothing: it has stopped",
        }
    }
}

/// A lease and how the bench was prepared for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenancy {
    /// The lease.
    pub lease: Lease,
    /// What became of its beforeLease hook.
    pub prepared: Prepared,
}

/// What became of a beforeLease hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// It has not run yet.
    NotYet,
    /// It was cut off by a crash, and is to run again.
    Interrupted,
    /// There is none.
    Unasked,
    /// It has passed.
    Passed,
    /// It has failed, and that was only worth a warning.
    Warned,
    /// It has failed.
    Failed,
    /// It was cut off, because the exporter stops.
    Cancelled,
}

/// The end of a lease that has to wait until what runs is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub reason: EndReason,
    /// The exporter goes afterwards.
    pub leaving: Option<Farewell>,
}

/// Why a lease has ended, as its afterLease hook is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Its client has finished.
    Released,
    /// Its time was up.
    Expired,
    /// Its client is gone.
    Disconnected,
    /// Whoever gave it has taken it back, and doesn't say why: it may have been released there, or
    /// its time was up.
    Withdrawn,
    /// The bench could not be made ready.
    Failed,
    /// The exporter stops.
    ExporterStopping,
}

/// What is still to be done for a lease that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// Why it has ended.
    pub reason: EndReason,
    /// What the lease has shown of the bench.
    pub health: Health,
    /// What comes after it.
    pub then: Then,
}

/// What a lease has shown of the bench.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nothing.
    Untried,
    /// It works.
    Good,
    /// Something has failed.
    Bad(String),
    /// It must not be used again before somebody has looked after it.
    Unusable(String),
}

/// What comes after a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// The next lease. The text explains the status AVAILABLE.
    Available(String),
    /// The end of the exporter, with this exit code.
    Go(Farewell, u8),
    /// As `Go`, and the hooks for it have run with the lease.
    Gone(u8),
}

/// Why a bench is out of service, and what it still owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// For people.
    pub reason: String,
    /// What has to be put right.
    pub cause: Cause,
    /// A lease whose afterLease hook is owed.
    pub owed: Option<(Tenancy, EndReason)>,
    /// Somebody has declared the bench good while something was done to it.
    pub lifted: bool,
}

/// What took a bench out of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// What its leases have shown.
    Leases,
    /// A driver that could not be installed.
    Drivers,
}

/// Something that is done to the bench between leases. The exporter may have been told to go
/// meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Drivers are installed, updated and deleted.
    Apply(Option<Farewell>),
    /// The repair hook runs.
    Repair(Option<Farewell>),
    /// The hooks for the exporter's end run; then it ends with this code. It may have been told that
    /// it goes for good when it had begun to stop.
    Farewell(Farewell, u8, Option<Farewell>),
}

impl Ending {
    /// The end of a lease, told to a state that may already know of one: the first reason stays.
    pub(super) fn ended(earlier: Option<Self>, reason: EndReason) -> Self {
        earlier.unwrap_or(Self { reason, leaving: None })
    }

    /// As [`ended`](Self::ended), because the exporter has to go.
    pub(super) fn leaving(earlier: Option<Self>, farewell: Farewell) -> Self {
        let ending = Self::ended(earlier, EndReason::ExporterStopping);
        Self { leaving: ending.leaving.max(Some(farewell)), ..ending }
    }

    /// Whether the exporter was told to go, for now, while its client had the bench.
    pub(super) fn is_preemption(self) -> bool {
        self.reason == EndReason::ExporterStopping && self.leaving == Some(Farewell::Stop)
    }

    pub(super) fn rest(self, health: Health) -> Rest {
        let then = self.leaving.map_or_else(Then::next_lease, |farewell| Then::Go(farewell, 0));
        Rest { reason: self.reason, health, then }
    }
}

impl Rest {
    /// What is left to do for a lease whose beforeLease hook, or bench, has failed.
    pub(super) fn failed(ending: Option<Ending>, health: Health) -> Self {
        let rest = Ending::ended(ending, EndReason::Failed).rest(health);
        Self { reason: EndReason::Failed, ..rest }
    }

    /// The same, except that the exporter goes afterwards.
    pub(super) fn leave(self, farewell: Farewell) -> Self {
        let then = match self.then {
            Then::Available(_) => Then::Go(farewell, 0),
            Then::Go(earlier, code) => Then::Go(earlier.max(farewell), code),
            Then::Gone(code) if farewell == Farewell::Stop => Then::Gone(code),
            Then::Gone(code) => Then::Go(farewell, code),
        };
        Self { then, ..self }
    }

    /// The same, except that the exporter goes afterwards, with exit code 1.
    pub(super) fn exit(self) -> Self {
        let then = match self.then {
            Then::Available(_) => Then::Go(Farewell::Stop, 1),
            Then::Go(farewell, _) => Then::Go(farewell, 1),
            Then::Gone(_) => Then::Gone(1),
        };
        Self { then, ..self }
    }

    /// The same, with the worse of what the lease has shown.
    pub(super) fn worsened(self, health: Health) -> Self {
        let health = match (self.health, health) {
            (Health::Unusable(text), _) | (_, Health::Unusable(text)) => Health::Unusable(text),
            (Health::Bad(text), _) | (_, Health::Bad(text)) => Health::Bad(text),
            (Health::Good, _) | (_, Health::Good) => Health::Good,
            (Health::Untried, Health::Untried) => Health::Untried,
        };
        Self { health, ..self }
    }

    /// The same, with a text for the status AVAILABLE.
    pub(super) fn explained(self, text: String) -> Self {
        let then = match self.then {
            Then::Available(_) => Then::Available(text),
            then @ (Then::Go(..) | Then::Gone(_)) => then,
        };
        Self { then, ..self }
    }
}

impl Work {
    /// The same, except that the exporter goes afterwards. A repair is cut off.
    pub(super) fn leave(self, farewell: Farewell) -> (Self, Vec<Effect>) {
        match self {
            Self::Apply(earlier) => (Self::Apply(earlier.max(Some(farewell))), Vec::new()),
            Self::Repair(earlier) => {
                (Self::Repair(earlier.max(Some(farewell))), vec![Effect::CancelHook])
            }
            Self::Farewell(present, code, next) => {
                let next = next.max(Some(farewell).filter(|farewell| *farewell > present));
                (Self::Farewell(present, code, next), Vec::new())
            }
        }
    }
}

impl Quarantine {
    pub(super) fn new(reason: String, cause: Cause) -> Self {
        Self { reason, cause, owed: None, lifted: false }
    }
}

impl Tenancy {
    /// The same, with another client.
    pub(super) fn handed_to(self, client: String) -> Self {
        Self { lease: Lease { client, ..self.lease }, ..self }
    }
}

impl Then {
    pub(super) fn next_lease() -> Self {
        Self::Available("Available for new lease".into())
    }
}

impl EndReason {
    /// Each of them.
    pub const ALL: [Self; 6] = [
        Self::Released,
        Self::Expired,
        Self::Disconnected,
        Self::Withdrawn,
        Self::Failed,
        Self::ExporterStopping,
    ];

    /// The one of this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }

    /// The word for it, as hooks see it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Disconnected => "disconnected",
            Self::Withdrawn => "withdrawn",
            Self::Failed => "failed",
            Self::ExporterStopping => "exporter-stopping",
        }
    }
}

impl Cause {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Leases, Self::Drivers];

    /// The one of this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.word() == word)
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Leases => "leases",
            Self::Drivers => "drivers",
        }
    }
}

impl Prepared {
    /// Each of them.
    pub const ALL: [Self; 7] = [
        Self::NotYet,
        Self::Interrupted,
        Self::Unasked,
        Self::Passed,
        Self::Warned,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The one of this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|prepared| prepared.word() == word)
    }

    /// The word for it, as hooks see it.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotYet => "not-run",
            Self::Interrupted => "interrupted",
            Self::Unasked => "none",
            Self::Passed => "success",
            Self::Warned => "warning",
            Self::Failed => "failure",
            Self::Cancelled => "cancelled",
        }
    }
}
