//! The six stages: when each runs, and what comes of its failure.

use super::{
    POWER, STAGES, all_stages, applied, change, driver, exported, hooks, shown, stop, versioned,
};
use crate::bench::Bench;
use crate::record::{events, outputs};

const SHELL: &str = "jumpstarter_driver_shell.driver.Shell";

/// The driver itself says which version of it a hook has to do with.
#[tokio::test(flavor = "multi_thread")]
async fn each_stage_finds_the_driver_before_or_after_its_change() {
    let version = |n| {
        let script = "j skill version 2>&1 || echo not there";
        let hooks = hooks(&STAGES.map(|stage| (stage, script)));
        let methods = format!("    config: {{methods: {{version: 'echo version {n}'}}}}\n");
        exported(&(driver("skill", &(methods + &hooks)).replace(POWER, SHELL)))
    };
    let bench = Bench::new("");
    change(&bench, &[&version(1), &version(2), "export: {}\n"]).await;
    let said = |stage| outputs(&bench, stage).remove(0);
    for (stage, expected) in [
        ("preInstall", "not there\n"),
        ("postInstall", "version 1\n"),
        ("preUpdate", "version 1\n"),
        ("postUpdate", "version 2\n"),
        ("preDelete", "version 2\n"),
        ("postDelete", "not there\n"),
    ] {
        assert!(said(stage).ends_with(expected), "{stage}: {}", said(stage));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_pre_install_aborts_the_install() {
    let bench = Bench::new(&exported(&driver("power", &all_stages("preInstall"))));
    let mut exporter = applied(&bench).await;
    assert_eq!(shown(&mut exporter).await, [""; 0]);
    let failure = "power: preInstall hook failed with exit code 1; the driver is not installed";
    assert!(exporter.said().contains(failure), "{}", exporter.said());
    stop(exporter).await;
    assert_eq!(events(&bench), ["preInstall"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_pre_update_aborts_the_update() {
    let version = |version, failing| exported(&driver("power", &versioned(version, failing)));
    let bench = Bench::new(&version(1, ""));
    change(&bench, &[&version(1, ""), &version(2, "preUpdate")]).await;
    let failure = "power: preUpdate hook failed with exit code 1; the driver stays as it was";
    assert!(bench.lines("exporter.log").iter().any(|line| line.contains(failure)));
    // It is still the first version that is to be deleted.
    change(&bench, &["export: {}\n"]).await;
    assert_eq!(
        events(&bench),
        ["preInstall", "postInstall", "preUpdate", "preDelete", "postDelete"]
    );
    assert_eq!(outputs(&bench, "preDelete"), ["preDelete 1\n"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_pre_delete_aborts_the_deletion() {
    let bench = Bench::new(&exported(&driver("power", &all_stages("preDelete"))));
    stop(applied(&bench).await).await;
    bench.configure("export: {}\n");
    let mut exporter = applied(&bench).await;
    assert_eq!(shown(&mut exporter).await, ["power"]);
    let failure = "power: preDelete hook failed with exit code 1; the driver stays as it was";
    assert!(exporter.said().contains(failure), "{}", exporter.said());
    assert_eq!(events(&bench), ["preInstall", "postInstall", "preDelete"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_post_hook_is_reported_and_nothing_is_rolled_back() {
    for (failing, left) in
        [("postInstall", &["power"][..]), ("postUpdate", &["power"]), ("postDelete", &[])]
    {
        let version = |n| exported(&driver("power", &versioned(n, failing)));
        let nothing = "export: {}\n".to_owned();
        let configurations = match failing {
            "postInstall" => vec![version(1)],
            "postUpdate" => vec![version(1), version(2)],
            _ => vec![version(1), nothing],
        };
        let bench = Bench::new("");
        for configuration in &configurations {
            change(&bench, &[configuration]).await;
        }
        let before = events(&bench);
        let failure = format!("{failing} hook failed with exit code 1; what was done stays done");
        let said = bench.lines("exporter.log");
        assert_eq!(before.last(), Some(&failing));
        assert!(said.iter().any(|line| line.contains(&failure)), "{said:?}");
        // The change is made: there is nothing to do about it any more.
        let mut exporter = applied(&bench).await;
        assert_eq!(shown(&mut exporter).await, left, "{failing}");
        assert_eq!(events(&bench), before);
    }
}
