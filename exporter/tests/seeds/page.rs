//! The lists of sentences, and whether they are true.
//!
//! ```text
//! # A heading of the page
//! What it says, in our words, on a line of its own
//!     crate::module::test_that_shows_it
//!     no test: why there is none, if there is none
//! ```

use std::collections::BTreeSet;

use crate::suite;

const PAGES: [(&str, &str); 3] = [
    ("jumpstarter", include_str!("jumpstarter.txt")),
    ("skypilot", include_str!("skypilot.txt")),
    ("chef", include_str!("chef.txt")),
];

/// What stands for a test where there is none.
const NONE: &str = "no test: ";

/// A sentence of a page, with what is said of it: tests, or the reason why there is none.
#[derive(Debug, PartialEq, Eq)]
struct Sentence<'p> {
    says: &'p str,
    shown_by: Vec<&'p str>,
}

fn sentences(page: &str) -> Vec<Sentence<'_>> {
    let mut sentences: Vec<Sentence<'_>> = Vec::new();
    for line in page.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        match line.strip_prefix("    ") {
            None => sentences.push(Sentence { says: line, shown_by: Vec::new() }),
            Some(shown) => {
                let sentence = sentences.last_mut().expect("a sentence comes before its tests");
                sentence.shown_by.push(shown);
            }
        }
    }
    sentences
}

/// The tests that a page names.
fn named(page: &str) -> Vec<&str> {
    let all = sentences(page).into_iter().flat_map(|sentence| sentence.shown_by);
    all.filter(|shown| !shown.starts_with(NONE)).collect()
}

#[test]
fn every_sentence_has_a_test_or_one_reason_to_have_none() {
    for (name, page) in PAGES {
        for Sentence { says, shown_by } in sentences(page) {
            let reasons = shown_by.iter().filter(|shown| shown.starts_with(NONE)).count();
            let is_complete = !shown_by.is_empty() && (reasons == 0 || shown_by.len() == 1);
            assert!(is_complete, "{name}: {says}: {shown_by:?}");
        }
    }
}

#[test]
fn no_sentence_is_listed_twice() {
    for (name, page) in PAGES {
        let mut seen = BTreeSet::new();
        for Sentence { says, .. } in sentences(page) {
            assert!(seen.insert(says), "{name}: {says}");
        }
    }
}

#[test]
fn every_test_that_a_page_names_exists() {
    let tests = suite::tests();
    for (name, page) in PAGES {
        let missing: Vec<_> =
            named(page).into_iter().filter(|test| !tests.contains(*test)).collect();
        assert!(missing.is_empty(), "{name}.txt names what is no test: {missing:#?}");
    }
}

#[test]
fn every_test_of_a_page_is_on_its_list() {
    let tests = suite::tests();
    for (name, page) in PAGES {
        let named = named(page);
        let own = format!("exporter::seeds::{name}::");
        let own: Vec<_> = tests.iter().filter(|test| test.starts_with(&own)).collect();
        assert!(!own.is_empty(), "{name} has tests of its own");
        let unlisted: Vec<_> =
            own.into_iter().filter(|test| !named.contains(&test.as_str())).collect();
        assert!(unlisted.is_empty(), "{name}.txt has no sentence for {unlisted:#?}");
    }
}

#[test]
fn a_list_has_sentences_below_headings_and_tests_below_sentences() {
    let page = "# Heading\n\nOne\n    a::b\n    a::c\nTwo\n    no test: advice\n";
    assert_eq!(
        sentences(page),
        [
            Sentence { says: "One", shown_by: vec!["a::b", "a::c"] },
            Sentence { says: "Two", shown_by: vec!["no test: advice"] },
        ]
    );
    assert_eq!(named(page), ["a::b", "a::c"]);
}
