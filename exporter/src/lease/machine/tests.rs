//! The machine's table, and the laws that hold for every sequence of events.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const HOOKS: Plan = Plan { before: true, after: true, exit_on_lease_end: false };

fn lease() -> Lease {
    Lease { name: "lease-1".into(), client: "alice".into() }
}

fn rest(then: Then) -> Rest {
    Rest { fate: Fate::Served, then }
}

fn available() -> Then {
    Ending::Lease.then()
}

fn states() -> Vec<State> {
    vec![
        State::Idle,
        State::Opening(lease(), None),
        State::Opening(lease(), Some(Ending::Lease)),
        State::Opening(lease(), Some(Ending::Exporter)),
        State::BeforeHook(lease(), None),
        State::BeforeHook(lease(), Some(Ending::Lease)),
        State::BeforeHook(lease(), Some(Ending::Exporter)),
        State::Ready(lease()),
        State::AfterHook(lease(), Ending::Lease),
        State::AfterHook(lease(), Ending::Exporter),
        State::Closing(lease(), rest(available())),
        State::Closing(lease(), rest(Then::Stop(1))),
        State::Releasing(lease(), rest(available())),
        State::Releasing(lease(), rest(Then::Stop(0))),
        State::Releasing(lease(), rest(Then::Stop(1))),
        State::Stopped,
    ]
}

fn verdicts() -> Vec<Verdict> {
    let text = || "text".to_owned();
    vec![Verdict::Passed, Verdict::Warned(text()), Verdict::EndLease(text()), Verdict::Exit(text())]
}

fn events(epoch: Epoch) -> Vec<Event> {
    let mut events = vec![
        Event::Assigned(lease()),
        Event::Opened(epoch),
        Event::OpenFailed(epoch, "text".into()),
        Event::EndSession,
        Event::Closed(epoch),
        Event::Released(epoch),
        Event::Stop,
    ];
    for phase in [Phase::Before, Phase::After] {
        events.extend(verdicts().into_iter().map(|verdict| Event::HookDone(epoch, phase, verdict)));
    }
    events
}

