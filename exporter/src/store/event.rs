//! The events that hooks belong to, in one list for all three lives.

use crate::config::export::Stage;
use crate::config::hooks::LifecycleEvent;
use crate::lease::machine::Phase;

/// What a hook is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookEvent {
    /// In the life of a lease.
    Lease(Phase),
    /// In the life of the exporter.
    Exporter(LifecycleEvent),
    /// In the life of a driver.
    Driver(Stage),
    /// The bench is in quarantine, and may be brought back.
    Repair,
}

impl HookEvent {
    /// Each of them.
    pub const ALL: [Self; 12] = [
        Self::Lease(Phase::Before),
        Self::Lease(Phase::After),
        Self::Exporter(LifecycleEvent::Stop),
        Self::Exporter(LifecycleEvent::Preemption),
        Self::Exporter(LifecycleEvent::Down),
        Self::Driver(Stage::PreInstall),
        Self::Driver(Stage::PostInstall),
        Self::Driver(Stage::PreUpdate),
        Self::Driver(Stage::PostUpdate),
        Self::Driver(Stage::PreDelete),
        Self::Driver(Stage::PostDelete),
        Self::Repair,
    ];

    /// Its name, as configurations and `HOOK_EVENT` have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Lease(phase) => phase.event(),
            Self::Exporter(event) => event.word(),
            Self::Driver(stage) => stage.word(),
            Self::Repair => "repair",
        }
    }

    /// The event of this name.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_found_by_its_own_name() {
        for event in HookEvent::ALL {
            assert_eq!(HookEvent::of_word(event.word()), Some(event));
        }
        assert_eq!(HookEvent::of_word("before_lease"), None);
    }
}
