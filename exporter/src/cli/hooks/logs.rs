//! `hilt hooks logs`: what the hooks of the exporter's own life have printed.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use clap::Args;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::Whose;
use crate::config::hooks::LifecycleEvent;
use crate::state::{ExporterDir, hook_log};

/// Print the log of the exporter's own hooks.
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The event: stop, preemption or down. Without it, whichever was logged last.
    #[arg(value_parser = event)]
    event: Option<LifecycleEvent>,
    /// Go on with what is added.
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    whose: Whose,
}

impl Logs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let log = self.find(&self.whose.exporters()?)?;
        if self.event.is_none() {
            tracing::info!("{}", log.display());
        }
        let mut reader = Reader::open(&log)?;
        if !self.follow {
            return reader.print();
        }
        // It is watched before it is read, so that nothing is added unseen.
        let watch = Inotify::init(InitFlags::IN_CLOEXEC)?;
        let dir = log.parent().unwrap_or(&log);
        let flags =
            AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        watch.add_watch(dir, flags).with_context(|| format!("can't watch {}", dir.display()))?;
        loop {
            reader.print()?;
            watch.read_events()?;
            reader.keep_up()?;
        }
    }

    /// The log that is meant.
    fn find(&self, exporters: &[ExporterDir]) -> anyhow::Result<PathBuf> {
        let events = match self.event {
            Some(event) => vec![event],
            None => LifecycleEvent::ALL.to_vec(),
        };
        let mut found: Vec<(SystemTime, &str, PathBuf)> = Vec::new();
        for one in exporters {
            for event in &events {
                let path = hook_log(&one.dir, *event);
                match fs::metadata(&path).and_then(|log| log.modified()) {
                    Ok(modified) => found.push((modified, &one.exporter, path)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => bail!("{}: {error}", path.display()),
                }
            }
        }
        if self.event.is_some() && found.len() > 1 {
            let names: Vec<_> = found.iter().map(|(_, name, _)| *name).collect();
            bail!("several exporters have it; choose one with --exporter: {}", names.join(", "));
        }
        match found.into_iter().max() {
            Some((_, _, path)) => Ok(path),
            None => bail!("no hook has run for {}", names(&events)),
        }
    }
}

fn event(word: &str) -> Result<LifecycleEvent, String> {
    LifecycleEvent::ALL
        .into_iter()
        .find(|event| event.word() == word)
        .ok_or_else(|| format!("there are: {}", names(&LifecycleEvent::ALL)))
}

fn names(events: &[LifecycleEvent]) -> String {
    let names: Vec<_> = events.iter().map(|event| event.word()).collect();
    names.join(", ")
}

/// A log that may grow, be cut or be replaced while it is read.
struct Reader {
    path: PathBuf,
    file: File,
}

impl Reader {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("can't read {}", path.display()))?;
        Ok(Self { path: path.into(), file })
    }

    /// Prints what has not been printed yet.
    fn print(&mut self) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        let mut chunk = vec![0; 64 << 10];
        loop {
            let length = self.file.read(&mut chunk)?;
            if length == 0 {
                return Ok(out.flush()?);
            }
            out.write_all(&chunk[..length])?;
        }
    }

    /// Goes on at the beginning if it has become another file, or shorter.
    fn keep_up(&mut self) -> anyhow::Result<()> {
        let open = self.file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(found) if found.ino() != open.ino() || found.dev() != open.dev() => {
                self.print()?;
                *self = Self::open(&self.path)?;
            }
            Ok(found) if found.len() < self.file.stream_position()? => {
                self.file.seek(SeekFrom::Start(0))?;
            }
            // If it is gone, another will come.
            Ok(_) | Err(_) => {}
        }
        Ok(())
    }
}