/// A state or event in a few characters.
fn short(item: &impl std::fmt::Debug) -> String {
    let text = format!("{item:?}");
    [
        (r#"Lease { name: "lease-1", client: "alice" }"#, "_"),
        ("Rest { fate: Served, then: Available(\"Available for new lease\") }", "next"),
        ("Rest { fate: Failed, then: Available(\"Available for new lease\") }", "failed"),
        (
            "Rest { fate: Served, then: Available(\"[HOOK_WARNING] afterLease hook warning: text\") }",
            "next, warned",
        ),
        ("Rest { fate: Served, then: Stop(0) }", "stop"),
        ("Rest { fate: Served, then: Stop(1) }", "exit"),
        ("Rest { fate: Failed, then: Stop(0) }", "failed, stop"),
        ("Rest { fate: Failed, then: Stop(1) }", "failed, exit"),
        ("Epoch(7), ", ""),
        ("(Epoch(7))", ""),
        ("Epoch(8), ", ""),
        ("\"text\"", ""),
        ("()", ""),
        ("Some(Lease)", "ending"),
        ("Some(Exporter)", "stopping"),
        ("_, ", ""),
        ("_", ""),
        ("()", ""),
    ]
    .iter()
    .fold(text, |text, (long, short)| text.replace(long, short))
}

/// Every pair of a state and an event that does something.
fn table(plan: Plan) -> String {
    let mut table = String::new();
    for state in states() {
        for event in events(Epoch(7)) {
            let mut machine = Machine { plan, state: state.clone(), epoch: Epoch(7) };
            let effects = machine.on(event.clone());
            if effects.is_empty() && machine.state == state {
                continue;
            }
            let effects: Vec<_> = effects
                .iter()
                .map(|effect| {
                    let Effect::Publish(status, _) = effect else { return short(effect) };
                    status.to_string()
                })
                .collect();
            write!(table, "{} + {} = {}", short(&state), short(&event), short(&machine.state))
                .unwrap();
            let separator = if effects.is_empty() { "" } else { " | " };
            writeln!(table, "{separator}{}", effects.join(", ")).unwrap();
        }
    }
    table
}

#[test]
fn the_table_with_both_hooks() {
    let expected = include_str!("table.txt");
    assert_eq!(table(HOOKS), expected, "\n{}", table(HOOKS));
}

#[test]
fn without_hooks_a_lease_is_ready_at_once_and_over_at_once() {
    let mut machine = Machine::new(Plan::default());
    machine.on(Event::Assigned(lease()));
    assert_eq!(
        machine.on(Event::Opened(Epoch(1))),
        [publish(Status::LeaseReady, "Ready for commands")]
    );
    assert_eq!(machine.on(Event::EndSession), [Effect::CloseDevices(Epoch(1))]);
}

#[test]
fn the_words_that_clients_see() {
    let words = |state: State, event: Event| {
        let mut machine = Machine { plan: HOOKS, state, epoch: Epoch(7) };
        let effects = machine.on(event).into_iter();
        let texts = effects.filter_map(|effect| {
            let Effect::Publish(_, text) = effect else { return None };
            Some(text)
        });
        texts.collect::<Vec<_>>().join("; ")
    };
    let before = |verdict| {
        let event = Event::HookDone(Epoch(7), Phase::Before, verdict);
        words(State::BeforeHook(lease(), None), event)
    };
    let text = || "Hook failed with exit code 1".to_owned();
    assert_eq!(before(Verdict::Passed), "Ready for commands");
    assert_eq!(
        before(Verdict::Warned(text())),
        "[HOOK_WARNING] beforeLease hook warning: Hook failed with exit code 1"
    );
    assert_eq!(
        before(Verdict::EndLease(text())),
        "beforeLease hook failed (on_failure=endLease): Hook failed with exit code 1"
    );
    assert_eq!(
        before(Verdict::Exit(text())),
        "beforeLease hook failed (on_failure=exit, shutting down): Hook failed with exit code 1"
    );
    assert_eq!(
        words(
            State::Opening(lease(), None),
            Event::OpenFailed(Epoch(7), "driver serial: no such device".into())
        ),
        "bench not usable: driver serial: no such device"
    );
}

#[test]
fn a_warning_of_the_after_hook_explains_the_next_status() {
    let mut machine =
        Machine { plan: HOOKS, state: State::AfterHook(lease(), Ending::Lease), epoch: Epoch(7) };
    machine.on(Event::HookDone(Epoch(7), Phase::After, Verdict::Warned("oh".into())));
    machine.on(Event::Closed(Epoch(7)));
    let effects = machine.on(Event::Released(Epoch(7)));
    let text = "[HOOK_WARNING] afterLease hook warning: oh";
    assert_eq!(effects[0], publish(Status::Available, text));
}

#[test]
fn exit_on_lease_end_stops_after_the_first_lease() {
    let mut machine = Machine {
        plan: Plan { exit_on_lease_end: true, ..HOOKS },
        state: State::Releasing(lease(), rest(available())),
        epoch: Epoch(7),
    };
    let effects = machine.on(Event::Released(Epoch(7)));
    assert_eq!(effects.last(), Some(&Effect::Exit(0)));
    assert_eq!(machine.state(), &State::Stopped);
}

/// What a random run of the machine does next.
#[derive(Debug, Clone)]
enum Move {
    /// Something from outside, expected or not.
    Event(Event),
    /// The oldest effect that wants an answer gets one; the number picks which.
    Answer(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let event = (0u64..4, any::<prop::sample::Index>())
        .prop_map(|(epoch, index)| Move::Event(index.get(&events(Epoch(epoch))).clone()));
    let usual = prop_oneof![Just(Event::Assigned(lease())), Just(Event::EndSession)];
    let step = prop_oneof![
        1 => event,
        3 => usual.prop_map(Move::Event),
        6 => (0usize..8).prop_map(Move::Answer),
    ];
    prop::collection::vec(step, 0..80)
}

/// The answer to an effect that wants one.
fn answer(effect: &Effect, pick: usize) -> Option<Event> {
    match effect {
        Effect::OpenSession(epoch, _) if pick == 0 => {
            Some(Event::OpenFailed(*epoch, "text".into()))
        }
        Effect::OpenSession(epoch, _) => Some(Event::Opened(*epoch)),
        Effect::RunHook(epoch, phase) => {
            Some(Event::HookDone(*epoch, *phase, verdicts().swap_remove(pick.saturating_sub(4))))
        }
        Effect::CloseDevices(epoch) => Some(Event::Closed(*epoch)),
        Effect::ReleaseLease(epoch, ..) => Some(Event::Released(*epoch)),
        Effect::CancelHook | Effect::Publish(..) | Effect::CloseSession | Effect::Exit(_) => None,
    }
}

/// A world around the machine that checks every law at every step.
struct World {
    machine: Machine,
    /// Effects without an answer so far.
    pending: Vec<Effect>,
    devices_open: bool,
    session_open: bool,
    before_passed: bool,
    after_ran: bool,
    must_exit: Option<u8>,
    exited: Option<u8>,
}

impl World {
    fn new(plan: Plan) -> Self {
        Self {
            machine: Machine::new(plan),
            pending: Vec::new(),
            devices_open: false,
            session_open: false,
            before_passed: false,
            after_ran: false,
            must_exit: None,
            exited: None,
        }
    }

    fn feed(&mut self, event: Event) {
        let hook_runs = self.pending.iter().any(|effect| matches!(effect, Effect::RunHook(..)));
        if event.epoch().is_none_or(|epoch| epoch == self.machine.epoch) {
            self.note(&event);
        }
        for effect in self.machine.on(event) {
            assert_eq!(self.exited, None, "{effect:?} after the exit");
            self.check(&effect, hook_runs);
            self.pending.push(effect);
        }
        self.pending.retain(|effect| answer(effect, 1).is_some());
    }

    fn note(&mut self, event: &Event) {
        if let Event::Closed(_) | Event::OpenFailed(..) = event {
            self.devices_open = false;
        }
        if let Event::HookDone(_, phase, verdict) = event {
            let good = matches!(verdict, Verdict::Passed | Verdict::Warned(_));
            self.before_passed |= good && *phase == Phase::Before;
            if matches!(verdict, Verdict::Exit(_)) {
                self.must_exit = Some(1);
            }
        }
    }

    fn check(&mut self, effect: &Effect, hook_runs: bool) {
        let plan = self.machine.plan;
        match effect {
            Effect::OpenSession(..) => {
                assert!(!self.session_open && !self.devices_open, "one lease at a time");
                (self.session_open, self.devices_open) = (true, true);
                (self.before_passed, self.after_ran) = (false, false);
            }
            Effect::RunHook(_, phase) => {
                assert!(self.devices_open, "hooks use the devices");
                if *phase == Phase::After {
                    assert!(!self.after_ran, "afterLease runs once");
                    assert!(!plan.before || self.before_passed, "only after a good beforeLease");
                    self.after_ran = true;
                }
            }
            Effect::Publish(Status::LeaseReady, _) => {
                assert!(self.devices_open && (!plan.before || self.before_passed));
            }
            Effect::Publish(Status::Available, _) => assert!(!self.devices_open),
            Effect::ReleaseLease(..) => assert!(!self.devices_open, "closed before released"),
            Effect::CloseSession => {
                assert!(self.session_open);
                self.session_open = false;
            }
            Effect::CancelHook => assert!(hook_runs, "there is a hook to cancel"),
            Effect::Exit(code) => {
                assert!(!self.session_open && !self.devices_open);
                self.exited = Some(*code);
            }
            Effect::Publish(..) | Effect::CloseDevices(_) => {}
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

    /// Whether an event is not an answer that nobody asked for: the actor gives each answer once.
    fn is_possible(&self, event: &Event) -> bool {
        event.epoch().is_none_or(|epoch| epoch != self.machine.epoch)
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    any::<(bool, bool, bool)>().prop_map(|(before, after, exit_on_lease_end)| Plan {
        before,
        after,
        exit_on_lease_end,
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
            }
        }
        // Whatever has happened: a stop ends it, with the code that is due.
        world.feed(Event::Stop);
        while world.answer(1) {}
        prop_assert_eq!(world.machine.state(), &State::Stopped);
        prop_assert_eq!(world.exited, Some(world.must_exit.unwrap_or(0)));
    }

    #[test]
    fn what_an_earlier_lease_has_started_is_ignored(moves in moves()) {
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
