//! Passing on what a script has to say, up to its return code.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal as Kind, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::process::Family;
use super::text::Decoder;
use crate::Result;

/// What comes out of a script: two streams of text and a return code. Dropping it kills the script's
/// process group.
#[derive(Debug)]
pub(super) struct Output {
    leader: Pid,
    ends: Signal,
    /// The return code of the leader; negative for a signal. None while it runs.
    code: Option<i32>,
    /// Until the leader is reaped, nobody else can get its process id, nor its group's.
    reaped: bool,
    stdout: Pipe,
    stderr: Pipe,
}

#[derive(Debug)]
struct Pipe {
    /// None at the end.
    end: Option<pipe::Receiver>,
    text: Decoder,
    buffer: Vec<u8>,
}

impl Output {
    /// What will come out of `child`, which leads a session. `ends` tells of children that end.
    pub(super) fn of(child: &mut Child, leader: Pid, ends: Signal) -> io::Result<Self> {
        let mut output = Self {
            leader,
            ends,
            code: None,
            reaped: false,
            stdout: Pipe::closed(),
            stderr: Pipe::closed(),
        };
        // Should this fail, the drop of what is there already ends the child.
        output.stdout.open(child.stdout.take().map(OwnedFd::from))?;
        output.stderr.open(child.stderr.take().map(OwnedFd::from))?;
        Ok(output)
    }

    /// Passes output on until the leader has ended and nobody can write any more; returns its
    /// return code. Nothing is lost if this is dropped, and it can be called again.
    pub(super) async fn pass_on(&mut self, items: &mpsc::Sender<Result<Value>>) -> i32 {
        loop {
            let open = self.stdout.end.is_some() || self.stderr.end.is_some();
            if let (Some(code), false) = (self.code, open) {
                return code;
            }
            let (stdout, stderr) = (&mut self.stdout, &mut self.stderr);
            let piece = async {
                // Room comes first, so that nothing is read that can't be passed on.
                let Ok(room) = items.reserve().await else { return pending().await };
                tokio::select! {
                    text = stdout.read(), if stdout.end.is_some() => (room, text, String::new()),
                    text = stderr.read(), if stderr.end.is_some() => (room, String::new(), text),
                }
            };
            tokio::select! {
                (room, stdout, stderr) = piece, if open => {
                    if !(stdout.is_empty() && stderr.is_empty()) {
                        room.send(Ok(json!([stdout, stderr, null])));
                    }
                }
                code = end_of(self.leader, &mut self.ends), if self.code.is_none() => {
                    self.code = Some(code);
                }
            }
        }
    }

    /// Ends every process of the run, and passes on what they have to say about it.
    pub(super) async fn end(&mut self, family: &Family, items: &mpsc::Sender<Result<Value>>) {
        let listen = async {
            self.pass_on(items).await;
            pending::<()>().await;
        };
        tokio::select! {
            () = family.end() => {}
            () = listen => {}
        }
        if !items.is_closed() {
            // More time would not help: somebody outside the run has its pipes.
            timeout(DRAIN_LIMIT, self.pass_on(items)).await.ok();
        }
    }

    /// The item that says how it ended, with what is left of the output.
    pub(super) fn last_item(&mut self, remark: &str, code: i32) -> Value {
        json!([self.stdout.text.finish(), self.stderr.text.finish() + remark, code])
    }

    /// Collects what has ended: the leader, and those of its group whose parents have died.
    pub(super) fn reap(&mut self) {
        let group = Pid::from_raw(-self.leader.as_raw());
        let ended = || {
            let status = waitpid(group, Some(WaitPidFlag::WNOHANG));
            status.is_ok_and(|status| status != WaitStatus::StillAlive)
        };
        while ended() {}
        self.reaped = true;
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.reaped {
            // Only without a runtime to end it properly. An error means that it has ended already.
            killpg(self.leader, Kind::SIGKILL).ok();
        }
    }
}

/// The longest piece of output in one item, in bytes: as much as a pipe holds.
const PIECE: usize = 64 * 1024;

/// How long the last output may take to be read once nobody is left to write any.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// Waits until a child has ended, and leaves it to be reaped.
async fn end_of(child: Pid, ends: &mut Signal) -> i32 {
    let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    loop {
        match waitid(Id::Pid(child), peek) {
            Ok(WaitStatus::Exited(_, code)) => return code,
            Ok(WaitStatus::Signaled(_, signal, _)) => return -(signal as i32),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                tracing::warn!("the return code of process {child} is lost: {error}");
                return -1;
            }
        }
        ends.recv().await;
    }
}

impl Pipe {
    fn closed() -> Self {
        Self { end: None, text: Decoder::default(), buffer: Vec::with_capacity(PIECE) }
    }

    fn open(&mut self, end: Option<OwnedFd>) -> io::Result<()> {
        self.end = end.map(pipe::Receiver::from_owned_fd).transpose()?;
        Ok(())
    }

    /// The next text; none of it if a character has just begun, or at the end. Cancel safe.
    async fn read(&mut self) -> String {
        let Some(end) = &mut self.end else { return pending().await };
        match end.read_buf(&mut self.buffer).await {
            Ok(1..) => {
                let text = self.text.decode(&self.buffer);
                self.buffer.clear();
                text
            }
            Ok(0) | Err(_) => {
                self.end = None;
                String::new()
            }
        }
    }
}
