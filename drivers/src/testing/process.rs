//! Processes that a test has brought about, as the kernel sees them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::{self, Instant, sleep};

/// How long something may take that will happen, on a machine that is very busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// The process whose id a script has written to a file, once it has.
pub(crate) async fn noted(file: &Path) -> i32 {
    let start = Instant::now();
    loop {
        let id = fs::read_to_string(file).unwrap_or_default();
        if let Some(id) = id.strip_suffix('\n') {
            return id.parse().unwrap();
        }
        assert!(start.elapsed() < PATIENCE, "there is no process in {}", file.display());
        sleep(Duration::from_millis(5)).await;
    }
}

/// Lets time limits run out at once. A clock that stood still would leave processes no time to end.
pub(crate) async fn pass(time: Duration) {
    time::pause();
    time::advance(time).await;
    time::resume();
}

/// Whether a process exists and has not ended.
pub(crate) fn lives(id: i32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X']))
}

/// Waits until all of them have ended.
pub(crate) async fn gone(ids: &[i32]) {
    let start = Instant::now();
    while ids.iter().any(|&id| lives(id)) {
        assert!(start.elapsed() < PATIENCE, "{ids:?} are still there");
        sleep(Duration::from_millis(5)).await;
    }
}
