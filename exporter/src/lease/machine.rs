//! The life of a lease, as a pure function of what happens.
//!
//! ```text
//!            Assigned            opened                passed
//!   Idle ──────────────► Opening ──────► BeforeHook ──────────► Ready
//!    ▲                      │  │              │                   │ EndSession, Stop
//!    │                      │  └──(no hook)───┼──────────►        ▼
//!    │                      │                 │               AfterHook
//!    │                      │ failed          │ failed            │ done
//!    │    Released          ▼                 ▼                   ▼
//!    └──────────────── Releasing ◄──────── Closing ◄──────────────┘
//!                           │
//!                           └──(a stop is pending)──► Stopped
//! ```
//!
//! No clock, no I/O, no task: events come in, effects go out, and what has happened meanwhile is
//! data in the state. Only [`super::actor`] owns a [`Machine`].

use super::Lease;
use super::status::Status;

/// How a status message begins that clients show as a warning. They cut it off, so it has to be
/// this to the letter.
const HOOK_WARNING: &str = "[HOOK_WARNING] ";

/// The state of one exporter's lease, and the rules by which it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    plan: Plan,
    state: State,
    /// Counts leases, so that what one lease has started is never taken for another's.
    epoch: Epoch,
}

/// What the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// There is a beforeLease hook.
    pub before: bool,
    /// There is an afterLease hook.
    pub after: bool,
    /// The exporter stops after its first lease.
    pub exit_on_lease_end: bool,
}

/// The number of a lease, counted from the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Epoch(u64);

/// Where a lease stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// No lease.
    Idle,
    /// The devices are being opened.
    Opening(Lease, Option<Ending>),
    /// The beforeLease hook runs.
    BeforeHook(Lease, Option<Ending>),
    /// The client has the bench.
    Ready(Lease),
    /// The afterLease hook runs.
    AfterHook(Lease, Ending),
    /// The devices are being closed.
    Closing(Lease, Rest),
    /// The lease is being given back.
    Releasing(Lease, Rest),
    /// The exporter is done.
    Stopped,
}

/// What ends a lease. Where a state has to finish first, it is remembered there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The lease alone.
    Lease,
    /// The lease and the exporter.
    Exporter,
}

/// What is still to be done for a lease that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// How it went.
    pub fate: Fate,
    /// What comes after it.
    pub then: Then,
}

/// What comes after a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// The next lease. The text explains the status AVAILABLE.
    Available(String),
    /// The end of the exporter, with this exit code.
    Stop(u8),
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A client was given a lease.
    Assigned(Lease),
    /// The devices are open.
    Opened(Epoch),
    /// The devices could not be opened.
    OpenFailed(Epoch, String),
    /// A hook is over.
    HookDone(Epoch, Phase, Verdict),
    /// The client has finished.
    EndSession,
    /// The devices are closed.
    Closed(Epoch),
    /// The lease has been given back.
    Released(Epoch),
    /// The exporter has to stop, in good order.
    Stop,
}

/// Which of a lease's hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the client may use the devices.
    Before,
    /// After the client has finished.
    After,
}

/// What a hook's end means for the lease, once its `onFailure` has been considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It did what it should, or it was cut off because the lease is over anyway.
    Passed,
    /// It failed, but the lease goes on.
    Warned(String),
    /// It failed, and the lease ends.
    EndLease(String),
    /// It failed, and the exporter stops.
    Exit(String),
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Open the devices for a lease; answer with [`Event::Opened`] or [`Event::OpenFailed`].
    OpenSession(Epoch, Lease),
    /// Run a hook; answer with [`Event::HookDone`].
    RunHook(Epoch, Phase),
    /// End the hook that runs; its [`Event::HookDone`] still comes.
    CancelHook,
    /// Show a status and its explanation.
    Publish(Status, String),
    /// Close the devices; answer with [`Event::Closed`].
    CloseDevices(Epoch),
    /// Give the lease back; answer with [`Event::Released`].
    ReleaseLease(Epoch, Lease, Fate),
    /// Let go of everything that the lease's clients could reach.
    CloseSession,
    /// End the process with this exit code.
    Exit(u8),
}

