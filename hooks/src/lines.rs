//! From the bytes of a terminal to lines of text.

/// The longest line, in bytes; what is longer goes on as another line. A log record has to fit into
/// one message of the wire, which is at most 4 MiB.
pub const LONGEST_LINE: usize = 1024 * 1024;

/// Cuts output into lines.
///
/// LF, CR and CRLF each end a line, so that a progress bar's states are lines, too. Trailing white
/// space goes, and with it lines that are blank. Bytes that are not UTF-8 become U+FFFD.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes a piece of output and hands on every line that it completes.
    pub fn push(&mut self, mut piece: &[u8], sink: &mut dyn FnMut(String)) {
        while let Some(end) = piece.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.extend(&piece[..end], sink);
            self.complete(self.partial.len(), sink);
            piece = &piece[end + 1..];
        }
        self.extend(piece, sink);
    }

    /// Whether there is output that no line end has completed.
    pub fn has_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Hands on the unfinished line as if it were complete, except for the bytes of a character
    /// that has only half arrived.
    pub fn flush(&mut self, sink: &mut dyn FnMut(String)) {
        let end = self.partial.len() - unfinished_character(&self.partial);
        self.complete(end, sink);
    }

    /// Hands on everything: there will be no more.
    pub fn finish(&mut self, sink: &mut dyn FnMut(String)) {
        self.complete(self.partial.len(), sink);
    }

    fn extend(&mut self, mut piece: &[u8], sink: &mut dyn FnMut(String)) {
        while self.partial.len() + piece.len() > LONGEST_LINE {
            let (head, tail) = piece.split_at(LONGEST_LINE - self.partial.len());
            self.partial.extend_from_slice(head);
            self.flush(sink);
            piece = tail;
        }
        self.partial.extend_from_slice(piece);
    }

    fn complete(&mut self, end: usize, sink: &mut dyn FnMut(String)) {
        let line = String::from_utf8_lossy(&self.partial[..end]);
        let line = line.trim_end();
        if !line.is_empty() {
            sink(line.to_owned());
        }
        self.partial.drain(..end);
    }
}

/// How many bytes at the end are the beginning of a character whose rest is missing.
fn unfinished_character(bytes: &[u8]) -> usize {
    let longest = bytes.len().min(3);
    (1..=longest)
        .find(|&count| {
            let start = bytes[bytes.len() - count];
            let needed = match start {
                0xC2..=0xDF => 2,
                0xE0..=0xEF => 3,
                0xF0..=0xF4 => 4,
                _ => 0,
            };
            let tail = &bytes[bytes.len() - count + 1..];
            needed > count && tail.iter().all(|byte| (0x80..=0xBF).contains(byte))
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        for piece in pieces {
            lines.push(piece, &mut |line| found.push(line));
        }
        lines.finish(&mut |line| found.push(line));
        found
    }

    #[test]
    fn every_kind_of_line_end_ends_a_line() {
        assert_eq!(lines(&[b"one\ntwo\r\nthree\rfour"]), ["one", "two", "three", "four"]);
        assert_eq!(lines(&[b"on", b"e\r", b"\ntwo"]), ["one", "two"]);
        assert_eq!(lines(&[b"10%\r20%\r100%\n"]), ["10%", "20%", "100%"]);
    }

    #[test]
    fn blank_lines_and_trailing_space_go_and_indentation_stays() {
        assert_eq!(lines(&[b"\n\n  indented  \t\n   \n"]), ["  indented"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_marked() {
        assert_eq!(lines(&[b"a\xffb\n"]), ["a\u{fffd}b"]);
        assert_eq!(lines(&[b"\xf0\x9f\n"]), ["\u{fffd}"]);
    }

    #[test]
    fn a_character_is_never_cut_in_two_by_a_flush() {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        let fire = "🔥".as_bytes();
        lines.push(b"hot ", &mut |line| found.push(line));
        lines.push(&fire[..3], &mut |line| found.push(line));
        lines.flush(&mut |line| found.push(line));
        assert!(lines.has_partial());
        lines.push(&fire[3..], &mut |line| found.push(line));
        lines.flush(&mut |line| found.push(line));
        assert!(!lines.has_partial());
        assert_eq!(found, ["hot", "🔥"]);
    }

    #[test]
    fn a_very_long_line_goes_on_in_the_next() {
        let long = "é".repeat(LONGEST_LINE);
        let found = lines(&[long.as_bytes()]);
        assert!(found.iter().all(|line| line.len() <= LONGEST_LINE));
        assert_eq!(found.concat(), long);
    }

    proptest! {
        #[test]
        fn how_output_is_cut_into_pieces_does_not_matter(
            output in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            cut in 0usize..200,
        ) {
            let cut = cut.min(output.len());
            prop_assert_eq!(lines(&[&output]), lines(&[&output[..cut], &output[cut..]]));
        }
    }
}
