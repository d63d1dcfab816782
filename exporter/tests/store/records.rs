//! Records to keep.

use std::path::Path;
use std::time::Duration;

use exporter::config::export::Stage;
use exporter::lease::Lease;
use exporter::lease::machine::journal::Progress;
use exporter::lease::machine::{Cause, EndReason, Phase, Prepared};
use exporter::store::{
    AppliedDriver, Capture, DoneStage, End, HookEvent, Output, Quarantined, Recovery, RunBegun,
    RunEnded, RunStatus, Store, StoreError, Subject, Write,
};
use jiff::Timestamp;
use uuid::Uuid;

/// Far enough ahead not to be forgotten for its age.
pub(crate) const SINCE: &str = "2200-03-04T05:06:07.123456789Z";

/// Opens a store that has to be free of complaints.
pub(crate) fn open(dir: &Path) -> (Store, Recovery) {
    Store::open(dir).unwrap()
}

/// What `hilt run` would say of a directory.
pub(crate) fn refusal(dir: &Path) -> String {
    let refused: StoreError = Store::open(dir).unwrap_err();
    refused.to_string().replace(&*dir.to_string_lossy(), "DIR")
}

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn lease(name: &str, progress: Progress) -> (Lease, Progress) {
    let lease = Lease {
        id: id(name),
        name: name.into(),
        client: "ann".into(),
        context: [("ticket".to_owned(), "\"42\" €".to_owned())].into(),
    };
    (lease, progress)
}

pub(crate) fn wrote(name: &str, progress: Progress) -> Write {
    let (lease, progress) = lease(name, progress);
    Write::Lease(lease, progress)
}

pub(crate) fn cleaning_up() -> Progress {
    Progress::CleaningUp(Prepared::Warned, EndReason::Expired)
}

pub(crate) fn begun(event: HookEvent, started: &str) -> RunBegun {
    let subject = match event {
        HookEvent::Lease(_) => Subject::Lease { name: "first".into() },
        HookEvent::Exporter(_) | HookEvent::Repair => Subject::Exporter { name: "bench".into() },
        HookEvent::Driver(_) => Subject::Driver {
            path: "board.power".into(),
            version: Some("1.4.0".into()),
            hash: "abc".into(),
        },
    };
    let lease = matches!(event, HookEvent::Lease(_)).then(|| lease("first", Progress::Over).0.id);
    RunBegun { id: Uuid::new_v4(), event, subject, lease, started: time(started) }
}

pub(crate) fn ended(begun: &RunBegun, status: RunStatus, output: &str) -> RunEnded {
    let exit_code = match status {
        RunStatus::Success => Some(0),
        RunStatus::Failure => Some(3),
        RunStatus::Timeout => None,
    };
    RunEnded {
        id: begun.id,
        status,
        exit_code,
        signal: None,
        detail: None,
        duration: Duration::from_micros(1_234_567),
        output: text(output),
    }
}

pub(crate) fn text(text: &str) -> Output {
    let mut capture = Capture::default();
    capture.push(text);
    capture.finish()
}

pub(crate) fn driver(path: &str, hash: &str) -> AppliedDriver {
    AppliedDriver {
        path: path.into(),
        type_name: "jumpstarter_driver_power.driver.MockPower".into(),
        version: None,
        hash: hash.into(),
        definition: "{}".into(),
    }
}

/// One change of every kind, and what is left when all of them are made.
pub(crate) fn one_of_each() -> (Vec<Write>, Recovery) {
    let before = begun(HookEvent::Lease(Phase::Before), "2200-03-04T05:00:00Z");
    let install = begun(HookEvent::Driver(Stage::PreInstall), "2200-03-04T05:00:01Z");
    let update = begun(HookEvent::Driver(Stage::PreUpdate), "2200-03-04T05:00:02Z");
    let (second, _) = lease("second", Progress::Over);
    let after = RunBegun {
        lease: Some(second.id),
        ..begun(HookEvent::Lease(Phase::After), "2200-03-04T05:00:03Z")
    };
    let repair = begun(HookEvent::Repair, "2200-03-05T05:00:00Z");
    let process = Uuid::from_u128(42);
    let quarantine =
        Quarantined { reason: "no such hub".into(), cause: Cause::Drivers, since: time(SINCE) };
    let writes = vec![
        wrote("first", Progress::Preparing),
        wrote("first", Progress::Over),
        wrote("second", Progress::Preparing),
        wrote("second", Progress::Prepared(Prepared::Warned)),
        wrote("second", cleaning_up()),
        Write::RunBegun(before.clone()),
        Write::RunBegun(install.clone()),
        Write::RunEnded(ended(&before, RunStatus::Success, "done\n")),
        Write::DriverApplied(driver("power", "1")),
        Write::DriverApplied(driver("board.power", "2")),
        Write::DriverApplied(driver("gone", "3")),
        Write::DriverApplied(driver("power", "4")),
        Write::DriverRemoved { path: "gone".into() },
        Write::RunBegun(update.clone()),
        Write::RunEnded(ended(&update, RunStatus::Success, "")),
        Write::RunBegun(after.clone()),
        Write::RunEnded(ended(&after, RunStatus::Failure, "")),
        Write::Process(process),
        Write::QuarantineLifted,
        Write::Quarantined(quarantine.clone()),
        Write::RunBegun(repair.clone()),
        Write::RunEnded(ended(&repair, RunStatus::Success, "")),
        Write::FailuresInARow(2),
    ];
    let left = Recovery {
        lease: Some(lease("second", cleaning_up())),
        returned: Some(lease("first", Progress::Over).0),
        unfinished_runs: vec![install],
        drivers: vec![driver("board.power", "2"), driver("power", "4")],
        quarantine: Some(quarantine),
        repaired: true,
        failures: 2,
        ended: vec![(HookEvent::Lease(Phase::After), End::Exited(3))],
        process: Some(process),
        stages: vec![DoneStage {
            path: "board.power".into(),
            hash: "abc".into(),
            stage: Stage::PreUpdate,
        }],
    };
    (writes, left)
}

/// The same id for the same name.
fn id(name: &str) -> Uuid {
    let mut bytes = [0; 16];
    for (byte, letter) in bytes.iter_mut().zip(name.bytes().rev()) {
        *byte = letter;
    }
    Uuid::from_bytes(bytes)
}
