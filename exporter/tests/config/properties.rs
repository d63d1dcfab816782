//! What holds for every file, however broken.

use std::path::Path;

use exporter::config::{Environment, Mistakes, parse};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A file with every section in it.
const WHOLE: &str = "\
apiVersion: jumpstarter.dev/v1alpha1
kind: ExporterConfig
metadata: {namespace: default, name: \"bench\"}
endpoint: &endpoint grpc.example.com:443
token: *endpoint
tls: {insecure: on, ca: ''}
grpcOptions: {grpc.keepalive_time_ms: 20_000}
export:
  power: &power
    type: jumpstarter_driver_power.driver.MockPower
    methods_description: {on: Switch on}
    config: {uuid: 5d3cb0d1-2a0f-4c0e-9a3c-0f0d6a1b2c3d, labels: {rack: '7'}}
  board:
    children:
      power: {ref: power}
      spare:
        <<: *power
        config: {list: [1, .5, 0x1F, ~, 2024-01-31, !!str 5]}
hooks:
  beforeLease:
    script: |
      j power on
      sleep 5
    timeout: 1:30
    onFailure: endLease
  afterLease:
    script: >-
      j power
      off
failureDetection: {maxRapidFailures: '5'}
";

/// What makes YAML hard.
const PIECES: &[&str] = &[
    " ",
    "  ",
    "\n",
    "\n  ",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    " #",
    "'",
    "\"",
    "&power ",
    "*power",
    "*",
    "!",
    "!!str ",
    "!!int ",
    "|\n",
    ">",
    "? ",
    "%",
    "@",
    "`",
    "\t",
    "<<: ",
    "on",
    "~",
    "\\",
    "ü",
    "\u{2028}",
    "\u{85}",
    "\u{0}",
    "...",
    "\n---\n",
    "\r",
    "\r\n",
    "0x",
    "1e9999",
    "type: ",
    "ref: power",
    "children: ",
    "hooks: ",
];

/// A change of a file: at a place, this many characters give way to a piece.
fn change() -> impl Strategy<Value = (Index, usize, &'static str)> {
    (any::<Index>(), 0..8_usize, select(PIECES))
}

fn changed(source: &str, changes: &[(Index, usize, &str)]) -> String {
    let mut characters: Vec<char> = source.chars().collect();
    for (place, length, piece) in changes {
        let start = place.index(characters.len() + 1);
        let end = (start + length).min(characters.len());
        characters.splice(start..end, piece.chars());
    }
    characters.into_iter().collect()
}

fn found(source: &[u8]) -> Mistakes {
    match parse(Path::new("bench.yaml"), source, &Environment::default()) {
        Ok(loaded) => {
            assert!(!loaded.warnings.are_errors());
            loaded.warnings
        }
        Err(mistakes) => {
            assert!(mistakes.are_errors());
            mistakes
        }
    }
}

/// Checks that every mistake is one line and points into the file, in order.
fn check(source: &[u8]) {
    let found = found(source);
    let text = String::from_utf8_lossy(source).replace("\r\n", "\n").replace('\r', "\n");
    let lengths: Vec<_> = text.split('\n').map(|line| line.chars().count()).collect();
    for mistake in found.iter() {
        let position = mistake.position;
        let length = lengths.get(position.line - 1);
        assert!(
            length.is_some_and(|length| (1..=length + 1).contains(&position.column)),
            "{mistake:?} is outside of {text:?}"
        );
        assert!(!mistake.message.is_empty(), "{mistake:?}");
    }
    let mistakes = found.iter().count();
    assert_eq!(found.to_string().lines().count(), mistakes);
    assert!(found.iter().map(|mistake| mistake.position).is_sorted());
}

#[test]
fn the_whole_file_is_right_before_it_is_changed() {
    assert_eq!(found(WHOLE.as_bytes()).to_string(), "");
}

proptest! {
    #[test]
    fn any_bytes_are_accepted_or_refused(source in vec(any::<u8>(), 0..200)) {
        check(&source);
    }

    #[test]
    fn any_text_is_accepted_or_refused(pieces in vec(select(PIECES), 0..30)) {
        check(pieces.concat().as_bytes());
    }

    #[test]
    fn a_changed_file_is_accepted_or_refused(changes in vec(change(), 1..6)) {
        check(changed(WHOLE, &changes).as_bytes());
    }

    #[test]
    fn a_key_with_one_letter_too_many_is_recognised(
        key in select(&["endpoint", "grpcOptions", "description", "hooks", "exitOnLeaseEnd"][..]),
        place in any::<Index>(),
        letter in "[a-z]",
    ) {
        let mut misspelt = key.to_owned();
        misspelt.insert_str(place.index(key.len()), &letter);
        let source = super::file(&format!("{misspelt}: x"));
        let hint = format!("2:1: warning: {misspelt}: unknown key; did you mean `{key}`?");
        prop_assert_eq!(super::lines(&source), [hint]);
    }
}
