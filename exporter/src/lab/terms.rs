//! When a lease is to begin, how long it lasts, and when it is over.
//!
//! | given | means |
//! |---|---|
//! | duration | from when an exporter is there |
//! | begin and duration, or begin and end | not before the beginning; what is lost by waiting is lost |
//! | end and duration | as if begin = end - duration had been given |
//! | all three | they have to agree |

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The longest lease: whoever wants more means for ever.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 366 * 10);

/// What a client has asked for, made complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Not before this.
    pub begin: Option<Timestamp>,
    /// Not after this.
    pub end: Option<Timestamp>,
    /// For so long.
    pub duration: SignedDuration,
}

/// Some of the terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Not before this.
    pub begin: Option<Timestamp>,
    /// Not after this.
    pub end: Option<Timestamp>,
    /// For so long.
    pub duration: Option<SignedDuration>,
}

/// Why there can't be such a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// They don't agree.
    #[error("duration conflicts with begin_time and end_time")]
    Conflict,
    /// It would never end.
    #[error("duration is required (must specify Duration, or both BeginTime and EndTime)")]
    NoDuration,
    /// It would be over before it begins.
    #[error("duration must be positive, got {}s", .0.as_secs())]
    NotPositive(SignedDuration),
    /// Nobody means that.
    #[error("duration must be at most ten years, got {}s", .0.as_secs())]
    TooLong(SignedDuration),
    /// It is beyond all calendars.
    #[error("begin_time or end_time is out of range")]
    OutOfRange,
}

impl Wanted {
    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Completes and checks them.
    ///
    /// # Errors
    ///
    /// In the controller's words, where it has any.
    pub fn complete(self) -> Result<Terms, TermsError> {
        let positive = |duration: &SignedDuration| duration.is_positive();
        let (begin, duration) = match (self.begin, self.end, self.duration) {
            (Some(begin), Some(end), duration) => {
                let between = end.duration_since(begin);
                if duration.filter(positive).is_some_and(|duration| duration != between) {
                    return Err(TermsError::Conflict);
                }
                (Some(begin), Some(between))
            }
            (None, Some(end), Some(duration)) if duration.is_positive() => {
                let begin = end.checked_sub(duration).map_err(|_| TermsError::OutOfRange)?;
                (Some(begin), Some(duration))
            }
            (begin, _, duration) => (begin, duration),
        };
        let duration = duration.ok_or(TermsError::NoDuration)?;
        if !duration.is_positive() {
            return Err(TermsError::NotPositive(duration));
        }
        if duration > LONGEST {
            return Err(TermsError::TooLong(duration));
        }
        Ok(Terms { begin, end: self.end, duration })
    }
}

impl Terms {
    /// When the lease is over, if that does not depend on when it gets an exporter.
    pub fn fixed_end(&self) -> Option<Timestamp> {
        self.end.or_else(|| self.begin.map(|begin| after(begin, self.duration)))
    }

    /// When the lease is over if it has got its exporter at `acquired`.
    pub fn end_if(&self, acquired: Timestamp) -> Timestamp {
        self.fixed_end().unwrap_or_else(|| after(acquired, self.duration))
    }

    /// These terms, where `wanted` says nothing else.
    ///
    /// # Errors
    ///
    /// If what is wanted is not enough to be terms by itself, or if the two don't go together.
    pub fn changed(self, wanted: Wanted) -> Result<Self, TermsError> {
        wanted.complete()?;
        let duration = match (wanted.begin, wanted.end) {
            // What is between them follows.
            (Some(_), Some(_)) => wanted.duration,
            (_, _) => wanted.duration.or(Some(self.duration)),
        };
        Wanted { begin: wanted.begin.or(self.begin), end: wanted.end.or(self.end), duration }
            .complete()
    }
}

/// At the end of the calendar, time stands still.
fn after(begin: Timestamp, duration: SignedDuration) -> Timestamp {
    begin.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    fn complete(
        begin: Option<Timestamp>,
        end: Option<Timestamp>,
        duration: Option<i64>,
    ) -> Result<Terms, TermsError> {
        let duration = duration.map(SignedDuration::from_secs);
        Wanted { begin, end, duration }.complete()
    }

    #[test]
    fn what_is_missing_follows_from_the_rest() {
        let secs = SignedDuration::from_secs;
        let given = |begin, end, duration| complete(begin, end, duration).unwrap();
        let open = given(None, None, Some(10));
        assert_eq!(open.fixed_end(), None);
        assert_eq!(Some(open.end_if(at(5).unwrap())), at(15));
        let late = given(at(100), None, Some(10));
        assert_eq!(Some(late.end_if(at(105).unwrap())), at(110), "waiting costs time");
        assert_eq!(given(at(1), at(11), None).duration, secs(10));
        assert_eq!(given(None, at(11), Some(10)).begin, at(1));
        assert_eq!(given(at(1), at(11), Some(10)).duration, secs(10));
        assert_eq!(given(at(1), at(11), Some(0)).duration, secs(10), "none was given");
    }

    #[test]
    fn what_does_not_go_together_is_refused_in_the_controllers_words() {
        let refused = |begin, end, duration| complete(begin, end, duration).unwrap_err();
        assert_eq!(refused(at(1), at(11), Some(9)), TermsError::Conflict);
        for (begin, end) in [(None, None), (at(1), None), (None, at(1))] {
            assert_eq!(refused(begin, end, None), TermsError::NoDuration);
        }
        assert_eq!(refused(None, None, Some(-5)).to_string(), "duration must be positive, got -5s");
        assert_eq!(refused(at(10), at(5), None).to_string(), "duration must be positive, got -5s");
        assert!(matches!(refused(None, None, Some(i64::MAX)), TermsError::TooLong(_)));
        let first = Some(Timestamp::MIN);
        assert_eq!(refused(None, first, Some(10)), TermsError::OutOfRange);
    }

    #[test]
    fn a_change_leaves_the_rest_as_it_was() {
        let hour = complete(at(0), None, Some(3600)).unwrap();
        let wanted = Wanted { duration: Some(SignedDuration::from_secs(60)), ..Wanted::default() };
        assert_eq!(hour.changed(wanted).unwrap().fixed_end(), at(60));
        let bounded = complete(at(0), at(3600), None).unwrap();
        assert_eq!(bounded.changed(wanted), Err(TermsError::Conflict));
        let later = Wanted { begin: at(600), ..Wanted::default() };
        assert_eq!(hour.changed(later), Err(TermsError::NoDuration), "as the controller has it");
        let window = Wanted { begin: at(600), end: at(700), duration: None };
        assert_eq!(hour.changed(window).unwrap().fixed_end(), at(700));
    }
}
