//! What can happen to a bench, and what is to be done then.

use super::super::Lease;
use super::super::status::Status;
use super::state::{EndReason, Prepared};
use crate::config::hooks::LifecycleEvent;

/// The number of a thing that the machine has started, counted from the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Epoch(pub(super) u64);

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A client was given a lease.
    Assigned(Lease),
    /// The lease has got another client.
    Transferred(String),
    /// The devices are open.
    Opened(Epoch),
    /// The devices could not be opened.
    OpenFailed(Epoch, String),
    /// A hook of the lease is over.
    HookDone(Epoch, Phase, Verdict),
    /// The lease is over.
    Ended(EndReason),
    /// Who follows the status has seen the failure, or had the time to.
    Shown(Epoch),
    /// The devices are closed.
    Closed(Epoch),
    /// The lease has been given back.
    Released(Epoch),
    /// There are drivers to be changed.
    Changed(Changes),
    /// It is time to try to repair the bench.
    RepairDue,
    /// Somebody has declared the bench good again.
    Reinstated,
    /// Work between leases is done; or why not.
    Maintained(Epoch, Result<(), String>),
    /// The exporter has to go, in good order.
    Stop(Farewell),
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
    /// It did what it should.
    Passed,
    /// It was cut off.
    Cancelled,
    /// It failed, but the lease goes on.
    Warned(String),
    /// It failed, and the lease ends.
    EndLease(String),
    /// It failed, and the exporter stops.
    Exit(String),
    /// It failed, and the bench is out of service until it is repaired.
    Quarantine(String),
}

/// How an exporter goes. The later weighs more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Farewell {
    /// For now.
    Stop,
    /// For good: its drivers are deleted, too.
    Down,
}

/// Changes of drivers that wait for the bench to be free. The later weighs more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changes {
    /// They are made in no time.
    Quiet,
    /// Hooks belong to them: people are told.
    WithHooks,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Open the devices for a lease; answer with [`Event::Opened`] or [`Event::OpenFailed`].
    OpenSession(Epoch, Lease),
    /// From now on, hooks are told of this client.
    HandOver(String),
    /// Run the beforeLease hook; answer with [`Event::HookDone`].
    RunBefore(Epoch),
    /// Run the hooks at the end of a lease; answer with [`Event::HookDone`].
    RunAfter(Epoch, Parting),
    /// End the hook that runs; its end is still told.
    CancelHook,
    /// Show a status and its explanation.
    Publish(Status, String),
    /// Wait until the status was seen; answer with [`Event::Shown`].
    ShowFailure(Epoch),
    /// Close the devices; answer with [`Event::Closed`].
    CloseDevices(Epoch),
    /// Give the lease back; answer with [`Event::Released`].
    ReleaseLease(Epoch, Lease, Fate),
    /// Let go of everything that the lease's clients could reach.
    CloseSession,
    /// Do something between leases; answer with [`Event::Maintained`].
    Maintain(Epoch, Task),
    /// Send [`Event::RepairDue`] after the configured interval.
    ScheduleRepair,
    /// End the process with this exit code.
    Exit(u8),
}

/// What the hooks at the end of a lease are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parting {
    /// Why the lease has ended.
    pub reason: EndReason,
    /// How the bench was prepared for it.
    pub prepared: Prepared,
    /// The exporter's own preemption hooks come first.
    pub preemption: bool,
}

/// What is done between leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Make the drivers what the configuration says.
    Apply,
    /// Run the repair hook.
    Repair,
    /// Run the hooks for the exporter's end, and for good delete its drivers.
    Farewell(Farewell),
}

/// How a lease went, for whoever gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A client had the bench.
    Served,
    /// The same, and there won't be another lease.
    Last,
    /// The bench could not be made ready.
    Failed,
}

impl Event {
    /// What the event is the end of, where it answers an effect.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Opened(epoch)
            | Self::OpenFailed(epoch, _)
            | Self::HookDone(epoch, _, _)
            | Self::Shown(epoch)
            | Self::Closed(epoch)
            | Self::Released(epoch)
            | Self::Maintained(epoch, _) => Some(*epoch),
            Self::Assigned(_)
            | Self::Transferred(_)
            | Self::Ended(_)
            | Self::Changed(_)
            | Self::RepairDue
            | Self::Reinstated
            | Self::Stop(_) => None,
        }
    }
}

impl Effect {
    pub(super) fn is_publication(&self) -> bool {
        matches!(self, Self::Publish(..))
    }
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

impl Farewell {
    /// The event whose hooks run then, without a lease.
    pub fn event(self) -> LifecycleEvent {
        match self {
            Self::Stop => LifecycleEvent::Stop,
            Self::Down => LifecycleEvent::Down,
        }
    }
}
