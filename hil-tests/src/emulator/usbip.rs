//! Plugging a device in to the kernel's virtual host controller, `vhci_hcd`.
//!
//! The kernel is given one end of a socket pair and speaks USB/IP on it
//! (`Documentation/usb/usbip_protocol.rst`), which carries every transfer as it is. Closing the
//! other end is pulling the cable.

use std::collections::VecDeque;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::device::{Device, Model, Reply, Setup};

const ATTACH: &str = "/sys/devices/platform/vhci_hcd.0/attach";

/// Linux' numbers for how a transfer failed.
const EPIPE: i32 = -32;
const ECONNRESET: i32 = -104;

/// A device in a socket. Dropping it pulls it out.
#[derive(Debug)]
pub(crate) struct Plugged {
    _tasks: JoinSet<()>,
}

/// How many ports the controller has for devices of USB 2. As many for USB 3 come after them, and
/// both kinds are the same sockets.
pub(crate) const SOCKETS: u8 = 8;

/// Plugs a device in to a socket of the controller.
///
/// # Errors
///
/// There is no such controller, or the port is taken.
pub(crate) fn plug<M: Model>(port: u8, device: &Arc<Device<M>>) -> Result<Plugged> {
    const FULL_SPEED: u32 = 2;
    const SUPER_SPEED: u32 = 5;
    let (port, speed) = match device.describe(|said| said.usb()) {
        ..0x0300 => (port, FULL_SPEED),
        0x0300.. => (port + SOCKETS, SUPER_SPEED),
    };
    device.with(M::start);
    let (kernels, ours) = UnixStream::pair().context("making a socket pair")?;
    // Bus and number, as they would be on the host that a device is borrowed from.
    let number = 1 << 16 | (u32::from(port) + 1);
    fs::write(ATTACH, format!("{port} {} {number} {speed}", kernels.as_raw_fd()))
        .with_context(|| format!("plugging in to port {port}: writing to {ATTACH}"))?;
    let (read, write) = ours.into_split();
    let (requests, received) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(listen(read, requests));
    tasks.spawn(serve(write, received, Arc::clone(device)));
    Ok(Plugged { _tasks: tasks })
}

/// What the kernel wants.
enum Request {
    Control { id: u32, setup: [u8; 8], data: Vec<u8>, reads: bool },
    Output { id: u32, data: Vec<u8> },
    Input { id: u32, endpoint: u8, length: usize },
    Forget { id: u32, forgotten: u32 },
}

/// Receives what the kernel wants until it has let go of the device.
async fn listen(mut stream: OwnedReadHalf, requests: mpsc::UnboundedSender<Request>) {
    while let Ok(request) = receive(&mut stream).await {
        if requests.send(request).is_err() {
            break;
        }
    }
}

async fn receive(stream: &mut OwnedReadHalf) -> std::io::Result<Request> {
    const UNLINK: u32 = 2;
    let mut header = [0; 48];
    stream.read_exact(&mut header).await?;
    let (words, _) = header.as_chunks::<4>();
    let word = |place: usize| u32::from_be_bytes(words[place]);
    let (id, reads) = (word(1), word(3) == 1);
    // It has 15 at most.
    let endpoint = u8::try_from(word(4)).unwrap_or(0);
    if word(0) == UNLINK {
        return Ok(Request::Forget { id, forgotten: word(5) });
    }
    let length = usize::try_from(word(6)).unwrap_or(0);
    let mut data = vec![0; if reads { 0 } else { length }];
    stream.read_exact(&mut data).await?;
    let [.., s0, s1, s2, s3, s4, s5, s6, s7] = header;
    Ok(match (endpoint, reads) {
        (0, _) => Request::Control { id, setup: [s0, s1, s2, s3, s4, s5, s6, s7], data, reads },
        (_, false) => Request::Output { id, data },
        (_, true) => Request::Input { id, endpoint, length },
    })
}

/// Answers, each request as soon as the device has something to answer.
async fn serve<M: Model>(
    mut stream: OwnedWriteHalf,
    mut requests: mpsc::UnboundedReceiver<Request>,
    device: Arc<Device<M>>,
) {
    let mut waiting = Vec::new();
    let mut unanswered = Vec::new();
    let mut sent = VecDeque::new();
    loop {
        let request = tokio::select! {
            request = requests.recv() => match request {
                Some(request) => Some(request),
                None => return,
            },
            () = device.changed() => None,
        };
        let mut replies = Vec::new();
        match request {
            Some(Request::Control { id, setup, data, reads }) => {
                match device.control(Setup::parse(setup), &data) {
                    Reply::Data(answer) if reads => {
                        replies.push(done(id, 0, answer.len(), &answer));
                    }
                    Reply::Data(_) => replies.push(done(id, 0, data.len(), &[])),
                    Reply::Stall => replies.push(done(id, EPIPE, 0, &[])),
                    Reply::Silence => unanswered.push(id),
                }
            }
            Some(Request::Output { id, data }) => sent.push_back((id, data)),
            Some(Request::Input { id, endpoint, .. }) if device.is_mute(endpoint) => {
                unanswered.push(id);
            }
            Some(Request::Input { id, length, .. }) => waiting.push((id, length)),
            Some(Request::Forget { id, forgotten }) => {
                let before = waiting.len() + unanswered.len() + sent.len();
                waiting.retain(|&(id, _)| id != forgotten);
                unanswered.retain(|&id| id != forgotten);
                sent.retain(|&(id, _)| id != forgotten);
                // What is done already can't be forgotten.
                let was_there = waiting.len() + unanswered.len() + sent.len() < before;
                replies.push(reply(4, id, if was_there { ECONNRESET } else { 0 }, 0, &[]));
            }
            None => {}
        }
        while !device.is_full()
            && let Some((id, data)) = sent.pop_front()
        {
            let status = if device.output(&data).is_some() { 0 } else { EPIPE };
            replies.push(done(id, status, data.len(), &[]));
        }
        while let Some(&(id, length)) = waiting.first()
            && let Some(data) = device.input(length)
        {
            waiting.remove(0);
            replies.push(done(id, 0, data.len(), &data));
        }
        if stream.write_all(&replies.concat()).await.is_err() {
            return;
        }
    }
}

/// A transfer is done.
fn done(id: u32, status: i32, length: usize, data: &[u8]) -> Vec<u8> {
    reply(3, id, status, u32::try_from(length).unwrap_or(0), data)
}

fn reply(kind: u32, id: u32, status: i32, length: u32, data: &[u8]) -> Vec<u8> {
    let words = [kind, id, 0, 0, 0, status.cast_unsigned(), length, 0, u32::MAX, 0, 0, 0];
    words.into_iter().flat_map(u32::to_be_bytes).chain(data.iter().copied()).collect()
}
