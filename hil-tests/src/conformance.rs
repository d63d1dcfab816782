//! The conformance suite: the same cases, with the reference's own unmodified client, against two
//! exporters.
//!
//! A **case** (in `cases`) writes an exporter configuration, starts an exporter on its own `bench`,
//! uses it through the `client`, and says what has to come out. It is tried on the reference, which
//! shows that the case states the protocol and not our reading of it, and on Hilt. Where the reference
//! itself is wrong, the case asks for what is right, and `known` lists what the reference does instead;
//! that, too, is checked. What the reference has in another program, or not at all, is tried on Hilt
//! alone, with the same client. **Peers** (in `peers`) stand at the far end of a driver: the device on the
//! serial line, the web server with the image.
//!
//! One case on one subject is a trial, named `hilt::power::on_off`. `EXPORTER_UNDER_TEST`
//! (`python`, `hilt`, `both`) chooses the subjects. Trials need the virtual environment and the
//! binary that `hil-tests/run` prepares, and nothing else.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

use crate::bench::Bench;
use crate::cases::{self, Case};
use crate::prepared::Prepared;
use crate::subject::{self, Subject};

/// A trial mostly waits for the client's interpreter to start, so there are more of them than
/// processors.
const TRIALS_AT_ONCE: usize = 3;

/// Runs the trials that the arguments and the environment ask for.
///
/// # Errors
///
/// What keeps the suite from running at all; a trial that fails is an exit code.
pub fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(TRIALS_AT_ONCE);

    let subjects = subject::under_test()?;
    let prepared = Prepared::of_this_tree()?;
    if !arguments.list {
        prepared.must_be_there()?;
    }
    let runtime = Arc::new(Runtime::new().context("starting the runtime")?);
    let trials = subjects
        .into_iter()
        .flat_map(|subject| {
            let own = if subject == Subject::Hilt { cases::of_hilt() } else { Vec::new() };
            cases::all().into_iter().chain(own).map(move |case| (subject, case))
        })
        .map(|(subject, case)| trial(subject, case, &prepared, &runtime))
        .collect();

    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        let summary = format!(
            "conformance: {} passed, {} failed",
            conclusion.num_passed, conclusion.num_failed
        );
        prepared.write_summary("conformance", &summary)?;
    }
    Ok(conclusion.exit_code())
}

/// The trial of one case on one subject, marked where the subject is the reference and differs.
fn trial(subject: Subject, case: Case, prepared: &Prepared, runtime: &Arc<Runtime>) -> Trial {
    let known = if subject == Subject::Python { case.known } else { &[] };
    let (prepared, runtime) = (prepared.clone(), Arc::clone(runtime));
    Trial::test(format!("{subject}::{}", case.name), move || {
        let bench = Bench::new(subject, known, prepared)
            .map_err(|error| Failed::from(format!("{error:#}")))?;
        let outcome =
            runtime.block_on((case.run)(&bench)).and_then(|()| bench.every_difference_was_met());
        outcome.map_err(|error| Failed::from(format!("{error:#}\n{}", bench.report())))
    })
    .with_kind(if known.is_empty() { "" } else { "differs" })
}
