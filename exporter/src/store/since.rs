//! Moments of the past, as people type them.

use jiff::{Span, SpanRelativeTo, Timestamp};

/// A moment: RFC 3339 (`2026-03-04T05:06:07Z`), or how long before `now` (`2h`, `3d`, `1h 30m`).
///
/// # Errors
///
/// What is wrong, and what would be right.
pub fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let ago = |text: &str| -> Option<Timestamp> {
        // A day has 24 hours here: nobody asks for less of the past because of a change of the clocks.
        let span: Span = text.parse().ok()?;
        let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        now.checked_sub(duration).ok().filter(|moment| *moment <= now)
    };
    ago(text).ok_or_else(|| {
        format!("'{text}' is not a moment; write 2h, 3d, or a time such as 2026-03-04T05:06:07Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_a_distance_from_now() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let now = at("2026-03-04T05:06:07Z");
        for (text, moment) in [
            ("2h", "2026-03-04T03:06:07Z"),
            ("3d", "2026-03-01T05:06:07Z"),
            ("1w", "2026-02-25T05:06:07Z"),
            ("1h 30m", "2026-03-04T03:36:07Z"),
            ("90 seconds", "2026-03-04T05:04:37Z"),
            ("0s", "2026-03-04T05:06:07Z"),
            ("2026-01-01T00:00:00+01:00", "2025-12-31T23:00:00Z"),
            ("2027-01-01T00:00:00.5Z", "2027-01-01T00:00:00.5Z"),
        ] {
            assert_eq!(since(text, now), Ok(at(moment)), "{text}");
        }
        for text in ["", "2", "soon", "-2h", "2h ago?", "2026-03-04", "999999999999y"] {
            let error = since(text, now).unwrap_err();
            assert!(error.starts_with(&format!("'{text}' is not a moment; ")), "{error}");
        }
    }
}
