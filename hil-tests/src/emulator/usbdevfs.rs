//! Showing a device to a program that runs with umockdev's preload library.
//!
//! The library turns `/sys` and, where something is there, `/dev` into the directories of a test
//! bed, and sends each `ioctl` on a device node to a socket, together with access to the program's
//! memory. Here is the kernel's side of that: the list of USB devices, and `usbdevfs`
//! (`include/uapi/linux/usbdevice_fs.h`) as far as libusb uses it. The messages of the library are
//! three words of the machine each: a command, and its two arguments.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::device::{Device, Model, Reply, Setup};
use super::hub::{HUB_CLASS, HUB_PORTS};

/// The bus that devices are on.
const BUS: u8 = 1;

/// A test bed. The program has it as `UMOCKDEV_DIR`.
#[derive(Debug)]
pub(crate) struct Testbed {
    directory: PathBuf,
    /// Whoever has a device open stays connected, also when it was pulled out: the library ends a
    /// program that is left alone.
    tasks: Mutex<JoinSet<()>>,
    /// The number of the device that was plugged in last.
    address: Mutex<u8>,
}

/// A device in a socket. Dropping it pulls it out.
#[derive(Debug)]
pub(crate) struct Shown {
    entries: Vec<PathBuf>,
    gone: watch::Sender<bool>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        for entry in &self.entries {
            // The directory of the bench goes anyway.
            if entry.is_dir() { fs::remove_dir_all(entry) } else { fs::remove_file(entry) }.ok();
        }
        self.gone.send_replace(true);
    }
}

impl Testbed {
    /// A host with everything but its USB devices.
    pub(crate) fn new(directory: PathBuf) -> Result<Self> {
        let testbed = || -> std::io::Result<()> {
            fs::create_dir_all(directory.join("sys/bus/usb/devices"))?;
            fs::create_dir_all(directory.join("dev/bus/usb/001"))?;
            fs::create_dir_all(directory.join("ioctl/dev/bus/usb/001"))?;
            for entry in fs::read_dir("/sys")? {
                let entry = entry?;
                if entry.file_name() != "bus" {
                    symlink(entry.path(), directory.join("sys").join(entry.file_name()))?;
                }
            }
            Ok(())
        };
        testbed().with_context(|| format!("making a test bed in {}", directory.display()))?;
        Ok(Self { directory, tasks: Mutex::default(), address: Mutex::new(1) })
    }

    /// Where it is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Plugs a device in to a port.
    pub(crate) fn plug<M: Model>(&self, port: u8, device: &Arc<Device<M>>) -> Result<Shown> {
        let address = {
            let mut address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
            *address += 1;
            *address
        };
        let node = format!("bus/usb/{BUS:03}/{address:03}");
        let socket = self.directory.join("ioctl/dev").join(&node);
        let listener = UnixListener::bind(&socket).context("making the socket of a device")?;
        let (sender, gone) = watch::channel(false);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(accept(listener, Arc::clone(device), gone));

        let file = self.directory.join("dev").join(&node);
        let entry = self.directory.join(format!("sys/bus/usb/devices/{BUS}-{port}"));
        let shown = Shown { entries: vec![entry.clone(), file.clone(), socket], gone: sender };
        fs::write(file, "").context("making the node of a device")?;
        list(&entry, address, device).context("listing a device")?;
        Ok(shown)
    }
}

/// Puts a device into the kernel's list.
fn list<M: Model>(entry: &Path, address: u8, device: &Device<M>) -> std::io::Result<()> {
    let (vendor, product) = device.describe(|said| said.vendor_and_product());
    let strings = device.describe(|said| said.strings.clone());
    let class = device.describe(|said| said.device[4]);
    let descriptors = device.describe(|said| [&said.device, said.configuration].concat());
    let [manufacturer, name, serial] = strings;
    let made = entry.with_extension("new");
    fs::create_dir(&made)?;
    fs::write(made.join("descriptors"), descriptors)?;
    for (attribute, value) in [
        ("busnum", BUS.to_string()),
        ("devnum", address.to_string()),
        ("speed", "12".to_owned()),
        ("version", " 2.00".to_owned()),
        ("bDeviceClass", format!("{class:02x}")),
        ("bConfigurationValue", "1".to_owned()),
        ("idVendor", format!("{vendor:04x}")),
        ("idProduct", format!("{product:04x}")),
        ("manufacturer", manufacturer),
        ("product", name),
        ("serial", serial),
    ] {
        // The kernel leaves out what a device does not say.
        if value.is_empty() {
            continue;
        }
        fs::write(made.join(attribute), format!("{value}\n"))?;
    }
    if class == HUB_CLASS {
        fs::write(made.join("maxchild"), format!("{HUB_PORTS}\n"))?;
    }
    fs::rename(made, entry)
}

