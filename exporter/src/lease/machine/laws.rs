//! The laws that hold for every sequence of events.

use proptest::prelude::*;

use super::journal::Journal;
use super::tests::{HOOKS, events, lease, verdicts};
use super::*;

/// What a random run of the machine does next.
#[derive(Debug, Clone)]
enum Move {
    /// Something from outside, expected or not.
    Event(Event),
    /// The oldest effect that wants an answer gets one; the number picks which.
    Answer(usize),
    /// The process is killed, and started again.
    Crash,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let event = (0u64..4, any::<prop::sample::Index>())
        .prop_map(|(epoch, index)| Move::Event(index.get(&events(Epoch(epoch))).clone()));
    let usual =
        prop_oneof![Just(Event::Assigned(lease())), Just(Event::Ended(EndReason::Released))];
    let step = prop_oneof![
        2 => event,
        6 => usual.prop_map(Move::Event),
        12 => (0usize..10).prop_map(Move::Answer),
        1 => Just(Move::Crash),
    ];
    prop::collection::vec(step, 0..80)
}

/// The answer to an effect that wants one.
fn answer(effect: &Effect, pick: usize) -> Option<Event> {
    let verdict = || verdicts().swap_remove(pick.saturating_sub(4));
    match effect {
        Effect::OpenSession(epoch, _) if pick == 0 => {
            Some(Event::OpenFailed(*epoch, "text".into()))
        }
        Effect::OpenSession(epoch, _) => Some(Event::Opened(*epoch)),
        Effect::RunBefore(epoch) => Some(Event::HookDone(*epoch, Phase::Before, verdict())),
        Effect::RunAfter(epoch, _) => Some(Event::HookDone(*epoch, Phase::After, verdict())),
        Effect::ShowFailure(epoch) => Some(Event::Shown(*epoch)),
        Effect::CloseDevices(epoch) => Some(Event::Closed(*epoch)),
        Effect::ReleaseLease(epoch, ..) => Some(Event::Released(*epoch)),
        Effect::Maintain(epoch, _) if pick < 3 => {
            Some(Event::Maintained(*epoch, Err("text".into())))
        }
        Effect::Maintain(epoch, _) => Some(Event::Maintained(*epoch, Ok(()))),
        Effect::CancelHook
        | Effect::HandOver(_)
        | Effect::Publish(..)
        | Effect::CloseSession
        | Effect::ScheduleRepair
        | Effect::Exit(_) => None,
    }
}

/// A world around the machine that checks every law at every step.
struct World {
    plan: Plan,
    machine: Machine,
    /// What would be read after a crash.
    journal: Journal,
    /// Effects without an answer so far.
    pending: Vec<Effect>,
    devices_open: bool,
    session_open: bool,
    /// The present lease's beforeLease hook has begun.
    before_begun: bool,
    /// The present lease's beforeLease hook has come to a good end, or was cut off.
    before_done: bool,
    before_failed: bool,
    /// A crash has cut the present lease's beforeLease hook off.
    interrupted: bool,
    /// The present lease's afterLease hook has come to an end.
    after_done: bool,
    must_exit: Option<u8>,
    exited: Option<u8>,
}

impl World {
    fn new(plan: Plan) -> Self {
        Self {
            plan,
            machine: Machine::new(plan, 0),
            journal: Journal::default(),
            pending: Vec::new(),
            devices_open: false,
            session_open: false,
            before_begun: false,
            before_done: false,
            before_failed: false,
            interrupted: false,
            after_done: false,
            must_exit: None,
            exited: None,
        }
    }

    fn feed(&mut self, event: Event) {
        if self.machine.state() == &State::Idle && matches!(event, Event::Assigned(_)) {
            (self.before_done, self.before_failed, self.after_done) = (false, false, false);
            (self.before_begun, self.interrupted) = (false, false);
        }
        if event.epoch().is_none_or(|epoch| epoch == self.machine.epoch) {
            self.note(&event);
        }
        let effects = self.machine.on(event);
        self.write_down();
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let cancellable = self.pending.iter().any(|effect| {
            matches!(
                effect,
                Effect::RunBefore(_) | Effect::RunAfter(..) | Effect::Maintain(_, Task::Repair)
            )
        });
        for effect in effects {
            assert_eq!(self.exited, None, "{effect:?} after the exit");
            self.check(&effect, cancellable);
            self.pending.push(effect);
        }
        self.pending.retain(|effect| answer(effect, 1).is_some());
    }

    fn write_down(&mut self) {
        let Some(journal) = self.machine.journal() else { return };
        let is_owed = self.plan.after && self.before_done && !self.after_done;
        if is_owed {
            let progress = journal.lease.as_ref().map(|(_, progress)| *progress);
            assert!(
                matches!(
                    progress,
                    Some(journal::Progress::Prepared(_) | journal::Progress::CleaningUp(..))
                ),
                "an owed afterLease hook is written down, not {progress:?}"
            );
        }
        self.journal = journal;
    }

