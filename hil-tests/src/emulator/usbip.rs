//! Plugging a device in to the kernel's virtual host controller, `vhci_hcd`.
//!
//! The kernel is given one end of a socket pair and speaks USB/IP on it
//! (`Documentation/usb/usbip_protocol.rst`), which carries every transfer as it is. Closing the
//! other end is pulling the cable.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::device::{Device, Model, Setup};

const ATTACH: &str = "/sys/devices/platform/vhci_hcd.0/attach";

/// Linux' numbers for how a transfer failed.
const EPIPE: i32 = -32;
const ECONNRESET: i32 = -104;

/// A device in a socket. Dropping it pulls it out.
#[derive(Debug)]
pub(crate) struct Plugged {
    _tasks: JoinSet<()>,
}

/// Plugs a device in to a port of the controller, which has eight for devices of USB 2.
///
/// # Errors
///
/// There is no such controller, or the port is taken.
pub(crate) fn plug<M: Model>(port: u8, device: &Arc<Device<M>>) -> Result<Plugged> {
    const FULL_SPEED: u32 = 2;
    let (kernels, ours) = UnixStream::pair().context("making a socket pair")?;
    // Bus and number, as they would be on the host that a device is borrowed from.
    let number = 1 << 16 | (u32::from(port) + 1);
    fs::write(ATTACH, format!("{port} {} {number} {FULL_SPEED}", kernels.as_raw_fd()))
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
    Input { id: u32 },
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
    let (id, reads, endpoint) = (word(1), word(3) == 1, word(4));
    if word(0) == UNLINK {
        return Ok(Request::Forget { id, forgotten: word(5) });
    }
    let length = if reads { 0 } else { word(6) };
    let mut data = vec![0; usize::try_from(length).unwrap_or(0)];
    stream.read_exact(&mut data).await?;
    let [.., s0, s1, s2, s3, s4, s5, s6, s7] = header;
    Ok(match (endpoint, reads) {
        (0, _) => Request::Control { id, setup: [s0, s1, s2, s3, s4, s5, s6, s7], data, reads },
        (_, false) => Request::Output { id, data },
        (_, true) => Request::Input { id },
    })
}

/// Answers, each request as soon as the device has something to answer.
async fn serve<M: Model>(
    mut stream: OwnedWriteHalf,
    mut requests: mpsc::UnboundedReceiver<Request>,
    device: Arc<Device<M>>,
) {
    let mut waiting = Vec::new();
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
                replies.push(match device.control(Setup::parse(setup), &data) {
                    Some(answer) if reads => done(id, 0, answer.len(), &answer),
                    Some(_) => done(id, 0, data.len(), &[]),
                    None => done(id, EPIPE, 0, &[]),
                });
            }
            Some(Request::Output { id, data }) => {
                let status = if device.output(&data).is_some() { 0 } else { EPIPE };
                replies.push(done(id, status, data.len(), &[]));
            }
            Some(Request::Input { id }) => waiting.push(id),
            Some(Request::Forget { id, forgotten }) => {
                let place = waiting.iter().position(|&id| id == forgotten);
                // What is done already can't be forgotten.
                let status = if place.is_some() { ECONNRESET } else { 0 };
                place.map(|place| waiting.remove(place));
                replies.push(reply(4, id, status, 0, &[]));
            }
            None => {}
        }
        while !waiting.is_empty()
            && let Some(data) = device.input()
        {
            replies.push(done(waiting.remove(0), 0, data.len(), &data));
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