/// How a lease went, for whoever gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A client had the bench.
    Served,
    /// The bench could not be made ready.
    Failed,
}

impl Machine {
    /// A machine without a lease.
    pub fn new(plan: Plan) -> Self {
        Self { plan, state: State::Idle, epoch: Epoch::default() }
    }

    /// Where the lease stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes an event. One that means nothing in this state, or that belongs to an earlier lease,
    /// changes nothing and has no effects.
    pub fn on(&mut self, event: Event) -> Vec<Effect> {
        if event.epoch().is_some_and(|epoch| epoch != self.epoch) {
            return Vec::new();
        }
        // `Stopped` only stands in while the state is on its way to the next.
        let (state, effects) = match std::mem::replace(&mut self.state, State::Stopped) {
            State::Idle => self.idle(event),
            State::Opening(lease, ending) => self.opening(lease, ending, event),
            State::BeforeHook(lease, ending) => self.before_hook(lease, ending, event),
            State::Ready(lease) => self.ready(lease, &event),
            State::AfterHook(lease, ending) => self.after_hook(lease, ending, event),
            State::Closing(lease, rest) => self.closing(lease, rest, &event),
            State::Releasing(lease, rest) => self.releasing(lease, rest, &event),
            State::Stopped => (State::Stopped, Vec::new()),
        };
        self.state = state;
        effects
    }

    fn idle(&mut self, event: Event) -> Step {
        match event {
            Event::Assigned(lease) => {
                self.epoch = Epoch(self.epoch.0 + 1);
                let open = Effect::OpenSession(self.epoch, lease.clone());
                (State::Opening(lease, None), vec![open])
            }
            Event::Stop => stopped(),
            Event::Opened(_)
            | Event::OpenFailed(..)
            | Event::HookDone(..)
            | Event::EndSession
            | Event::Closed(_)
            | Event::Released(_) => (State::Idle, Vec::new()),
        }
    }

    fn opening(&self, lease: Lease, ending: Option<Ending>, event: Event) -> Step {
        match event {
            Event::Opened(_) => match ending {
                None if self.plan.before => {
                    let effects = vec![
                        publish(Status::BeforeLeaseHook, "Running beforeLease hook"),
                        Effect::RunHook(self.epoch, Phase::Before),
                    ];
                    (State::BeforeHook(lease, None), effects)
                }
                None => ready(lease, "Ready for commands"),
                // Nothing has been set up, so there is nothing for an afterLease hook to clean up.
                Some(ending) => self.close(lease, Fate::Served, ending.then()),
            },
            Event::OpenFailed(_, reason) => {
                let rest = Rest { fate: Fate::Failed, then: then_after(ending) };
                let effects = vec![
                    publish(Status::BeforeLeaseHookFailed, format!("bench not usable: {reason}")),
                    Effect::ReleaseLease(self.epoch, lease.clone(), Fate::Failed),
                ];
                (State::Releasing(lease, rest), effects)
            }
            Event::EndSession => {
                (State::Opening(lease, ending.or(Some(Ending::Lease))), Vec::new())
            }
            Event::Stop => (State::Opening(lease, Some(Ending::Exporter)), Vec::new()),
            Event::Assigned(_) | Event::HookDone(..) | Event::Closed(_) | Event::Released(_) => {
                (State::Opening(lease, ending), Vec::new())
            }
        }
    }

