//! What goes on in an exporter: what each of its tasks waits for, and since when.
//!
//! Whoever begins something that may last says so, and takes it back by dropping what it was given.
//! SIGQUIT prints what is left: for somebody who stands in front of a bench that does not go on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What goes on in one exporter. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<Mutex<List>>);

/// Something that goes on, until this is dropped.
#[derive(Debug)]
pub struct Doing {
    activity: Activity,
    number: u64,
}

#[derive(Debug, Default)]
struct List {
    next: u64,
    /// In the order in which they have begun.
    entries: BTreeMap<u64, Entry>,
}

struct Entry {
    /// Only asked for when somebody looks: most calls are over before anybody does.
    what: Box<dyn Fn() -> String + Send>,
    since: Instant,
}

impl Activity {
    /// Something begins. `what` says so in a few words, when somebody asks.
    pub fn begin(&self, what: impl Fn() -> String + Send + 'static) -> Doing {
        let mut list = self.list();
        let number = list.next;
        list.next += 1;
        list.entries.insert(number, Entry { what: Box::new(what), since: Instant::now() });
        drop(list);
        Doing { activity: self.clone(), number }
    }

    /// Everything that goes on, one line each: what it is, and for how long.
    pub fn lines(&self) -> Vec<String> {
        let now = Instant::now();
        let line = |entry: &Entry| {
            format!("{}, for {}", (entry.what)(), in_words(now.duration_since(entry.since)))
        };
        self.list().entries.values().map(line).collect()
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says something of what goes on, however little else is logged.
pub fn say(line: &str) {
    tracing::info!("{line}");
}

impl Doing {
    /// From now on, it is something else.
    pub fn becomes(&self, what: impl Fn() -> String + Send + 'static) {
        if let Some(entry) = self.activity.list().entries.get_mut(&self.number) {
            *entry = Entry { what: Box::new(what), since: Instant::now() };
        }
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        let entry = self.activity.list().entries.remove(&self.number);
        // What it refers to may be the last of its kind, and is not dropped under the lock.
        drop(entry);
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&(self.what)())
    }
}

/// A time for people: in two units at most, tenths of a second only where they matter.
pub fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes, seconds) {
        (0, 0, 0, 0..10) => format!("{:.1} s", time.as_secs_f64()),
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, _) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, ..) => format!("{hours} h {} min", minutes % 60),
        (days, ..) => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_is_listed_until_it_is_over() {
        let activity = Activity::default();
        let first = activity.begin(|| "a hook".into());
        advance(Duration::from_secs(61)).await;
        let second = activity.begin(|| "a call".into());
        advance(Duration::from_millis(1500)).await;
        assert_eq!(activity.lines(), ["a hook, for 1 min 2 s", "a call, for 1.5 s"]);
        first.becomes(|| "its processes to go".into());
        drop(second);
        assert_eq!(activity.lines(), ["its processes to go, for 0.0 s"]);
        drop(first);
        assert_eq!(activity.lines(), [""; 0]);
    }

    #[test]
    fn a_time_has_two_units_at_most() {
        let told = |seconds| in_words(Duration::from_secs(seconds));
        assert_eq!(told(9), "9.0 s");
        assert_eq!(told(59), "59 s");
        assert_eq!(told(3 * 3600 + 61), "3 h 1 min");
        assert_eq!(told(2 * 86400 + 3 * 3600), "2 d 3 h");
    }
}
