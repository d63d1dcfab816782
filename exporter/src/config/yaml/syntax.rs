//! What the parser has to say, in this house's form.

use serde_yaml::granit_parser::{ErrorKind, Marker, ScanError};

use crate::config::mistake::{Mistake, Position};

/// The parser counts columns from zero.
pub(super) fn position(marker: Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

/// The mistake that keeps a file from being YAML.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum is open, and long")]
pub(super) fn syntax(problem: &ScanError) -> Mistake {
    let hint = match problem.kind() {
        ErrorKind::UnknownAnchor => "define it earlier in the file with `&`",
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart => "indent with spaces",
        ErrorKind::UnexpectedCharacter { .. } => "put the text in quotes",
        ErrorKind::MappingValueNotAllowed => "put text with a colon in quotes",
        ErrorKind::UnclosedQuotedScalar | ErrorKind::InvalidQuotedScalarIndent => {
            "close the quotes on this line or indent the next"
        }
        ErrorKind::UnclosedFlowCollection { .. } => "close it",
        _ => "check the indentation and the quotes here and in the line above",
    };
    Mistake::error(position(*problem.marker()), format!("is not YAML: {}", problem.info()), hint)
}
