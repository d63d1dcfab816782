//! Every test of the workspace, by its path.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The tests of all crates, and the cases of the conformance suite:
/// `exporter::lifecycle::lease::two_hooks_may_be_the_same_file`, `hil-tests::lease::before_warn`.
///
/// A path has the crate, the file's place below `src` or `tests`, and the function; `tests` modules
/// don't count. Tests that are ignored are no tests.
pub(crate) fn tests() -> BTreeSet<String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut tests = BTreeSet::new();
    for name in ["drivers", "exporter", "hooks"] {
        for place in ["src", "tests"] {
            let root = workspace.join(name).join(place);
            for file in sources(&root) {
                let module = module(name, file.strip_prefix(&root).unwrap());
                let source = fs::read_to_string(&file).unwrap();
                tests.extend(
                    functions(&source).iter().map(|function| format!("{module}::{function}")),
                );
            }
        }
    }
    let root = workspace.join("hil-tests/src/cases");
    for file in sources(&root) {
        let module = module("hil-tests", file.strip_prefix(&root).unwrap());
        let source = fs::read_to_string(&file).unwrap();
        tests.extend(cases(&source).iter().map(|case| format!("{module}::{case}")));
    }
    tests
}

/// The Rust files below a directory, which need not be there.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let sources = paths.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    sources.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The path of the module that a file is.
fn module(name: &str, file: &Path) -> String {
    let file = file.with_extension("");
    let parts = file.iter().map(|part| part.to_str().unwrap());
    let parts = parts.filter(|part| !["lib", "main", "mod", "tests"].contains(part));
    std::iter::once(name).chain(parts).collect::<Vec<_>>().join("::")
}

/// The test functions of a source file.
fn functions(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            is_test = false;
        } else if let Some(rest) = line.trim_start_matches("async ").strip_prefix("fn ") {
            let name = rest.split('(').next().unwrap_or(rest);
            if std::mem::take(&mut is_test) {
                found.push(name);
            }
        }
    }
    found
}

/// The cases of a theme: `cases![name, other[AKnownDifference]];`.
fn cases(source: &str) -> Vec<&str> {
    let list = source.split_once("\ncases![").and_then(|(_, rest)| rest.split_once("];\n"));
    let Some((list, _)) = list else { return Vec::new() };
    let names = list.split(',').map(|item| item.split('[').next().unwrap_or(item).trim());
    // What stands after a comma in brackets is a difference, not a case.
    names.filter(|name| name.starts_with(|first: char| first.is_ascii_lowercase())).collect()
}

#[test]
fn tests_and_cases_are_found_in_their_sources() {
    let source = "#[test]\nfn one() {}\n\n    #[tokio::test(flavor = \"x\")]\n    #[expect(y)]\n    \
                  async fn two() {}\n#[test]\n#[ignore]\nfn three() {}\nfn four() {}\n";
    assert_eq!(functions(source), ["one", "two"]);
    let source = "\ncases![\n    one,\n    two[First, Second],\n    three\n];\n";
    assert_eq!(cases(source), ["one", "two", "three"]);
    assert_eq!(
        module("exporter", Path::new("lifecycle/apply/tests.rs")),
        "exporter::lifecycle::apply"
    );
}