    fn note(&mut self, event: &Event) {
        if let Event::Closed(_) | Event::OpenFailed(..) = event {
            self.devices_open = false;
        }
        let Event::HookDone(_, phase, verdict) = event else { return };
        match (phase, self.machine.state()) {
            (Phase::Before, State::BeforeHook(..)) => match verdict {
                Verdict::Passed | Verdict::Cancelled | Verdict::Warned(_) => {
                    self.before_done = true;
                }
                Verdict::EndLease(_) | Verdict::Exit(_) | Verdict::Quarantine(_) => {
                    self.before_failed = true;
                }
            },
            (Phase::After, State::AfterHook(..)) => self.after_done = true,
            (Phase::Before | Phase::After, _) => return,
        }
        if matches!(verdict, Verdict::Exit(_)) {
            self.must_exit = Some(1);
        }
    }

    fn check(&mut self, effect: &Effect, cancellable: bool) {
        let plan = self.plan;
        match effect {
            Effect::OpenSession(..) => {
                assert!(!self.session_open && !self.devices_open, "one lease at a time");
                (self.session_open, self.devices_open) = (true, true);
            }
            Effect::RunBefore(_) => {
                assert!(self.devices_open, "hooks use the devices");
                assert!(!self.before_done, "beforeLease runs once");
                (self.before_begun, self.interrupted) = (true, false);
            }
            Effect::RunAfter(_, parting) => {
                assert!(self.devices_open, "hooks use the devices");
                assert!(!self.after_done, "afterLease runs once");
                assert!(plan.after || (parting.preemption && plan.preemption));
                let allowed = !plan.before || self.before_done || self.interrupted;
                assert!(allowed || (self.before_failed && plan.after_always));
            }
            Effect::Publish(Status::LeaseReady, _) => {
                assert!(self.devices_open && (!plan.before || self.before_done));
                // From now on the client may have used the devices.
                self.before_done = true;
            }
            Effect::Publish(Status::Available, _) => {
                assert!(!self.devices_open);
                assert_eq!(self.journal.quarantine, None, "leases wait");
            }
            Effect::ReleaseLease(..) => assert!(!self.devices_open, "closed before released"),
            Effect::CloseSession => {
                assert!(self.session_open);
                self.session_open = false;
            }
            Effect::CancelHook => assert!(cancellable, "there is a hook to cancel"),
            Effect::Maintain(..) => assert!(!self.devices_open, "nobody has the bench"),
            Effect::ScheduleRepair => assert!(plan.repair),
            Effect::Exit(code) => {
                assert!(!self.devices_open && !self.session_open);
                self.exited = Some(*code);
            }
            Effect::Publish(..)
            | Effect::HandOver(_)
            | Effect::CloseDevices(_)
            | Effect::ShowFailure(_) => {}
        }
    }

    /// Answers the oldest open effect; false if there is none.
    fn answer(&mut self, pick: usize) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        let effect = self.pending.remove(0);
        let event = answer(&effect, pick).expect("only effects that want an answer are kept");
        self.feed(event);
        true
    }

    /// Loses everything but the journal, and goes on from there.
    fn crash(&mut self) {
        if self.exited.is_some() {
            return;
        }
        self.pending.clear();
        self.must_exit = None;
        self.interrupted = self.before_begun && !self.before_done && !self.before_failed;
        (self.devices_open, self.session_open) = (false, false);
        let (machine, effects) = Machine::restored(self.plan, self.journal.clone(), None);
        self.machine = machine;
        self.write_down();
        self.perform(effects);
    }

    /// Whether an event is not an answer that nobody asked for: the actor gives each answer once.
    fn is_possible(&self, event: &Event) -> bool {
        event.epoch().is_none_or(|epoch| epoch != self.machine.epoch)
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    (any::<[bool; 8]>(), 0u32..4).prop_map(|(flags, quarantine_after)| {
        let [before, after, after_always, exit_on_lease_end, preemption, stop, down, repair] =
            flags;
        Plan {
            before,
            after,
            after_always,
            exit_on_lease_end,
            preemption,
            stop,
            down,
            repair,
            quarantine_after,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_keeps_the_laws_and_none_gets_stuck(plan in plans(), moves in moves()) {
        let mut world = World::new(plan);
        for step in moves {
            match step {
                Move::Event(event) if world.is_possible(&event) => world.feed(event),
                Move::Event(_) => {}
                Move::Answer(pick) => {
                    world.answer(pick);
                }
                Move::Crash => world.crash(),
            }
        }
        // Whatever has happened: a stop ends it.
        world.feed(Event::Stop(Farewell::Stop));
        while world.answer(1) {}
        prop_assert_eq!(world.machine.state(), &State::Stopped);
        prop_assert_eq!(world.exited, Some(world.must_exit.unwrap_or(0)));
    }

    #[test]
    fn what_something_earlier_has_started_is_ignored(moves in moves()) {
        let mut world = World::new(HOOKS);
        for step in moves {
            if let Move::Answer(pick) = step {
                world.answer(pick);
            }
            world.feed(Event::Assigned(lease()));
            for stale in events(Epoch(1_000)) {
                if stale.epoch().is_some() {
                    let before = world.machine.clone();
                    prop_assert_eq!(world.machine.on(stale), []);
                    prop_assert_eq!(&world.machine, &before);
                }
            }
        }
    }
}
