//! The machine's table, and the words that clients see.

use std::fmt::Write as _;

use uuid::Uuid;

use super::*;
use crate::lease::Lease;

pub(super) const HOOKS: Plan = Plan {
    before: true,
    after: true,
    after_always: false,
    exit_on_lease_end: false,
    preemption: true,
    stop: true,
    down: true,
    repair: true,
    quarantine_after: 3,
};

pub(super) fn lease() -> Lease {
    Lease { id: Uuid::nil(), name: "lease-1".into(), client: "alice".into(), context: [].into() }
}

fn tenancy(prepared: Prepared) -> Tenancy {
    Tenancy { lease: lease(), prepared }
}

fn rest(reason: EndReason, then: Then) -> Rest {
    Rest { reason, health: Health::Good, then }
}

fn quarantine(cause: Cause) -> Quarantine {
    Quarantine::new("text".into(), cause)
}

fn states() -> Vec<State> {
    let ended = Ending { reason: EndReason::Released, leaving: None };
    let stopping = Ending::leaving(None, Farewell::Stop);
    let unusable = Rest {
        health: Health::Unusable("text".into()),
        ..rest(EndReason::Released, Then::next_lease())
    };
    let owing = Quarantine {
        owed: Some((tenancy(Prepared::Passed), EndReason::Expired)),
        ..quarantine(Cause::Leases)
    };
    vec![
        State::Idle,
        State::Opening(tenancy(Prepared::NotYet), None),
        State::Opening(tenancy(Prepared::NotYet), Some(ended)),
        State::Opening(tenancy(Prepared::Interrupted), None),
        State::Opening(tenancy(Prepared::Interrupted), Some(ended)),
        State::Opening(tenancy(Prepared::Passed), None),
        State::Opening(tenancy(Prepared::Passed), Some(ended)),
        State::BeforeHook(lease(), None),
        State::BeforeHook(lease(), Some(ended)),
        State::BeforeHook(lease(), Some(stopping)),
        State::Ready(tenancy(Prepared::Passed)),
        State::Failing(tenancy(Prepared::Failed), rest(EndReason::Failed, Then::next_lease())),
        State::AfterHook(tenancy(Prepared::Passed), rest(EndReason::Released, Then::next_lease())),
        State::AfterHook(
            tenancy(Prepared::Passed),
            rest(EndReason::ExporterStopping, Then::Gone(0)),
        ),
        State::Closing(lease(), rest(EndReason::Released, Then::next_lease())),
        State::Closing(lease(), rest(EndReason::Failed, Then::Go(Farewell::Stop, 1))),
        State::Releasing(lease(), rest(EndReason::Released, Then::next_lease())),
        State::Releasing(lease(), unusable),
        State::Releasing(lease(), rest(EndReason::Released, Then::Go(Farewell::Stop, 0))),
        State::Releasing(lease(), rest(EndReason::ExporterStopping, Then::Gone(0))),
        State::Releasing(lease(), rest(EndReason::ExporterStopping, Then::Gone(1))),
        State::Quarantined(quarantine(Cause::Leases)),
        State::Quarantined(quarantine(Cause::Drivers)),
        State::Quarantined(owing),
        State::Maintaining(Work::Apply(None), None),
        State::Maintaining(Work::Apply(Some(Farewell::Stop)), None),
        State::Maintaining(Work::Apply(None), Some(quarantine(Cause::Drivers))),
        State::Maintaining(Work::Repair(None), Some(quarantine(Cause::Leases))),
        State::Maintaining(Work::Repair(Some(Farewell::Stop)), Some(quarantine(Cause::Leases))),
        State::Maintaining(
            Work::Repair(None),
            Some(Quarantine { lifted: true, ..quarantine(Cause::Leases) }),
        ),
        State::Maintaining(
            Work::Apply(None),
            Some(Quarantine { lifted: true, ..quarantine(Cause::Leases) }),
        ),
        State::Maintaining(Work::Farewell(Farewell::Stop, 1, None), None),
        State::Maintaining(Work::Farewell(Farewell::Stop, 1, Some(Farewell::Down)), None),
        State::Stopped,
    ]
}

pub(super) fn verdicts() -> Vec<Verdict> {
    let text = || "text".to_owned();
    vec![
        Verdict::Passed,
        Verdict::Cancelled,
        Verdict::Warned(text()),
        Verdict::EndLease(text()),
        Verdict::Exit(text()),
        Verdict::Quarantine(text()),
    ]
}

