//! A script's output, of which a bounded part is kept.

/// How much of an output is kept, in bytes.
pub const CAP: usize = 1 << 20;

/// How much of it is the beginning; the rest is the end.
const HALF: usize = CAP / 2;

/// The beginning and the end of an output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Its first 512 KiB; all of it if it is shorter.
    pub head: String,
    /// Its last 512 KiB, as far as they are not in `head`.
    pub tail: String,
    /// How many bytes between them are not kept.
    pub omitted: u64,
}

/// Keeps of an output what an [`Output`] has room for, while it comes.
#[derive(Debug, Clone, Default)]
pub struct Capture {
    head: String,
    /// Up to twice what is kept of the end, so that it is rarely moved.
    tail: String,
    omitted: u64,
}

impl Output {
    /// How many bytes of it are kept.
    pub fn kept(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// What is kept of it, and where something is missing, a line that says how much.
    pub fn into_text(self) -> String {
        let Self { mut head, tail, omitted } = self;
        if omitted > 0 {
            if !head.is_empty() && !head.ends_with('\n') {
                head.push('\n');
            }
            head += &format!("[{omitted} bytes are not kept]\n");
        }
        head + &tail
    }
}

impl Capture {
    /// Takes a line; the line break is added.
    pub fn push_line(&mut self, line: &str) {
        self.push(line);
        self.push("\n");
    }

    /// Takes the next piece of text.
    pub fn push(&mut self, text: &str) {
        let mut rest = text;
        // Once anything is in the tail, the head is full, even if a small character would still fit.
        if self.tail.is_empty() {
            let (fits, more) = text.split_at(text.floor_char_boundary(HALF - self.head.len()));
            self.head.push_str(fits);
            rest = more;
        }
        self.tail.push_str(rest);
        if self.tail.len() > 2 * HALF {
            self.trim();
        }
    }

    /// What is to be kept of all that came.
    pub fn finish(mut self) -> Output {
        self.trim();
        Output { head: self.head, tail: self.tail, omitted: self.omitted }
    }

    /// Cuts the tail down to what is kept of it.
    fn trim(&mut self) {
        let surplus = self.tail.ceil_char_boundary(self.tail.len().saturating_sub(HALF));
        self.omitted += u64::try_from(surplus).unwrap_or(u64::MAX);
        self.tail.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(pieces: impl IntoIterator<Item = impl AsRef<str>>) -> Output {
        let mut capture = Capture::default();
        for piece in pieces {
            capture.push(piece.as_ref());
        }
        capture.finish()
    }

    #[test]
    fn a_short_output_is_all_head() {
        let mut capture = Capture::default();
        capture.push_line("one");
        capture.push_line("");
        let output = Output { head: "one\n\n".into(), ..Output::default() };
        assert_eq!(capture.finish(), output);
    }

    #[test]
    fn up_to_the_cap_nothing_is_omitted() {
        let output = captured(["a".repeat(HALF), "b".repeat(HALF)]);
        assert_eq!((output.kept(), output.omitted), (CAP, 0));
        assert!(output.head.ends_with('a') && output.tail.starts_with('b'));
        let output = captured(["a".repeat(HALF), "b".repeat(HALF), "c".into()]);
        assert_eq!((output.kept(), output.omitted), (CAP, 1));
        assert!(output.tail.ends_with("bc"));
    }

    #[test]
    fn of_a_long_output_the_beginning_and_the_end_are_kept() {
        let lines = (0..1_000_000).map(|number| format!("line {number}\n"));
        let length: usize = lines.clone().map(|line| line.len()).sum();
        let output = captured(lines);
        assert!(output.head.starts_with("line 0\nline 1\n"));
        assert!(output.tail.ends_with("line 999998\nline 999999\n"));
        assert_eq!(output.kept(), CAP);
        assert_eq!(output.kept() + usize::try_from(output.omitted).unwrap(), length);
    }

    #[test]
    fn characters_are_never_cut() {
        // Neither half is a multiple of three, so both cuts fall into a character.
        let text = "€".repeat(CAP);
        let whole = captured([&text]);
        assert_eq!(whole.head.len(), HALF - HALF % 3);
        assert_eq!(whole.tail.len(), HALF - HALF % 3);
        assert!(whole.head.chars().chain(whole.tail.chars()).all(|c| c == '€'));
        assert_eq!(whole.kept() + usize::try_from(whole.omitted).unwrap(), text.len());
        // And it makes no difference in which pieces it comes.
        let mut letters = [0; 4];
        assert_eq!(captured(text.chars().map(|c| c.encode_utf8(&mut letters).to_owned())), whole);
    }

    #[test]
    fn the_text_says_where_something_is_missing() {
        let text = |head: &str, tail: &str, omitted| {
            Output { head: head.into(), tail: tail.into(), omitted }.into_text()
        };
        assert_eq!(text("a\n", "b\n", 0), "a\nb\n");
        assert_eq!(text("a\n", "b\n", 7), "a\n[7 bytes are not kept]\nb\n");
        assert_eq!(text("a", "b", 7), "a\n[7 bytes are not kept]\nb");
        assert_eq!(text("", "", 7), "[7 bytes are not kept]\n");
    }

    #[test]
    fn what_no_longer_fits_into_the_head_closes_it() {
        let output = captured(["a".repeat(HALF - 1), "€".into(), "b".into()]);
        assert_eq!((output.head.len(), output.tail.as_str()), (HALF - 1, "€b"));
    }
}
