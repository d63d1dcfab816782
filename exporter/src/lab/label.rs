//! Labels: what their keys and values may be. The rules are those of Kubernetes, whose labels the
//! protocol has.

use super::quote::quoted;

/// The longest name of a key, and the longest value.
const LONGEST: usize = 63;

/// The longest prefix of a key, and the longest name of a resource.
const LONGEST_DOMAIN: usize = 253;

/// Checks a key: a name, which may have a domain and `/` in front.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if prefix.is_some_and(|prefix| !is_domain(prefix)) {
        return Err(format!("the prefix of the key {} is not a domain", quoted(key)));
    }
    if name.is_empty() || !is_word(name) {
        return Err(format!(
            "the key {} is not one to {LONGEST} letters, digits, '-', '_' and '.', beginning and \
             ending with a letter or digit",
            quoted(key)
        ));
    }
    Ok(())
}

/// Checks a value, which may be empty.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_value(value: &str) -> Result<(), String> {
    if is_word(value) {
        return Ok(());
    }
    Err(format!(
        "the value {} is not up to {LONGEST} letters, digits, '-', '_' and '.', beginning and \
         ending with a letter or digit",
        quoted(value)
    ))
}

/// Whether this is the name that a resource may have: lower case, with dots as in a domain.
pub fn is_domain(name: &str) -> bool {
    let is_part = |part: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = part.as_bytes();
        bytes.iter().all(|byte| inner(*byte) || *byte == b'-')
            && bytes.first().is_some_and(|byte| inner(*byte))
            && bytes.last().is_some_and(|byte| inner(*byte))
    };
    name.len() <= LONGEST_DOMAIN && name.split('.').all(is_part)
}

fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    text.len() <= LONGEST
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && is_edge(bytes.first())
        && is_edge(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_names_with_an_optional_domain() {
        let longest = "a".repeat(63);
        for good in ["board", "a.b_c-D9", "jumpstarter.dev/name", "x/y", &longest] {
            assert_eq!(check_key(good), Ok(()), "{good}");
        }
        let longer = "a".repeat(64);
        let bad = ["", "-a", "a-", "a b", "/a", "a/", "a/b/c", "Upper/a", "a\nb", "ä", &longer];
        for bad in bad {
            assert!(check_key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_may_be_empty_but_not_long() {
        for good in ["", "a", "1.2-rc_3"] {
            assert_eq!(check_value(good), Ok(()), "{good}");
        }
        for bad in ["-", "a/b", "a b", &"a".repeat(64)] {
            assert!(check_value(bad).is_err(), "{bad}");
        }
        let message = check_value(&"x".repeat(1 << 20)).unwrap_err();
        assert!(message.len() < 300, "a long one is not repeated: {message}");
    }

    #[test]
    fn names_are_lower_case_domains() {
        for good in ["a", "lease-1", "0198c0de.lab", &"a".repeat(253)] {
            assert!(is_domain(good), "{good}");
        }
        for bad in ["", ".", "a..b", "-a", "a-", "A", "a/b", "a\n", "a_b", &"a".repeat(254)] {
            assert!(!is_domain(bad), "{bad}");
        }
    }
}
