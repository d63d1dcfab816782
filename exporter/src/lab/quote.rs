//! What a client has sent, short and harmless enough to be repeated to it or in the log.

/// How much of it is shown, in characters.
const SHOWN: usize = 64;

/// In quotation marks, with control characters escaped and only its beginning if it is long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}... ({} bytes)", &text[..end], text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_on_one_line_and_short() {
        assert_eq!(quoted("a\"b\n"), r#""a\"b\n""#);
        let long = quoted(&"ä".repeat(1 << 20));
        assert_eq!(long, format!("\"{}\"... (2097152 bytes)", "ä".repeat(64)));
    }
}
