//! What a hook prints, and the terminal it prints to.

use anyhow::{Result, ensure};
use indoc::indoc;

use super::cases;
use crate::bench::Bench;
use crate::subject::Exporter;

cases![reaches_the_client_at_once, is_tagged_and_in_order, goes_to_a_terminal];

async fn reaches_the_client_at_once(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(
        bench,
        indoc! {"
            hooks:
              beforeLease:
                script: |
                  echo warming up
                  until [ -e go ]; do sleep 0.05; done
                  echo ready
        "},
    )
    .await?;
    let mut shell = exporter.client().start_shell("echo in the shell")?;
    shell.prints("warming up").await?;
    bench.write("go", "")?;
    let output = shell.ends().await?.ok()?.stdout();
    let places = ["warming up", " ready", "in the shell"].map(|text| output.find(text));
    ensure!(places.is_sorted() && places[0].is_some(), "the hook's lines come before the shell's");
    Ok(())
}

async fn is_tagged_and_in_order(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(
        bench,
        indoc! {r#"
            hooks:
              beforeLease:
                script: |
                  echo "  to stdout"
                  echo "to stderr" >&2
                  echo
                  printf 'with a return\r\n'
                  printf 'not \377 text\n'
                  seq 1 100
                  printf 'without an end'
        "#},
    )
    .await?;
    let mut logs = exporter.client().start_logs()?;
    logs.prints("without an end").await?;
    let expected: Vec<String> = ["  to stdout", "to stderr", "with a return", "not \u{fffd} text"]
        .map(str::to_owned)
        .into_iter()
        .chain((1..=100).map(|number| number.to_string()))
        .chain(["without an end".to_owned()])
        .collect();
    let tagged: Vec<_> = logs
        .lines()
        .iter()
        .filter_map(|line| Some(line.strip_prefix("BEFORE_LEASE_HOOK INFO ")?.to_owned()))
        .collect();
    ensure!(tagged.ends_with(&expected), "the lines should be {expected:?} and are {tagged:?}");
    Ok(())
}

async fn goes_to_a_terminal(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(
        bench,
        indoc! {"
            hooks:
              beforeLease:
                script: |
                  [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo on a terminal
                  [ $(cut -d' ' -f6 /proc/$$/stat) = $$ ] && echo in a session of its own
        "},
    )
    .await?;
    let mut logs = exporter.client().start_logs()?;
    logs.prints("BEFORE_LEASE_HOOK INFO on a terminal").await?;
    logs.prints("BEFORE_LEASE_HOOK INFO in a session of its own").await
}
