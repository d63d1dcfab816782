//! The names of resources, as the protocol writes them: `namespaces/NAMESPACE/leases/NAME`.

use tonic::Status;

use super::quote::quoted;

/// The namespace of everything in a lab.
pub const NAMESPACE: &str = "default";

/// What a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An exporter.
    Exporters,
    /// A lease.
    Leases,
    /// A client.
    Clients,
}

/// A name with the namespace that it was written with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Exporters => "exporters",
            Self::Leases => "leases",
            Self::Clients => "clients",
        }
    }

    /// The whole name of one in the lab.
    pub fn of(self, name: &str) -> String {
        format!("namespaces/{NAMESPACE}/{}/{name}", self.word())
    }

    /// Takes a whole name apart.
    ///
    /// # Errors
    ///
    /// INVALID_ARGUMENT in the controller's words.
    pub fn parse(self, identifier: &str) -> Result<Named, Status> {
        match segments(identifier, 4)?[..] {
            [_, namespace, kind, name] if kind == self.word() => {
                Ok(Named { namespace: namespace.into(), name: name.into() })
            }
            [_, _, kind, _] => Err(wrong_segment(identifier, "third", self.word(), kind)),
            _ => Err(wrong_count(identifier, 4)),
        }
    }
}

/// The namespace of `namespaces/NAMESPACE`.
///
/// # Errors
///
/// INVALID_ARGUMENT in the controller's words.
pub fn parse_parent(identifier: &str) -> Result<String, Status> {
    match segments(identifier, 2)?[..] {
        [_, namespace] => Ok(namespace.into()),
        _ => Err(wrong_count(identifier, 2)),
    }
}

/// The segments, of which the first is `namespaces`.
fn segments(identifier: &str, count: usize) -> Result<Vec<&str>, Status> {
    // Of the millions that somebody may send, only as many are looked at as could be right.
    let segments: Vec<_> = identifier.split('/').take(count + 1).collect();
    if segments.len() != count {
        return Err(wrong_count(identifier, count));
    }
    match segments.first() {
        Some(&"namespaces") => Ok(segments),
        first => Err(wrong_segment(
            identifier,
            "first",
            "namespaces",
            first.copied().unwrap_or_default(),
        )),
    }
}

fn wrong_count(identifier: &str, expected: usize) -> Status {
    let got = identifier.split('/').count();
    Status::invalid_argument(format!(
        "invalid number of segments in identifier {}, expecting {expected}, got {got}",
        quoted(identifier)
    ))
}

fn wrong_segment(identifier: &str, which: &str, expected: &str, got: &str) -> Status {
    Status::invalid_argument(format!(
        "invalid {which} segment in identifier {}, expecting \"{expected}\", got {}",
        quoted(identifier),
        quoted(got)
    ))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn a_name_has_four_segments_and_a_parent_two() {
        let named = Kind::Leases.parse("namespaces/lab/leases/one").unwrap();
        assert_eq!(named, Named { namespace: "lab".into(), name: "one".into() });
        assert_eq!(parse_parent("namespaces/lab").unwrap(), "lab");
        assert_eq!(Kind::Clients.of("ann"), "namespaces/default/clients/ann");
    }

    #[test]
    fn a_bad_name_is_refused_in_the_controllers_words() {
        let refused = |kind: Kind, text: &str| {
            let status = kind.parse(text).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
            status.message().to_owned()
        };
        assert_eq!(
            refused(Kind::Leases, "namespaces/lab/leases/a/b"),
            "invalid number of segments in identifier \"namespaces/lab/leases/a/b\", \
             expecting 4, got 5"
        );
        assert_eq!(
            refused(Kind::Leases, "x/lab/leases/a"),
            "invalid first segment in identifier \"x/lab/leases/a\", \
             expecting \"namespaces\", got \"x\""
        );
        assert_eq!(
            refused(Kind::Exporters, "namespaces/lab/leases/a\n"),
            "invalid third segment in identifier \"namespaces/lab/leases/a\\n\", \
             expecting \"exporters\", got \"leases\""
        );
        assert!(refused(Kind::Leases, &"/".repeat(1 << 20)).len() < 300);
        assert!(parse_parent("").unwrap_err().message().contains("expecting 2, got 1"));
    }
}
