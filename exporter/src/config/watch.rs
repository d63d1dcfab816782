//! Notices when a configuration, or a script that it refers to, is another.
//!
//! Files are not only written to: editors put a new file in the place of the old one, and
//! Kubernetes makes a link lead to another directory. So every name on the way to each file is
//! watched in the directory that it is in. What counts in the end is the content, once nothing has
//! happened for a moment.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use sha2::{Digest as _, Sha256};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep, sleep_until};

use super::Config;
use super::way;

/// How long nothing must happen before a file counts as written to its end.
const SETTLED: Duration = Duration::from_millis(300);

/// How long what happens is collected before it is looked at. There may be a log beside the file,
/// which is written to all the time.
const PAUSE: Duration = Duration::from_millis(50);

/// Watches a configuration's files.
#[derive(Debug)]
pub struct Watch {
    inotify: Inotify,
    /// The same, for the runtime.
    readiness: AsyncFd<OwnedFd>,
    /// The names that matter, by the directory that they are in.
    names: HashMap<WatchDescriptor, HashSet<OsString>>,
    /// The configuration first.
    files: Vec<PathBuf>,
    /// What was in the files.
    content: Vec<Option<Vec<u8>>>,
    /// When what has happened will have settled.
    due: Option<Instant>,
}

impl Watch {
    /// Watches a configuration's file, and the scripts of what it says now.
    ///
    /// # Errors
    ///
    /// The system has no more watches to give.
    pub fn new(file: &Path, config: &Config) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let descriptor = inotify.as_fd().try_clone_to_owned()?;
        #[expect(unsafe_code, reason = "the runtime can't check what it is promised here")]
        // SAFETY: an `OwnedFd` is open and stays the same descriptor for as long as it lives, and it
        // lives as long as the `AsyncFd`: nothing here replaces it there.
        let registered = unsafe { AsyncFd::register(descriptor) };
        let mut watch = Self {
            inotify,
            readiness: registered.map_err(|error| error.into_parts().1)?,
            names: HashMap::new(),
            files: vec![file.to_owned()],
            content: Vec::new(),
            due: None,
        };
        watch.follow(config);
        Ok(watch)
    }

    /// Watches the scripts of another configuration from now on.
    pub fn follow(&mut self, config: &Config) {
        self.files.truncate(1);
        self.files.extend(config.scripts().filter_map(super::hooks::Script::file));
        self.look();
        self.content = self.read();
    }

    /// Returns once the content of a file is another and has settled. Cancel safe.
    pub async fn changed(&mut self) {
        loop {
            let due = self.due.unwrap_or_else(Instant::now);
            tokio::select! {
                is_affected = self.heard() => {
                    if is_affected {
                        self.due = Some(Instant::now() + SETTLED);
                    }
                    sleep(PAUSE).await;
                }
                () = sleep_until(due), if self.due.is_some() => {
                    self.due = None;
                    // The way to a file may be another now.
                    self.look();
                    let content = self.read();
                    if content != self.content {
                        self.content = content;
                        return;
                    }
                }
            }
        }
    }

    /// Reads what has happened; returns whether it is about a name that matters.
    async fn heard(&self) -> bool {
        let Ok(mut ready) = self.readiness.readable().await else {
            // The runtime is ending.
            return std::future::pending().await;
        };
        // Not until there is nothing more: while others write, there is always more.
        match self.inotify.read_events() {
            Ok(events) => events.iter().any(|event| {
                let of_ours = || self.names.get(&event.wd).zip(event.name.as_ref());
                // Where events were lost, anything may have happened.
                event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW)
                    || of_ours().is_some_and(|(names, name)| names.contains(name))
            }),
            Err(error) => {
                if error != Errno::EAGAIN {
                    tracing::warn!("the configuration's files can't be watched any more: {error}");
                }
                ready.clear_ready();
                false
            }
        }
    }

    /// Watches every name on the way to each file.
    fn look(&mut self) {
        let mask = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_ONLYDIR;
        let mut names: HashMap<_, HashSet<_>> = HashMap::new();
        for file in &self.files {
            let watched = way::walk(file, |place, _| {
                if let (Some(directory), Some(name)) = (place.parent(), place.file_name())
                    && let Ok(descriptor) = self.inotify.add_watch(directory, mask)
                {
                    names.entry(descriptor).or_default().insert(name.to_owned());
                }
                ControlFlow::<()>::Continue(())
            });
            if let Err(error) = watched {
                tracing::debug!("{}: {error}", file.display());
            }
        }
        for gone in self.names.keys().filter(|descriptor| !names.contains_key(descriptor)) {
            // An error means that the directory itself is gone.
            self.inotify.rm_watch(*gone).ok();
        }
        self.names = names;
    }

    fn read(&self) -> Vec<Option<Vec<u8>>> {
        let digest = |content: Vec<u8>| Sha256::digest(content).to_vec();
        self.files.iter().map(|file| fs::read(file).ok().map(digest)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::symlink;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::time::timeout;

    use super::*;
    use crate::config::{Environment, parse};

    fn configured(hooks: &str) -> Config {
        let source = format!("metadata: {{namespace: default, name: bench}}\n{hooks}\n");
        parse(Path::new("x"), source.as_bytes(), &Environment::default()).unwrap().config
    }

    async fn is_changed(watch: &mut Watch) -> bool {
        timeout(Duration::from_secs(10), watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn every_way_to_change_a_file_is_noticed_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bench.yaml");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(&file, &configured("")).unwrap();

        fs::write(&file, "two").unwrap();
        assert!(is_changed(&mut watch).await, "written to");

        let new = directory.path().join(".bench.yaml.swp");
        fs::write(&new, "three").unwrap();
        fs::rename(&new, &file).unwrap();
        assert!(is_changed(&mut watch).await, "replaced");

        fs::remove_file(&file).unwrap();
        assert!(is_changed(&mut watch).await, "removed");
        fs::write(&file, "three").unwrap();
        assert!(is_changed(&mut watch).await, "there again");

        // The same content is no change, and neither is another file.
        fs::write(&file, "three").unwrap();
        fs::write(directory.path().join("other.yaml"), "x").unwrap();
        assert!(timeout(4 * SETTLED, watch.changed()).await.is_err());
    }

    #[tokio::test]
    async fn a_log_beside_the_file_holds_nothing_up() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bench.yaml");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(&file, &configured("")).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let (ended, log) = (Arc::clone(&over), directory.path().join("log"));
        let writer = std::thread::spawn(move || {
            let mut log = fs::File::create(log).unwrap();
            while !ended.load(Ordering::Relaxed) {
                log.write_all(b"x").unwrap();
            }
        });
        fs::write(&file, "two").unwrap();
        let is_changed = is_changed(&mut watch).await;
        over.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        assert!(is_changed);
    }

    #[tokio::test]
    async fn a_link_that_leads_elsewhere_is_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let in_volume = |path: &str| directory.path().join(path);
        for (version, content) in [("v1", "one"), ("v2", "two"), ("v3", "three")] {
            fs::create_dir(in_volume(version)).unwrap();
            fs::write(in_volume(version).join("bench.yaml"), content).unwrap();
        }
        symlink("v1", in_volume("..data")).unwrap();
        symlink("..data/bench.yaml", in_volume("bench.yaml")).unwrap();
        let mut watch = Watch::new(&in_volume("bench.yaml"), &configured("")).unwrap();
        for version in ["v2", "v3"] {
            symlink(version, in_volume("..new")).unwrap();
            fs::rename(in_volume("..new"), in_volume("..data")).unwrap();
            assert!(is_changed(&mut watch).await, "{version}");
        }
        fs::write(in_volume("v3/bench.yaml"), "four").unwrap();
        assert!(is_changed(&mut watch).await, "where it leads to now");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_being_written_has_not_settled() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bench.yaml");
        fs::write(&file, "").unwrap();
        let mut watch = Watch::new(&file, &configured("")).unwrap();
        let written = async {
            for length in 1..10 {
                fs::write(&file, "x".repeat(length)).unwrap();
                sleep(SETTLED / 10).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = watch.changed() => assert_eq!(fs::read_to_string(&file).unwrap().len(), 9),
            () = written => {}
        }
        assert!(timeout(4 * SETTLED, watch.changed()).await.is_err(), "it is told once");
    }

    #[tokio::test]
    async fn scripts_are_watched_as_far_as_the_configuration_refers_to_them() {
        let directory = tempfile::tempdir().unwrap();
        let (file, script) =
            (directory.path().join("bench.yaml"), directory.path().join("hook.sh"));
        fs::write(&file, "").unwrap();
        fs::write(&script, "true").unwrap();
        let hooks = format!("hooks: {{beforeLease: {{script: {}}}}}", script.display());
        let mut watch = Watch::new(&file, &configured(&hooks)).unwrap();
        fs::write(&script, "false").unwrap();
        assert!(is_changed(&mut watch).await);
        watch.follow(&configured(""));
        fs::write(&script, "true").unwrap();
        assert!(timeout(4 * SETTLED, watch.changed()).await.is_err());
    }
}
