//! What of a recording somebody gets to read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::entry::{Content, Entry};
use super::ring::{self, Position};
use crate::driver::Items;
use crate::recording::Mark;
use crate::{DriverError, Result, blocking};

/// How long reading one file may take.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// From where on somebody wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
pub(in crate::serial) enum Since {
    /// From the beginning of the present part.
    Part,
    /// From when the bench was last switched on.
    Boot,
    /// From a time on, in microseconds since 1970.
    Time(u64),
}

impl TryFrom<Value> for Since {
    type Error = String;

    fn try_from(since: Value) -> Result<Self, String> {
        match &since {
            Value::Null => Ok(Self::Part),
            Value::String(word) if word == "boot" => Ok(Self::Boot),
            Value::Number(seconds) => {
                let time = seconds.as_f64().map(Duration::try_from_secs_f64);
                let micros = time.and_then(|time| u64::try_from(time.ok()?.as_micros()).ok());
                Ok(Self::Time(micros.unwrap_or(0)))
            }
            Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                Err(format!("since {since} is none of null, \"boot\" and seconds since 1970"))
            }
        }
    }
}

/// Looks for where to begin, while a recording is read once.
#[derive(Debug, Default)]
struct Search {
    /// Where the present part begins, and its key.
    part: Option<(Position, String)>,
    /// Where the bench was switched on last.
    boot: Option<Position>,
    /// The bench has not been switched off since then. On again is no boot.
    is_on: bool,
    /// The first entry that is late enough.
    since: Option<Position>,
}

impl Search {
    fn look(&mut self, place: Position, entry: &Entry, since: Since) {
        if let Since::Time(time) = since
            && entry.time >= time
        {
            self.since.get_or_insert(place);
        }
        match &entry.content {
            Content::Mark(Mark::Part { key, .. }) => {
                if self.part.as_ref().is_none_or(|(_, present)| present != key) {
                    self.part = Some((place, key.clone()));
                }
            }
            Content::Mark(Mark::PowerOn(_)) => {
                if !self.is_on {
                    self.boot = Some(place);
                }
                self.is_on = true;
            }
            Content::Mark(Mark::PowerOff(_)) => self.is_on = false,
            Content::Mark(Mark::Note(_)) | Content::Data(_) => {}
        }
    }

    /// Where to begin, and what is to be said about it. Nothing before the present part is shown.
    fn start(&self, since: Since, end: Position) -> (Position, Option<&'static str>) {
        // A recording that doesn't have its last part's beginning any more is all of that part.
        let part = self.part.as_ref().map(|(place, _)| *place).unwrap_or_default();
        match (since, self.boot) {
            (Since::Part, _) => (part, None),
            (Since::Boot, Some(boot)) if boot >= part => (boot, None),
            (Since::Boot, Some(_)) => {
                (part, Some("the bench was switched on before this begins, for somebody else"))
            }
            (Since::Boot, None) => {
                (part, Some("that the bench was switched on is not recorded: this is all there is"))
            }
            (Since::Time(_), _) => (self.since.unwrap_or(end).max(part), None),
        }
    }
}

/// What is recorded from `since` on, in the order of recording; with `follow`, which tells of
/// everything that is written, without end.
pub(super) async fn items(
    directory: PathBuf,
    since: Since,
    follow: Option<watch::Receiver<u64>>,
) -> Result<Items> {
    let place = directory.clone();
    let (start, note) = blocking::run("search the recording", READ_LIMIT, move || {
        let mut search = Search::default();
        let mut at = Position::default();
        loop {
            let read = read(&place, at)?;
            for (place, entry) in &read.entries {
                search.look(*place, entry, since);
            }
            at = read.next;
            if read.is_end {
                return Ok(search.start(since, at));
            }
        }
    })
    .await?;
    let reader = Reader { directory, at: start, follow, is_over: false };
    let note = note.map(|note| Ok(json!({"note": note})));
    let entries = stream::unfold(reader, |mut reader| async move {
        let batch = reader.next().await?;
        Some((stream::iter(batch), reader))
    });
    Ok(stream::iter(note).chain(entries.flatten()).boxed())
}

struct Reader {
    directory: PathBuf,
    at: Position,
    follow: Option<watch::Receiver<u64>>,
    is_over: bool,
}