/// Serves everybody who opens the device, until the last one has closed it.
async fn accept<M: Model>(
    listener: UnixListener,
    device: Arc<Device<M>>,
    mut gone: watch::Receiver<bool>,
) {
    let claimed = Arc::new(tokio::sync::Mutex::new(()));
    let mut clients = JoinSet::new();
    let is_gone = gone.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { break };
                let (device, gone) = (Arc::clone(&device), is_gone.clone());
                let claimed = Arc::clone(&claimed);
                clients.spawn(async move {
                    let mut file = OpenFile {
                        program: Program { stream },
                        device,
                        gone,
                        interface: claimed,
                        claim: None,
                        pending: Vec::new(),
                        unanswered: Vec::new(),
                        done: Vec::new(),
                    };
                    // It ends when the program closes the device.
                    file.serve().await.ok();
                });
            }
            _ = gone.wait_for(|gone| *gone) => break,
        }
    }
    drop(listener);
    while clients.join_next().await.is_some() {}
}

/// A program that has opened a device.
struct Program {
    stream: UnixStream,
}

/// What an `ioctl` comes to: a value, or an error.
type Outcome = std::result::Result<u64, Errno>;

impl Program {
    async fn next(&mut self) -> std::io::Result<[u64; 3]> {
        let mut bytes = [0; 24];
        self.stream.read_exact(&mut bytes).await?;
        let (words, _) = bytes.as_chunks::<8>();
        Ok([0, 1, 2].map(|place| u64::from_ne_bytes(words[place])))
    }

    async fn tell(&mut self, words: [u64; 3]) -> std::io::Result<()> {
        self.stream.write_all(&words.map(u64::to_ne_bytes).concat()).await
    }

    /// Ends the `ioctl`.
    async fn answer(&mut self, outcome: Outcome) -> std::io::Result<()> {
        const DONE: u64 = 3;
        match outcome {
            Ok(value) => self.tell([DONE, value, 0]).await,
            Err(error) => {
                self.tell([DONE, u64::MAX, u64::from((error as i32).unsigned_abs())]).await
            }
        }
    }

    async fn read(&mut self, address: u64, length: u64) -> std::io::Result<Vec<u8>> {
        const READ_MEMORY: u64 = 5;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        if !bytes.is_empty() {
            self.tell([READ_MEMORY, address, length]).await?;
            self.stream.read_exact(&mut bytes).await?;
        }
        Ok(bytes)
    }

    async fn write(&mut self, address: u64, bytes: &[u8]) -> std::io::Result<()> {
        const WRITE_MEMORY: u64 = 6;
        if bytes.is_empty() {
            return Ok(());
        }
        self.tell([WRITE_MEMORY, address, u64::try_from(bytes.len()).unwrap_or(0)]).await?;
        self.stream.write_all(bytes).await
    }
}

/// A device that a program has open; every open file has its own transfers.
struct OpenFile<M> {
    program: Program,
    device: Arc<Device<M>>,
    gone: watch::Receiver<bool>,
    /// Whoever holds this has claimed the interface.
    interface: Arc<tokio::sync::Mutex<()>>,
    claim: Option<tokio::sync::OwnedMutexGuard<()>>,
    /// Transfers that wait for the device.
    pending: Vec<Transfer>,
    /// Transfers that the device never ends.
    unanswered: Vec<Transfer>,
    /// Transfers that the program has not been told about.
    done: Vec<Done>,
}

/// A `struct usbdevfs_urb` of the program.
#[derive(Clone, Copy)]
struct Transfer {
    /// Where it is.
    urb: u64,
    /// Where its data go.
    buffer: u64,
    length: usize,
}

struct Done {
    transfer: Transfer,
    outcome: std::result::Result<usize, Errno>,
    data: Vec<u8>,
}

impl<M: Model> OpenFile<M> {
    async fn serve(&mut self) -> std::io::Result<()> {
        const IOCTL: u64 = 1;
        // What the library takes for: do it yourself.
        const NOT_MINE: u64 = (-100_i64).cast_unsigned();
        loop {
            let outcome = match self.program.next().await? {
                [IOCTL, request, argument] => self.ioctl(request, argument).await?,
                _ => Ok(NOT_MINE),
            };
            self.program.answer(outcome).await?;
        }
    }

