//! Which known word somebody may have meant.

/// Longer words than this are no typing mistakes.
const LONGEST: usize = 200;

/// The known word that `word` is a misspelling of.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (nearest, distance) = closest(word, known)?;
    let length = word.chars().count().max(nearest.chars().count());
    (distance * 3 <= length).then_some(nearest)
}

/// The known word that is closest to `word`, be it a misspelling or not, and how far it is.
///
/// Casing, hyphens and underscores don't count, so that `exit_on_lease_end` is
/// `exitOnLeaseEnd`.
pub(super) fn closest<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<(&'a str, usize)> {
    if word.len() > LONGEST {
        return None;
    }
    let word = plain(word);
    known
        .into_iter()
        .map(|known| (known, strsim::damerau_levenshtein(&word, &plain(known))))
        .min_by_key(|(_, distance)| *distance)
}

fn plain(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_are_recognised_and_other_words_are_not() {
        let known = ["hooks", "exitOnLeaseEnd", "token", "tls", "type"];
        for (word, meant) in [
            ("hook", Some("hooks")),
            ("exit_on_lease_end", Some("exitOnLeaseEnd")),
            ("exitOnLeaseend", Some("exitOnLeaseEnd")),
            ("tokne", Some("token")),
            ("typ", Some("type")),
            ("TLS", Some("tls")),
            ("grpcConfig", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        assert_eq!(nearest(&"t".repeat(1000), known), None);
        assert_eq!(nearest("a", []), None);
    }
}
