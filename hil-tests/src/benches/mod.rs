//! The benches: the same cases on every one of them.
//!
//! A bench is a file in `hil-tests/benches/`, or somebody's own; `description` has its format. It
//! says where its exporter runs, which devices are emulated for it, how the exporter is configured,
//! and what the bench can do. A **case** (in `cases`) says what it needs of a bench; on a bench that
//! can't, it is skipped with the reason that the bench gives. A **rig** is a bench that is set up for
//! one case, with the devices that the case plays with.
//!
//! ```text
//! sim      the host; devices shown to the exporter by umockdev, terminals, loop devices
//! kernel   a Linux kernel for each trial, with its own drivers and emulated devices under them
//! dutlink  the same with a DUT Link, which is a power supply, a mux and a console
//! dut      the same, and a board that boots its firmware from the card
//! lab      real devices: HIL_BENCH=mylab.yaml
//! ```
//!
//! One case on one bench is a trial, named `kernel::power::switches`. `HIL_TIERS` chooses benches
//! (`sim,kernel`, or `none`); `dutlink` belongs to `kernel`. A tier that this machine can't have is skipped with the reason; with
//! `CI=true` it is a failure.

mod cases;
mod description;
mod devices;
mod rig;
mod tier;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Runtime;

use self::cases::Case;
use self::description::{Description, Place};
use self::rig::Rig;
pub(crate) use self::rig::preload;
use self::tier::Tier;
use crate::prepared::Prepared;

/// Set inside of a kernel: the one trial that it was started for.
const TRIAL: &str = "HIL_TRIAL";

/// Why trials were skipped, and how many for each reason.
type Skipped = Arc<Mutex<BTreeMap<String, usize>>>;

/// Runs the trials that the arguments and the environment ask for.
///
/// # Errors
///
/// What keeps them from running at all; a trial that fails is an exit code.
pub fn main() -> Result<ExitCode> {
    let prepared = Prepared::of_this_tree()?;
    let benches = benches()?;
    if let Ok(name) = env::var(TRIAL) {
        return inside(&name, benches, &prepared);
    }

    let mut arguments = Arguments::from_args();
    // Each kernel has one processor, and the cases on the host mostly wait.
    arguments.test_threads.get_or_insert(2);
    if benches.iter().any(|bench| bench.content.place == Place::Lab) {
        // There is only one of each device.
        arguments.test_threads = Some(1);
    }
    let names: Vec<_> = benches.iter().map(|bench| bench.name.as_str()).collect();
    let names = names.join("-");
    let skipped = Skipped::default();
    let mut trials = Vec::new();
    for bench in benches {
        let tier = Arc::new(Tier::of(&bench));
        let bench = Arc::new(bench);
        for case in cases::all() {
            trials.push(trial(&bench, &tier, case, &prepared, &skipped));
        }
    }

    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list && !names.is_empty() {
        let mut summary = String::new();
        for (reason, count) in &*skipped.lock().unwrap_or_else(PoisonError::into_inner) {
            summary.push_str(&format!("{count} skipped for {reason}\n"));
        }
        summary.push_str(&format!(
            "{names}: {} passed, {} failed, {} skipped",
            conclusion.num_passed, conclusion.num_failed, conclusion.num_ignored
        ));
        prepared.write_summary(&names, &summary)?;
    }
    Ok(conclusion.exit_code())
}

/// Every bench that is asked for.
fn benches() -> Result<Vec<Description>> {
    let own = env::var_os("HIL_BENCH").map(PathBuf::from);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    let files = match own {
        Some(file) => vec![file],
        None => ["sim", "kernel", "dutlink", "dut"]
            .map(|name| directory.join(name).with_extension("yaml"))
            .into(),
    };
    let tiers = env::var("HIL_TIERS").unwrap_or_default();
    let is_wanted =
        |bench: &Description| tiers.is_empty() || tiers.split(',').any(|tier| tier == bench.tier());
    let mut benches = Vec::new();
    for file in files {
        benches.push(Description::read(&file)?);
    }
    benches.retain(is_wanted);
    Ok(benches)
}

fn trial(
    bench: &Arc<Description>,
    tier: &Arc<Tier>,
    case: Case,
    prepared: &Prepared,
    skipped: &Skipped,
) -> Trial {
    let name = format!("{}::{}", bench.name, case.name);
    let (bench, tier) = (Arc::clone(bench), Arc::clone(tier));
    let (prepared, skipped) = (prepared.clone(), Arc::clone(skipped));
    Trial::ignorable_test(name.clone(), move || {
        let skip = |reason: String| {
            *skipped
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(reason.clone())
                .or_default() += 1;
            Ok(Completion::ignored_with(reason))
        };
        if let Some(reason) = bench.why_not(case.needs) {
            return skip(reason);
        }
        if let Some(reason) = tier.missing() {
            return match tier::is_required() {
                true => Err(Failed::from(format!("CI=true, and {reason}"))),
                false => skip(reason),
            };
        }
        let outcome = match tier.runner() {
            Some(runner) => runner.run(&name),
            None => here(&bench, &case, &prepared),
        };
        outcome.map(|()| Completion::Completed).map_err(|error| Failed::from(format!("{error:#}")))
    })
}

/// The one trial that this kernel was started for.
fn inside(name: &str, benches: Vec<Description>, prepared: &Prepared) -> Result<ExitCode> {
    let (bench, case) = name.split_once("::").context("a trial has two names")?;
    let bench = benches.into_iter().find(|known| known.name == bench).context("no such bench")?;
    let case = cases::all().into_iter().find(|known| known.name == case).context("no such case")?;
    here(&Arc::new(bench), &case, prepared)?;
    Ok(ExitCode::SUCCESS)
}

/// Sets the bench up where this program runs, and tries the case on it.
fn here(bench: &Arc<Description>, case: &Case, prepared: &Prepared) -> Result<()> {
    let runtime = Runtime::new().context("starting the runtime")?;
    runtime.block_on(async {
        let mut rig = Rig::set_up(Arc::clone(bench), prepared.clone(), case.needs).await?;
        let outcome = (case.run)(&rig).await;
        let outcome = outcome.and(rig.emulators_are_well());
        outcome.with_context(|| rig.report())
    })
}
