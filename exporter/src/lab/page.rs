//! Lists in pages: what comes next is told by a token that only the server understands.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// How many are on a page at most: a whole page has to fit into one message.
const LONGEST: usize = 500;

/// What the tokens of this version begin with.
const VERSION: &str = "1\0";

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The name after which it begins; empty for the beginning.
    pub after: String,
    /// How many are wanted.
    pub size: usize,
}

/// A token that no list has given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the provided page token is not valid; list again from the beginning")]
pub struct BadToken;

impl Page {
    /// What a request asks for. No size, or one below nought, leaves it to the server.
    ///
    /// # Errors
    ///
    /// The token is none.
    pub fn of(size: i32, token: &str) -> Result<Self, BadToken> {
        let size = match usize::try_from(size) {
            Ok(0) | Err(_) => LONGEST,
            Ok(size) => size.min(LONGEST),
        };
        if token.is_empty() {
            return Ok(Self { after: String::new(), size });
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| BadToken)?;
        let text = String::from_utf8(bytes).map_err(|_| BadToken)?;
        let after = text.strip_prefix(VERSION).ok_or(BadToken)?.to_owned();
        Ok(Self { after, size })
    }

    /// Cuts a list that has one more than was asked for, if there is one. Returns the token for
    /// what comes next, which is empty at the end.
    pub fn cut<T>(&self, list: &mut Vec<T>, name: impl Fn(&T) -> &str) -> String {
        if list.len() <= self.size {
            return String::new();
        }
        list.truncate(self.size);
        list.last().map(|last| token(name(last))).unwrap_or_default()
    }
}

fn token(after: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{VERSION}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_lead_through_the_whole_list() {
        let all: Vec<_> = (0..7).map(|number| format!("lease-{number}")).collect();
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let page = Page::of(3, &token).unwrap();
            let rest = all.iter().filter(|name| **name > page.after);
            let mut list: Vec<_> = rest.take(page.size + 1).cloned().collect();
            token = page.cut(&mut list, String::as_str);
            seen.extend(list);
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_size_may_be_missing_or_absurd() {
        for (size, expected) in [(0, LONGEST), (-1, LONGEST), (1, 1), (i32::MAX, LONGEST)] {
            assert_eq!(Page::of(size, "").unwrap().size, expected);
        }
    }

    #[test]
    fn a_token_of_somebody_elses_making_is_refused() {
        for token in ["x", "!", "MA", &"A".repeat(1 << 20)] {
            assert_eq!(Page::of(1, token), Err(BadToken));
        }
    }
}
