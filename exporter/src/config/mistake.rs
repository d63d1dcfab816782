//! What is wrong with a configuration, and where.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

/// One thing to correct, as one line.
///
/// `FILE:LINE:COLUMN: key.path: what is wrong; what would be right`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it is.
    pub position: Position,
    /// The keys that lead to it, such as `hooks.lifecycle[0].run`; empty for the whole file.
    pub path: String,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What would be right. Empty where a driver refused its settings without saying so.
    pub hint: String,
}

/// A place in a file, as editors count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Position {
    /// The first character of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl Mistake {
    /// An error that isn't below any key.
    pub(super) fn error(
        position: Position,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            position,
            path: String::new(),
            severity: Severity::Error,
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// How much a mistake matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration can't be used.
    Error,
    /// A key that nobody reads. It is a warning, as the reference ignores it as well, unless
    /// somebody asked for strictness.
    IgnoredKey,
    /// Others than root and the exporter's user can change what its hooks do. It is a warning for
    /// who checks a file, and keeps it from being run.
    Exposed,
    /// Probably not what was meant.
    Warning,
}

impl Severity {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::IgnoredKey | Self::Exposed | Self::Warning => "warning",
        }
    }
}

/// Everything that is wrong with one file, by position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes {
    file: PathBuf,
    list: Vec<Mistake>,
}

impl Mistakes {
    pub(super) fn new(file: &Path, mut list: Vec<Mistake>) -> Self {
        // Two mistakes at one place stay in the order in which they were found.
        list.sort_by_key(|mistake| mistake.position);
        Self { file: file.to_owned(), list }
    }

    /// The file that they are in.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.list.iter()
    }

    /// Whether one of them keeps the configuration from being used.
    pub fn are_errors(&self) -> bool {
        self.list.iter().any(|mistake| mistake.severity == Severity::Error)
    }

    /// The same, but keys that nobody reads are errors.
    #[must_use]
    pub fn strictly(self) -> Self {
        self.with_errors(Severity::IgnoredKey)
    }

    /// The same, but what others can change is an error.
    #[must_use]
    pub fn to_run(self) -> Self {
        self.with_errors(Severity::Exposed)
    }

    fn with_errors(mut self, severity: Severity) -> Self {
        for mistake in self.list.iter_mut().filter(|mistake| mistake.severity == severity) {
            mistake.severity = Severity::Error;
        }
        self
    }
}

impl std::error::Error for Mistakes {}

/// One line a mistake, without a newline at the end.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_char('\n')?;
            }
            let Position { line, column } = mistake.position;
            write!(f, "{}:{line}:{column}: {mistake}", self.file.display())?;
        }
        Ok(())
    }
}

/// The line without file and position.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.severity {
            Severity::Error => {}
            Severity::IgnoredKey | Severity::Exposed | Severity::Warning => {
                write!(f, "{}: ", self.severity.word())?;
            }
        }
        if !self.path.is_empty() {
            write_on_one_line(f, &self.path)?;
            f.write_str(": ")?;
        }
        write_on_one_line(f, &self.message)?;
        if !self.hint.is_empty() {
            f.write_str("; ")?;
            write_on_one_line(f, &self.hint)?;
        }
        Ok(())
    }
}

/// Messages quote keys and values of the file, which may hold newlines and worse.
fn write_on_one_line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for character in text.chars() {
        if character.is_control() {
            write!(f, "{}", character.escape_default())?;
        } else {
            f.write_char(character)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(line: usize, severity: Severity, path: &str, hint: &str) -> Mistake {
        Mistake {
            position: Position { line, column: 3 },
            path: path.into(),
            severity,
            message: "is missing".into(),
            hint: hint.into(),
        }
    }

    #[test]
    fn mistakes_are_lines_in_the_order_of_the_file() {
        let mistakes = Mistakes::new(
            Path::new("bench.yaml"),
            vec![
                mistake(9, Severity::IgnoredKey, "tls.c\na", "remove it"),
                mistake(2, Severity::Error, "", ""),
                mistake(4, Severity::Warning, "token", "add it"),
            ],
        );
        assert_eq!(
            mistakes.to_string(),
            "bench.yaml:2:3: is missing\n\
             bench.yaml:4:3: warning: token: is missing; add it\n\
             bench.yaml:9:3: warning: tls.c\\na: is missing; remove it"
        );
    }

    #[test]
    fn strictness_is_about_keys_that_nobody_reads() {
        let with = |severity| Mistakes::new(Path::new("x"), vec![mistake(1, severity, "", "")]);
        assert!(with(Severity::Error).are_errors());
        assert!(!with(Severity::IgnoredKey).are_errors());
        assert!(with(Severity::IgnoredKey).strictly().are_errors());
        assert!(!with(Severity::Warning).strictly().are_errors());
    }

    #[test]
    fn what_others_can_change_is_not_run() {
        let with = |severity| Mistakes::new(Path::new("x"), vec![mistake(1, severity, "", "")]);
        assert!(!with(Severity::Exposed).strictly().are_errors());
        assert!(with(Severity::Exposed).to_run().are_errors());
        assert!(!with(Severity::IgnoredKey).to_run().are_errors());
    }
}