    fn before_hook(&self, lease: Lease, ending: Option<Ending>, event: Event) -> Step {
        match event {
            Event::HookDone(_, Phase::Before, verdict) => match (verdict, ending) {
                (Verdict::Passed, None) => ready(lease, "Ready for commands"),
                (Verdict::Warned(text), None) => {
                    ready(lease, format!("{HOOK_WARNING}beforeLease hook warning: {text}"))
                }
                (Verdict::Passed | Verdict::Warned(_), Some(ending)) => self.end(lease, ending),
                (Verdict::EndLease(text), ending) => self.close_failed(
                    lease,
                    Status::BeforeLeaseHookFailed,
                    format!("beforeLease hook failed (on_failure=endLease): {text}"),
                    Rest { fate: Fate::Failed, then: then_after(ending) },
                ),
                (Verdict::Exit(text), _) => self.close_failed(
                    lease,
                    Status::BeforeLeaseHookFailed,
                    format!("beforeLease hook failed (on_failure=exit, shutting down): {text}"),
                    Rest { fate: Fate::Failed, then: Then::Stop(1) },
                ),
            },
            Event::EndSession => {
                (State::BeforeHook(lease, ending.or(Some(Ending::Lease))), Vec::new())
            }
            Event::Stop => {
                (State::BeforeHook(lease, Some(Ending::Exporter)), vec![Effect::CancelHook])
            }
            Event::Assigned(_)
            | Event::Opened(_)
            | Event::OpenFailed(..)
            | Event::HookDone(_, Phase::After, _)
            | Event::Closed(_)
            | Event::Released(_) => (State::BeforeHook(lease, ending), Vec::new()),
        }
    }

    fn ready(&self, lease: Lease, event: &Event) -> Step {
        match event {
            Event::EndSession => self.end(lease, Ending::Lease),
            Event::Stop => self.end(lease, Ending::Exporter),
            Event::Assigned(_)
            | Event::Opened(_)
            | Event::OpenFailed(..)
            | Event::HookDone(..)
            | Event::Closed(_)
            | Event::Released(_) => (State::Ready(lease), Vec::new()),
        }
    }

    fn after_hook(&self, lease: Lease, ending: Ending, event: Event) -> Step {
        let then = ending.then();
        match event {
            Event::HookDone(_, Phase::After, verdict) => match verdict {
                Verdict::Passed => self.close(lease, Fate::Served, then),
                Verdict::Warned(text) => {
                    let text = format!("{HOOK_WARNING}afterLease hook warning: {text}");
                    self.close(lease, Fate::Served, then.explained(text))
                }
                Verdict::EndLease(text) => self.close_failed(
                    lease,
                    Status::AfterLeaseHookFailed,
                    format!("afterLease hook failed (on_failure=endLease): {text}"),
                    Rest { fate: Fate::Served, then },
                ),
                Verdict::Exit(text) => self.close_failed(
                    lease,
                    Status::AfterLeaseHookFailed,
                    format!("afterLease hook failed (on_failure=exit, shutting down): {text}"),
                    Rest { fate: Fate::Served, then: Then::Stop(1) },
                ),
            },
            Event::Stop => (State::AfterHook(lease, Ending::Exporter), Vec::new()),
            Event::Assigned(_)
            | Event::Opened(_)
            | Event::OpenFailed(..)
            | Event::HookDone(_, Phase::Before, _)
            | Event::EndSession
            | Event::Closed(_)
            | Event::Released(_) => (State::AfterHook(lease, ending), Vec::new()),
        }
    }

    fn closing(&self, lease: Lease, rest: Rest, event: &Event) -> Step {
        match event {
            Event::Closed(_) => {
                let release = Effect::ReleaseLease(self.epoch, lease.clone(), rest.fate);
                (State::Releasing(lease, rest), vec![release])
            }
            Event::Stop => (State::Closing(lease, rest.stop()), Vec::new()),
            Event::Assigned(_)
            | Event::Opened(_)
            | Event::OpenFailed(..)
            | Event::HookDone(..)
            | Event::EndSession
            | Event::Released(_) => (State::Closing(lease, rest), Vec::new()),
        }
    }