    async fn ioctl(&mut self, request: u64, argument: u64) -> std::io::Result<Outcome> {
        Ok(match request & 0xffff_ffff {
            // Submit, discard and reap a transfer.
            0x8038_550a => self.submit(argument).await?,
            0x0000_550b => self.discard(argument),
            0x4008_550c | 0x4008_550d => self.reap(argument).await?,
            _ if *self.gone.borrow() => Err(Errno::ENODEV),
            // Claim an interface, maybe from a driver, and release it.
            0x8004_550f | 0x8108_551b => match Arc::clone(&self.interface).try_lock_owned() {
                Ok(claim) => {
                    self.claim = Some(claim);
                    Ok(0)
                }
                Err(_) => Err(Errno::EBUSY),
            },
            0x8004_5510 => {
                self.claim = None;
                Ok(0)
            }
            // Capabilities: zero packets, and transfers of any size.
            0x8004_551a => {
                self.program.write(argument, &5_u32.to_ne_bytes()).await?;
                Ok(0)
            }
            // No driver of the kernel is bound: it ignores these boards.
            0x4104_5508 | 0xc010_5512 => Err(Errno::ENODATA),
            // Reset, clear a halt, set an interface or the configuration.
            0x5514 | 0x8004_5503 | 0x8004_5515 | 0x8008_5504 | 0x8004_5505 => Ok(0),
            _ => Err(Errno::ENOTTY),
        })
    }

    async fn submit(&mut self, urb: u64) -> std::io::Result<Outcome> {
        const CONTROL: u8 = 2;
        if *self.gone.borrow() {
            return Ok(Err(Errno::ENODEV));
        }
        let fields = self.program.read(urb, 56).await?;
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&fields[at..at + 8]);
            u64::from_ne_bytes(bytes)
        };
        let (kind, endpoint, buffer) = (fields[0], fields[1], word(16));
        let length = word(24) & 0xffff_ffff;
        let transfer = Transfer { urb, buffer, length: usize::try_from(length).unwrap_or(0) };
        if kind == CONTROL {
            let data = self.program.read(buffer, length).await?;
            match self.control(transfer, &data) {
                Some(done) => self.done.push(done),
                None => self.unanswered.push(transfer),
            }
        } else if endpoint & 0x80 != 0 {
            self.pending.push(transfer);
        } else if self.claim.is_none() {
            return Ok(Err(Errno::EINVAL));
        } else {
            let data = self.program.read(buffer, length).await?;
            let outcome = self.device.output(&data).map(|()| data.len()).ok_or(Errno::EPIPE);
            self.done.push(Done { transfer, outcome, data: Vec::new() });
        }
        Ok(Ok(0))
    }

    /// A control transfer begins with its setup in the buffer, and goes on with its data.
    /// None if it is never answered.
    fn control(&self, transfer: Transfer, buffer: &[u8]) -> Option<Done> {
        let failed = |error| Done { transfer, outcome: Err(error), data: Vec::new() };
        let Some((setup, data)) = buffer.split_first_chunk::<8>() else {
            return Some(failed(Errno::EINVAL));
        };
        let setup = Setup::parse(*setup);
        match self.device.control(setup, data) {
            Reply::Data(answer) => Some(Done {
                transfer: Transfer { buffer: transfer.buffer + 8, ..transfer },
                outcome: Ok(answer.len().max(data.len() * usize::from(setup.kind & 0x80 == 0))),
                data: answer,
            }),
            Reply::Stall => Some(failed(Errno::EPIPE)),
            Reply::Silence => None,
        }
    }

    fn discard(&mut self, urb: u64) -> Outcome {
        let lists = [&mut self.pending, &mut self.unanswered];
        let transfer = lists.into_iter().find_map(|list| {
            let place = list.iter().position(|transfer| transfer.urb == urb)?;
            Some(list.remove(place))
        });
        let transfer = transfer.ok_or(Errno::EINVAL)?;
        self.done.push(Done { transfer, outcome: Err(Errno::ENOENT), data: Vec::new() });
        Ok(0)
    }

    async fn reap(&mut self, pointer: u64) -> std::io::Result<Outcome> {
        let gone = *self.gone.borrow();
        while gone && let Some(transfer) = self.pending.pop().or_else(|| self.unanswered.pop()) {
            self.done.push(Done { transfer, outcome: Err(Errno::ENODEV), data: Vec::new() });
        }
        while let Some(&transfer) = self.pending.first()
            && let Some(mut data) = self.device.input(transfer.length)
        {
            self.pending.remove(0);
            data.truncate(transfer.length);
            self.done.push(Done { transfer, outcome: Ok(data.len()), data });
        }
        if self.done.is_empty() {
            // A regular file is always ready, so that a program that waits asks again at once.
            if !self.pending.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            return Ok(Err(if gone { Errno::ENODEV } else { Errno::EAGAIN }));
        }
        let Done { transfer, outcome, data } = self.done.remove(0);
        let (status, length) = match outcome {
            Ok(length) => (0, length),
            Err(error) => (-(error as i32), 0),
        };
        self.program.write(transfer.buffer, &data).await?;
        self.program.write(transfer.urb + 4, &status.to_ne_bytes()).await?;
        let length = u32::try_from(length).unwrap_or(0);
        self.program.write(transfer.urb + 28, &length.to_ne_bytes()).await?;
        self.program.write(pointer, &transfer.urb.to_ne_bytes()).await?;
        Ok(Ok(0))
    }
}
