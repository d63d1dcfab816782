//! A device on a serial line: the leader of a pseudo-terminal whose follower is the port that the
//! driver opens.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{read, write};

use crate::bench::POLL;
use crate::process::patiently;

/// The device's end of the line. Dropping it is pulling the cable.
#[derive(Debug)]
pub(crate) struct Device {
    /// Non-blocking.
    leader: PtyMaster,
    port: String,
}

impl Device {
    /// Makes a line without echo and line editing, as a serial port is.
    pub(crate) fn new() -> Result<Self> {
        let (leader, _, port) = line(OFlag::O_NONBLOCK)?;
        Ok(Self { leader, port })
    }

    /// The path of the port.
    pub(crate) fn port(&self) -> &str {
        &self.port
    }

    /// Sends a few bytes to the port; the line buffers them.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<()> {
        let sent = write(&self.leader, bytes).context("sending to the port")?;
        ensure!(sent == bytes.len(), "the line took {sent} of {} bytes", bytes.len());
        Ok(())
    }

    /// Sends what the line's buffers take at once; returns how much that is. What they don't take, a
    /// real port loses.
    pub(crate) fn offer(&self, bytes: &[u8]) -> Result<usize> {
        match write(&self.leader, bytes) {
            Ok(sent) => Ok(sent),
            Err(Errno::EAGAIN) => Ok(0),
            Err(error) => Err(error).context("sending to the port"),
        }
    }

    /// Receives as many bytes as `expected` has, and insists on these.
    pub(crate) async fn receives(&self, expected: &[u8]) -> Result<()> {
        let mut received = Vec::new();
        let complete = async {
            while received.len() < expected.len() {
                match self.line()? {
                    Line::Bytes(bytes) => received.extend(bytes),
                    Line::Quiet | Line::Closed => tokio::time::sleep(POLL).await,
                }
            }
            Ok::<(), anyhow::Error>(())
        };
        let awaited = format!("{:?} to arrive at the device", String::from_utf8_lossy(expected));
        patiently(&awaited, complete).await??;
        ensure!(
            received == expected,
            "the device received {:?}",
            String::from_utf8_lossy(&received)
        );
        Ok(())
    }

    /// Waits until nobody has the port open.
    pub(crate) async fn is_released(&self) -> Result<()> {
        let released = async {
            loop {
                match self.line()? {
                    Line::Closed => return Ok::<(), anyhow::Error>(()),
                    Line::Bytes(_) => {}
                    Line::Quiet => tokio::time::sleep(POLL).await,
                }
            }
        };
        patiently("the port to be closed", released).await?
    }

    fn line(&self) -> Result<Line> {
        let mut chunk = [0; 4096];
        match read(&self.leader, &mut chunk) {
            Ok(length) => Ok(Line::Bytes(chunk[..length].to_vec())),
            Err(Errno::EAGAIN) => Ok(Line::Quiet),
            Err(Errno::EIO) => Ok(Line::Closed),
            Err(error) => Err(error).context("receiving from the port"),
        }
    }
}

/// A device that answers what it receives. Its thread ends when neither this nor anybody else has the
/// port open any more.
#[derive(Debug)]
pub(crate) struct Peer {
    port: String,
    _follower: File,
}

impl Peer {
    /// Connects one to a new line that sends back what it receives.
    pub(crate) fn echo() -> Result<Self> {
        Self::start(<[u8]>::to_vec)
    }

    /// Connects one to a new line. `answer` is given what has come in, a piece at a time.
    pub(crate) fn start(mut answer: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) -> Result<Self> {
        let (leader, follower, port) = line(OFlag::empty())?;
        let mut leader = File::from(OwnedFd::from(leader));
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = leader.read(&mut chunk) {
                if leader.write_all(&answer(&chunk[..length])).is_err() {
                    break;
                }
            }
        });
        Ok(Self { port, _follower: follower })
    }

    /// The path of the port.
    pub(crate) fn port(&self) -> &str {
        &self.port
    }
}

/// A new line without echo and line editing, as a serial port is: its two ends, and the path of the
/// second, which is the port.
fn line(flags: OFlag) -> Result<(PtyMaster, File, String)> {
    // Closed in other trials' processes from the start: a line that they hold can't be pulled.
    let flags = flags | OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let leader = posix_openpt(flags).context("opening a pseudo-terminal")?;
    grantpt(&leader).and_then(|()| unlockpt(&leader)).context("unlocking the port")?;
    let port = ptsname_r(&leader).context("naming the port")?;
    let follower = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NOCTTY.bits())
        .open(&port)
        .context("opening the port")?;
    let mut settings = tcgetattr(&follower).context("reading the line settings")?;
    cfmakeraw(&mut settings);
    tcsetattr(&follower, SetArg::TCSANOW, &settings).context("setting the line to raw")?;
    Ok((leader, follower, port))
}

/// What there is to read on the line.
enum Line {
    Bytes(Vec<u8>),
    /// The port is open and nothing was sent.
    Quiet,
    /// Nobody has the port open.
    Closed,
}