pub(super) fn events(epoch: Epoch) -> Vec<Event> {
    let mut events = vec![
        Event::Assigned(lease()),
        Event::Transferred("bob".into()),
        Event::Opened(epoch),
        Event::OpenFailed(epoch, "text".into()),
        Event::Ended(EndReason::Released),
        Event::Shown(epoch),
        Event::Closed(epoch),
        Event::Released(epoch),
        Event::Changed(Changes::WithHooks),
        Event::RepairDue,
        Event::Reinstated,
        Event::Maintained(epoch, Ok(())),
        Event::Maintained(epoch, Err("text".into())),
        Event::Stop(Farewell::Stop),
        Event::Stop(Farewell::Down),
    ];
    for phase in [Phase::Before, Phase::After] {
        events.extend(verdicts().into_iter().map(|verdict| Event::HookDone(epoch, phase, verdict)));
    }
    events
}

/// A state or event in a few characters.
fn short(item: &impl std::fmt::Debug) -> String {
    let bobs = format!("{:?}", Lease { client: "bob".into(), ..lease() });
    let lease = format!("{:?}", lease());
    [
        (bobs.as_str(), "bob's"),
        ("Tenancy { lease: bob's, prepared: ", "Tenancy { bob's, "),
        (lease.as_str(), "_"),
        ("Tenancy { lease: _, prepared: ", "Tenancy { "),
        ("Available(\"Available for new lease\")", "next"),
        ("Rest { reason: ", "Rest { "),
        ("Ending { reason: ", "Ending { "),
        ("health: ", ""),
        ("then: ", ""),
        ("leaving: ", ""),
        ("Quarantine { reason: \"text\", cause: ", "Quarantine { "),
        (", owed: ", ", "),
        (", lifted: false", ""),
        ("lifted: true", "lifted"),
        ("Parting { reason: ", "Parting { "),
        ("prepared: ", ""),
        ("preemption: false", "no preemption"),
        ("preemption: true", "preemption"),
        ("Epoch(7), ", ""),
        ("(Epoch(7))", ""),
        ("Epoch(8), ", ""),
        ("\"text\"", ""),
        ("()", ""),
        (", None", ""),
        ("_, ", ""),
        ("(_)", ""),
        (" { ", "("),
        (" }", ")"),
    ]
    .iter()
    .fold(format!("{item:?}"), |text, (long, short)| text.replace(long, short))
}

fn machine(plan: Plan, state: State) -> Machine {
    Machine { plan, state, epoch: Epoch(7), failures: 0, changes: None }
}