impl Reader {
    /// The entries up to the end of a file; none after the last.
    async fn next(&mut self) -> Option<Vec<Result<Value>>> {
        while !self.is_over {
            // Seen before reading, so that what is written meanwhile is not waited for.
            let written = self.follow.as_mut().map(|written| *written.borrow_and_update());
            let (directory, at) = (self.directory.clone(), self.at);
            let read =
                blocking::run("read the recording", READ_LIMIT, move || read(&directory, at));
            let read = match read.await {
                Ok(read) => read,
                Err(error) => {
                    self.is_over = true;
                    return Some(vec![Err(error)]);
                }
            };
            self.at = read.next;
            self.is_over = read.is_end && written.is_none();
            if !read.entries.is_empty() {
                return Some(read.entries.into_iter().map(|(_, entry)| Ok(item(entry))).collect());
            }
            if read.is_end
                && let Some(written) = &mut self.follow
                && written.changed().await.is_err()
            {
                // The recorder has gone.
                self.is_over = true;
            }
        }
        None
    }
}

fn read(directory: &Path, at: Position) -> Result<ring::Read> {
    ring::read(directory, at)
        .map_err(|error| DriverError::io(format!("read {}", directory.display()), error))
}

/// An entry, as a client gets it: the time in seconds since 1970, and either what the device said, in
/// Base64, or what happened, in words.
fn item(entry: Entry) -> Value {
    let time = Duration::from_micros(entry.time).as_secs_f64();
    match entry.content {
        Content::Data(data) => json!({"time": time, "data": BASE64_STANDARD.encode(data)}),
        Content::Mark(mark) => json!({"time": time, "mark": mark.text()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(marks: &[Mark], since: Since) -> (u64, Option<&'static str>) {
        let mut search = Search::default();
        for (place, mark) in (0..).zip(marks) {
            let entry = Entry { time: place * 1_000_000, content: Content::Mark(mark.clone()) };
            search.look(Position { file: 1, offset: place }, &entry, since);
        }
        let (start, note) = search.start(since, Position { file: 1, offset: marks.len() as u64 });
        (start.offset, note)
    }

    fn part(key: &str) -> Mark {
        Mark::Part { key: key.into(), text: String::new() }
    }

    fn on() -> Mark {
        Mark::PowerOn("power".into())
    }

    fn off() -> Mark {
        Mark::PowerOff("power".into())
    }

    fn note() -> Mark {
        Mark::Note("x".into())
    }

    #[test]
    fn a_boot_is_a_switching_on_of_what_was_off() {
        let boot = |marks: &[Mark]| search(marks, Since::Boot).0;
        assert_eq!(boot(&[note(), on(), note()]), 1);
        assert_eq!(boot(&[on(), note(), on()]), 0);
        assert_eq!(boot(&[on(), off(), on(), off()]), 2);
        assert!(search(&[note()], Since::Boot).1.unwrap().contains("is not recorded"));
    }

    #[test]
    fn nobody_sees_what_was_before_the_part() {
        let marks = [part("a"), on(), part(""), note(), part("b"), note()];
        assert_eq!(search(&marks, Since::Part), (4, None));
        assert_eq!(search(&marks, Since::Time(0)), (4, None));
        let (start, note) = search(&marks, Since::Boot);
        assert_eq!(start, 4);
        assert!(note.unwrap().contains("for somebody else"));
    }

    #[test]
    fn a_part_that_goes_on_is_one() {
        let marks = [part("a"), note(), part("b"), note(), part("b"), note()];
        assert_eq!(search(&marks, Since::Part).0, 2);
    }

    #[test]
    fn a_time_is_found() {
        let marks = [part("a"), note(), note(), note()];
        assert_eq!(search(&marks, Since::Time(1_500_000)).0, 2);
        assert_eq!(search(&marks, Since::Time(9_000_000)).0, 4);
    }

    #[test]
    fn where_to_begin_has_a_few_forms() {
        let since = |value: Value| Since::try_from(value);
        assert_eq!(since(json!(null)), Ok(Since::Part));
        assert_eq!(since(json!("boot")), Ok(Since::Boot));
        assert_eq!(since(json!(1.5)), Ok(Since::Time(1_500_000)));
        assert_eq!(since(json!(-1)), Ok(Since::Time(0)));
        assert!(since(json!("yesterday")).unwrap_err().contains("\"yesterday\""));
    }
}