    fn releasing(&self, lease: Lease, rest: Rest, event: &Event) -> Step {
        match event {
            Event::Released(_) => match rest.then {
                Then::Available(text) if !self.plan.exit_on_lease_end => {
                    let available = publish(Status::Available, text);
                    (State::Idle, vec![available, Effect::CloseSession])
                }
                Then::Available(_) | Then::Stop(0) => {
                    let (state, mut effects) = stopped();
                    effects.insert(1, Effect::CloseSession);
                    (state, effects)
                }
                // The failure is the last thing that clients see.
                Then::Stop(code) => {
                    (State::Stopped, vec![Effect::CloseSession, Effect::Exit(code)])
                }
            },
            Event::Stop => (State::Releasing(lease, rest.stop()), Vec::new()),
            Event::Assigned(_)
            | Event::Opened(_)
            | Event::OpenFailed(..)
            | Event::HookDone(..)
            | Event::EndSession
            | Event::Closed(_) => (State::Releasing(lease, rest), Vec::new()),
        }
    }

    /// Ends a lease whose client has had the bench, or may have had it.
    fn end(&self, lease: Lease, ending: Ending) -> Step {
        if !self.plan.after {
            return self.close(lease, Fate::Served, ending.then());
        }
        let effects = vec![
            publish(Status::AfterLeaseHook, "Running afterLease hooks"),
            Effect::RunHook(self.epoch, Phase::After),
        ];
        (State::AfterHook(lease, ending), effects)
    }

    fn close(&self, lease: Lease, fate: Fate, then: Then) -> Step {
        (State::Closing(lease, Rest { fate, then }), vec![Effect::CloseDevices(self.epoch)])
    }

    fn close_failed(&self, lease: Lease, status: Status, text: String, rest: Rest) -> Step {
        let effects = vec![publish(status, text), Effect::CloseDevices(self.epoch)];
        (State::Closing(lease, rest), effects)
    }
}

type Step = (State, Vec<Effect>);

fn ready(lease: Lease, text: impl Into<String>) -> Step {
    (State::Ready(lease), vec![publish(Status::LeaseReady, text)])
}

fn stopped() -> Step {
    let effects = vec![publish(Status::Offline, "Exporter shutting down"), Effect::Exit(0)];
    (State::Stopped, effects)
}

fn publish(status: Status, text: impl Into<String>) -> Effect {
    Effect::Publish(status, text.into())
}

impl Phase {
    /// The hook's name in the configuration.
    pub fn event(self) -> &'static str {
        match self {
            Self::Before => "beforeLease",
            Self::After => "afterLease",
        }
    }
}

impl Event {
    /// The lease that the event belongs to, where it is the answer to an effect.
    fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Opened(epoch)
            | Self::OpenFailed(epoch, _)
            | Self::HookDone(epoch, _, _)
            | Self::Closed(epoch)
            | Self::Released(epoch) => Some(*epoch),
            Self::Assigned(_) | Self::EndSession | Self::Stop => None,
        }
    }
}

impl Ending {
    fn then(self) -> Then {
        match self {
            Self::Lease => Then::Available("Available for new lease".into()),
            Self::Exporter => Then::Stop(0),
        }
    }
}

/// What comes after a lease that has failed, if it had been ended at all.
fn then_after(ending: Option<Ending>) -> Then {
    ending.unwrap_or(Ending::Lease).then()
}

impl Then {
    fn explained(self, text: String) -> Self {
        match self {
            Self::Available(_) => Self::Available(text),
            Self::Stop(code) => Self::Stop(code),
        }
    }
}

impl Rest {
    /// The same, except that the exporter stops afterwards. A failure that already stops it keeps
    /// its exit code.
    fn stop(self) -> Self {
        match self.then {
            Then::Available(_) => Self { then: Then::Stop(0), ..self },
            Then::Stop(_) => self,
        }
    }
}

#[cfg(test)]
mod tests;