/// Every pair of a state and an event that does something.
fn table(plan: Plan) -> String {
    let mut table = String::new();
    for state in states() {
        for event in events(Epoch(7)) {
            let mut machine = machine(plan, state.clone());
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
fn the_table_with_all_hooks() {
    let table = table(HOOKS);
    assert!(table == include_str!("table.txt"), "table.txt has to be:\n{table}");
}

#[test]
fn without_hooks_a_lease_is_ready_at_once_and_over_at_once() {
    let mut machine = Machine::new(Plan::default(), 0);
    machine.on(Event::Assigned(lease()));
    assert_eq!(
        machine.on(Event::Opened(Epoch(1))),
        [publish(Status::LeaseReady, "Ready for commands")]
    );
    assert_eq!(machine.on(Event::Ended(EndReason::Released)), [Effect::CloseDevices(Epoch(1))]);
}

/// The explanations that an event publishes.
fn words(machine: &mut Machine, event: Event) -> String {
    let effects = machine.on(event).into_iter();
    let texts = effects.filter_map(|effect| {
        let Effect::Publish(_, text) = effect else { return None };
        Some(text)
    });
    texts.collect::<Vec<_>>().join("; ")
}

#[test]
fn the_words_that_clients_see() {
    let before = |verdict| {
        let event = Event::HookDone(Epoch(7), Phase::Before, verdict);
        words(&mut machine(HOOKS, State::BeforeHook(lease(), None)), event)
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
        before(Verdict::Quarantine(text())),
        "beforeLease hook failed (on_failure=quarantine): Hook failed with exit code 1"
    );
    let mut opening = machine(HOOKS, State::Opening(tenancy(Prepared::NotYet), None));
    assert_eq!(
        words(&mut opening, Event::OpenFailed(Epoch(7), "driver serial: no such device".into())),
        "bench not usable: driver serial: no such device"
    );
    let unusable = Quarantine { reason: "no such device".into(), ..quarantine(Cause::Leases) };
    let mut quarantined = machine(HOOKS, State::Quarantined(unusable));
    assert_eq!(words(&mut quarantined, Event::RepairDue), "Repairing the bench; no such device");
    assert_eq!(
        words(&mut quarantined, Event::Maintained(Epoch(8), Err("exit code 1".into()))),
        "quarantined: no such device"
    );
}

#[test]
fn a_warning_of_the_after_hook_explains_the_next_status() {
    let after =
        State::AfterHook(tenancy(Prepared::Passed), rest(EndReason::Released, Then::next_lease()));
    let mut machine = machine(HOOKS, after);
    machine.on(Event::HookDone(Epoch(7), Phase::After, Verdict::Warned("oh".into())));
    machine.on(Event::Closed(Epoch(7)));
    let effects = machine.on(Event::Released(Epoch(7)));
    let text = "[HOOK_WARNING] afterLease hook warning: oh";
    assert_eq!(effects[0], publish(Status::Available, text));
}

#[test]
fn exit_on_lease_end_stops_after_the_first_lease() {
    let plan = Plan { exit_on_lease_end: true, stop: false, ..HOOKS };
    let releasing = State::Releasing(lease(), rest(EndReason::Released, Then::next_lease()));
    let mut machine = machine(plan, releasing);
    let effects = machine.on(Event::Released(Epoch(7)));
    assert_eq!(effects.last(), Some(&Effect::Exit(0)));
    assert_eq!(machine.state(), &State::Stopped);
}

#[test]
fn after_always_a_failure_is_shown_before_the_after_hook_runs() {
    let plan = Plan { after_always: true, ..HOOKS };
    let mut machine = machine(plan, State::BeforeHook(lease(), None));
    let failed = Verdict::EndLease("text".into());
    let effects = machine.on(Event::HookDone(Epoch(7), Phase::Before, failed));
    assert_eq!(effects[1], Effect::ShowFailure(Epoch(7)));
    let parting =
        Parting { reason: EndReason::Failed, prepared: Prepared::Failed, preemption: false };
    assert_eq!(machine.on(Event::Shown(Epoch(7)))[1], Effect::RunAfter(Epoch(7), parting));
}

#[test]
fn failures_in_a_row_take_the_bench_out_of_service_and_a_success_starts_anew() {
    let mut machine = Machine::new(HOOKS, 0);
    let lease_that = |machine: &mut Machine, verdict: Verdict| {
        machine.on(Event::Assigned(lease()));
        machine.on(Event::Opened(machine.epoch));
        machine.on(Event::HookDone(machine.epoch, Phase::Before, verdict));
        machine.on(Event::Ended(EndReason::Released));
        machine.on(Event::HookDone(machine.epoch, Phase::After, Verdict::Passed));
        machine.on(Event::Closed(machine.epoch));
        machine.on(Event::Released(machine.epoch));
    };
    let failed = || Verdict::EndLease("no serial".into());
    for verdict in [failed(), failed(), Verdict::Passed, failed(), failed()] {
        lease_that(&mut machine, verdict);
        assert_eq!(machine.state(), &State::Idle);
    }
    lease_that(&mut machine, failed());
    let reason = "3 leases in a row have failed: no serial";
    let quarantine = machine.journal().unwrap().quarantine;
    assert_eq!(quarantine, Some((reason.to_owned(), Cause::Leases)));
    assert!(matches!(machine.state(), State::Quarantined(_)));
    machine.on(Event::Reinstated);
    assert_eq!((machine.state(), machine.failures), (&State::Idle, 0));
}

#[test]
fn after_a_restart_drivers_are_tried_again_and_leases_are_not_forgiven() {
    let restored = |cause, changes| {
        let quarantine = Some(("text".to_owned(), cause));
        let journal = Journal { quarantine, ..Journal::default() };
        Machine::restored(HOOKS, journal, changes).0
    };
    let mut drivers = restored(Cause::Drivers, None);
    assert!(matches!(drivers.state(), State::Maintaining(Work::Apply(None), Some(_))));
    drivers.on(Event::Maintained(Epoch(1), Ok(())));
    assert_eq!(drivers.state(), &State::Idle);
    assert!(matches!(restored(Cause::Leases, None).state(), State::Quarantined(_)));
    let mut leases = restored(Cause::Leases, Some(Changes::WithHooks));
    leases.on(Event::Maintained(Epoch(1), Ok(())));
    assert!(matches!(leases.state(), State::Quarantined(_)));
}

#[test]
fn changes_wait_for_the_end_of_the_lease() {
    let mut machine = machine(HOOKS, State::Ready(tenancy(Prepared::Passed)));
    assert_eq!(machine.on(Event::Changed(Changes::WithHooks)), []);
    machine.on(Event::Ended(EndReason::Released));
    machine.on(Event::HookDone(Epoch(7), Phase::After, Verdict::Passed));
    machine.on(Event::Closed(Epoch(7)));
    let effects = machine.on(Event::Released(Epoch(7)));
    assert_eq!(effects.last(), Some(&Effect::Maintain(Epoch(8), Task::Apply)));
    machine.on(Event::Maintained(Epoch(8), Ok(())));
    assert_eq!(machine.state(), &State::Idle);
}
