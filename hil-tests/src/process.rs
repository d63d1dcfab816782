//! A process under watch: what it printed so far, how it ended, and waits that say what they waited
//! for.

use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long anything may take before a trial gives up on it. Generous: the machine may be busy, and
/// a wait that succeeds costs nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for `event`, and fails by saying that `awaited` did not happen in time.
pub(crate) async fn patiently<T>(awaited: &str, event: impl Future<Output = T>) -> Result<T> {
    within(PATIENCE, awaited, event).await
}

async fn within<T>(limit: Duration, awaited: &str, event: impl Future<Output = T>) -> Result<T> {
    timeout(limit, event)
        .await
        .with_context(|| format!("waited {}s in vain for {awaited}", limit.as_secs()))
}

/// A started process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    title: String,
    child: Child,
    pid: Pid,
    output: watch::Receiver<Output>,
    readers: JoinSet<()>,
}

impl Process {
    /// Starts `command` with no input; `title` is what messages call it.
    pub(crate) fn start(title: &str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null());
        Self::spawn_heard(title, command)
    }

    /// Starts `command` with no input and an output that is lost.
    pub(crate) fn start_unheard(title: &str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self::spawn(title, command)
    }

    /// Starts `command` and returns the pipe to its standard input with it.
    pub(crate) fn start_with_input(
        title: &str,
        mut command: Command,
    ) -> Result<(Self, ChildStdin)> {
        command.stdin(Stdio::piped());
        let mut process = Self::spawn_heard(title, command)?;
        let input = process.child.stdin.take().context("the input was piped")?;
        Ok((process, input))
    }

    fn spawn_heard(title: &str, mut command: Command) -> Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::spawn(title, command)
    }

    fn spawn(title: &str, mut command: Command) -> Result<Self> {
        command.kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("starting {title}"))?;
        let id = child.id().context("a child that nobody waited for has a pid")?;
        let pid = Pid::from_raw(id.cast_signed());
        let (sender, output) = watch::channel(Output::default());
        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(read(stdout, sender.clone(), |output| &mut output.stdout));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(read(stderr, sender, |output| &mut output.stderr));
        }
        Ok(Self { title: title.to_owned(), child, pid, output, readers })
    }

    /// A view of its output that outlives it.
    pub(crate) fn transcript(&self) -> Transcript {
        Transcript { title: self.title.clone(), output: self.output.clone() }
    }

    /// Sends `signal` to this one process.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid, signal).with_context(|| format!("sending {signal} to {}", self.title))
    }

    /// Waits until it has printed `text`, on either stream.
    pub(crate) async fn prints(&mut self, text: &str) -> Result<()> {
        let awaited = format!("{} to print {text:?}", self.title);
        let seen = self.output.wait_for(|output| output.contains(text));
        match patiently(&awaited, seen).await? {
            Ok(_) => Ok(()),
            Err(_) => bail!("{} closed its output without printing {text:?}", self.title),
        }
    }

    /// The complete lines it has printed to its standard output so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.output.borrow().lines()
    }

    /// How it has ended, if it has by now.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("looking after {}", self.title))
    }

    /// Waits for its end and for all it printed.
    pub(crate) async fn ends(self) -> Result<Ended> {
        self.ends_within(PATIENCE).await
    }

    /// The same for what may take longer than anything else.
    pub(crate) async fn ends_within(mut self, limit: Duration) -> Result<Ended> {
        let awaited = format!("{} to end", self.title);
        let status = within(limit, &awaited, self.child.wait()).await??;
        // Whoever inherited a stream and outlives the process keeps this wait from ending, and that
        // is worth a failure.
        let closed = async { while self.readers.join_next().await.is_some() {} };
        patiently(&format!("the output of {} to be closed after its end", self.title), closed)
            .await?;
        Ok(Ended { title: self.title, status, output: self.output.borrow().clone() })
    }
}

/// Whether any process of this pid is alive. A zombie isn't.
pub(crate) fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may contain some.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

async fn read(
    mut stream: impl AsyncRead + Unpin,
    seen: watch::Sender<Output>,
    side: fn(&mut Output) -> &mut Vec<u8>,
) {
    let mut chunk = vec![0; 8192];
    while let Ok(length @ 1..) = stream.read(&mut chunk).await {
        seen.send_modify(|output| side(output).extend_from_slice(&chunk[..length]));
    }
}

/// Writes `bytes` to a process and closes its input.
pub(crate) async fn feed(mut input: ChildStdin, bytes: &[u8]) -> Result<()> {
    input.write_all(bytes).await.context("writing to a process")?;
    input.shutdown().await.context("closing the input of a process")
}

/// What a process printed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Output {
    /// Standard output, as text.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error, as text.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// The lines of standard output.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.stdout().lines().map(str::to_owned).collect()
    }

    /// Whether either stream contains `text`.
    pub(crate) fn contains(&self, text: &str) -> bool {
        [&self.stdout, &self.stderr]
            .iter()
            .any(|stream| String::from_utf8_lossy(stream).contains(text))
    }
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    title: String,
    status: ExitStatus,
    output: Output,
}

impl Ended {
    /// Its exit code; that of a process killed by a signal is 128 and the signal's number, as in a
    /// shell.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or_default())
    }

    /// Its output, if it ended with `code`.
    pub(crate) fn with_code(self, code: i32) -> Result<Output> {
        ensure!(self.code() == code, "{} ended with {} instead of {code}", self.title, self.code());
        Ok(self.output)
    }

    /// Its output, if it ended well.
    pub(crate) fn ok(self) -> Result<Output> {
        self.with_code(0)
    }
}

/// The output of a process under the name it goes by in messages.
#[derive(Debug)]
pub(crate) struct Transcript {
    title: String,
    output: watch::Receiver<Output>,
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let output = self.output.borrow();
        for (side, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            if !bytes.is_empty() {
                writeln!(f, "---- {side} of {}", self.title)?;
                for line in tail(&String::from_utf8_lossy(bytes)).lines() {
                    writeln!(f, "{}", line.trim_end())?;
                }
            }
        }
        Ok(())
    }
}

/// The last part of a long output: a failure is explained by what came last.
fn tail(text: &str) -> &str {
    const LONGEST: usize = 20_000;
    let start = text.len().saturating_sub(LONGEST);
    text.get(text.ceil_char_boundary(start)..).unwrap_or(text)
}
