//! From a script's bytes to text, chunk by chunk.

/// Turns UTF-8 into text, keeps a character that is cut by the end of a chunk for the next one, and
/// puts U+FFFD in the place of what is no UTF-8.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The beginning of a character, at most 3 bytes.
    partial: Vec<u8>,
}

impl Decoder {
    /// The text of the next bytes, as far as it is complete.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> String {
        self.partial.extend_from_slice(bytes);
        let whole = self.partial.len() - incomplete(&self.partial);
        let text = String::from_utf8_lossy(&self.partial[..whole]).into_owned();
        self.partial.drain(..whole);
        text
    }

    /// What is left when no more bytes come.
    pub(super) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.partial)).into_owned()
    }
}

/// How many bytes at the end could be the beginning of a character.
fn incomplete(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(3);
    (from..bytes.len())
        .find(|&start| {
            std::str::from_utf8(&bytes[start..])
                .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        })
        .map_or(0, |start| bytes.len() - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_not_cut() {
        let text = "aä€😀z";
        for size in 1..=text.len() {
            let mut decoder = Decoder::default();
            let chunks: Vec<_> =
                text.as_bytes().chunks(size).map(|chunk| decoder.decode(chunk)).collect();
            assert_eq!(chunks.concat(), text, "in chunks of {size}");
            assert_eq!(decoder.finish(), "");
        }
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(b"a\xff\xfeb\x80"), "a\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!(decoder.decode(b"\xe2\x82"), "");
        assert_eq!(decoder.decode(b"x"), "\u{fffd}x");
        assert_eq!(decoder.decode(b"\xf0\x9f"), "");
        assert_eq!(decoder.finish(), "\u{fffd}");
    }
}
