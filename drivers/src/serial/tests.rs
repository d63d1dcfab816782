//! Against real pseudo terminals and real TCP connections.

mod loan;

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::symlink;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{ControlFlags, SetArg, tcgetattr, tcsetattr};
use serde_json::json;
use serialport::TTYPort;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpListener;

use super::*;
use crate::driver::Resources;
use crate::registry::{self, parse};
use crate::{Args, ChunkReader, Sink, Source, readiness};

/// The board's end of a serial cable: a pseudo terminal's leader.
pub(super) struct Board {
    leader: AsyncFd<OwnedFd>,
    pub(super) path: String,
    /// Without an open follower the leader can't be read.
    follower: File,
}

impl Board {
    pub(super) fn new() -> Self {
        let leader = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        grantpt(&leader).unwrap();
        unlockpt(&leader).unwrap();
        let path = ptsname_r(&leader).unwrap();
        let follower = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let leader = leader.as_fd().try_clone_to_owned().unwrap();
        Self { leader: readiness::watch(leader).unwrap(), path, follower }
    }

    pub(super) async fn says(&self, bytes: &[u8]) {
        let mut said = 0;
        while said < bytes.len() {
            let write = |fd: &OwnedFd| Ok(nix::unistd::write(fd, &bytes[said..])?);
            said += self.leader.async_io(Interest::WRITABLE, write).await.unwrap();
        }
    }

    pub(super) async fn hears(&self, length: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        while heard.len() < length {
            let mut buffer = vec![0; length - heard.len()];
            let read = |fd: &OwnedFd| Ok(nix::unistd::read(fd, &mut buffer)?);
            let count = self.leader.async_io(Interest::READABLE, read).await.unwrap();
            heard.extend_from_slice(&buffer[..count]);
        }
        heard
    }
}

pub(super) fn serial(config: Value) -> PySerial {
    PySerial::build(parse(config).unwrap()).unwrap()
}

pub(super) async fn connect(driver: &PySerial) -> ByteStream {
    Driver::connect(driver, "connect").await.unwrap()
}

pub(super) async fn call(driver: &PySerial, method: &str, args: Value) -> Result<Value> {
    with_call(method, args, async |call| driver.call(call).await).await
}

/// Does something with a call that lends the driver nothing.
pub(super) async fn with_call<T>(
    method: &str,
    args: Value,
    work: impl AsyncFnOnce(Call<'_>) -> T,
) -> T {
    struct Nothing;
    #[async_trait]
    impl Resources for Nothing {
        async fn source(&self, _: &Value) -> Result<Source> {
            panic!("a serial port takes no resources")
        }
        async fn sink(&self, _: &Value) -> Result<Sink> {
            panic!("a serial port takes no resources")
        }
    }
    let args = Args::new(args.as_array().unwrap().clone());
    work(Call { method, args, resources: &Nothing }).await
}

pub(super) async fn read(reader: &mut dyn ChunkReader, length: usize) -> Vec<u8> {
    let mut heard = Vec::new();
    while heard.len() < length {
        heard.extend_from_slice(&reader.read().await.unwrap().unwrap());
    }
    heard
}

/// How often this process has a file open whose path starts like this one.
fn times_open(path: &str) -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let paths = entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    paths.filter(|open| open.to_string_lossy().starts_with(path)).count()
}

/// Whether this process has the terminal open, apart from the board's own file.
fn is_open(board: &Board) -> bool {
    times_open(&board.path) > 1
}

#[tokio::test]
async fn every_byte_passes_unchanged() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path, "baudrate": "1500000"}));
    driver.open().await.unwrap();
    let mut stream = connect(&driver).await;
    let every: Vec<u8> = (0..=255).collect();
    stream.writer.write(every.clone().into()).await.unwrap();
    assert_eq!(board.hears(256).await, every);
    stream.writer.finish().await.unwrap();
    board.says(&every).await;
    assert_eq!(read(&mut *stream.reader, 256).await, every);
}

#[tokio::test]
async fn a_port_is_only_open_while_it_is_used() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path}));
    driver.open().await.unwrap();
    let stream = connect(&driver).await;
    assert!(is_open(&board));
    drop(stream);
    driver.close().await;
    assert!(!is_open(&board));
}

#[tokio::test]
async fn an_unplugged_device_ends_its_streams_with_an_error_that_names_it() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path}));
    let mut stream = connect(&driver).await;
    board.says(b"Oops").await;
    assert_eq!(stream.reader.read().await.unwrap().unwrap(), "Oops");
    let Board { leader, path, follower } = board;
    let unplug = async { drop(leader) };
    let (read, ()) = tokio::join!(stream.reader.read(), unplug);
    let lost = format!("{path} was disconnected");
    assert_eq!(read.unwrap_err().to_string(), lost);
    let error = stream.writer.write("x".into()).await.unwrap_err();
    assert!(matches!(error, DriverError::Disconnected(_)));
    assert_eq!(error.to_string(), lost);
    // The device's name is free for its next life, although the stream is still there.
    driver.close().await;
    assert_eq!(times_open(&path), 1, "only the board's own file is open");
    drop(follower);
}

#[tokio::test]
async fn a_write_that_waits_ends_when_the_device_goes() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path}));
    let mut stream = connect(&driver).await;
    let write = stream.writer.write(vec![b'x'; 1 << 20].into());
    let unplug = async {
        board.hears(1).await;
        drop(board);
    };
    let (written, ()) = tokio::join!(write, unplug);
    assert!(matches!(written.unwrap_err(), DriverError::Disconnected(_)));
}

#[tokio::test]
async fn a_device_that_comes_back_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("by-id/console");
    let driver = serial(json!({"url": link.to_str().unwrap(), "check_present": false}));
    for _ in 0..2 {
        let board = Board::new();
        let plug_in = async {
            std::fs::create_dir(link.parent().unwrap()).unwrap();
            symlink(&board.path, &link).unwrap();
        };
        let (mut stream, ()) = tokio::join!(connect(&driver), plug_in);
        board.says(b"U-Boot").await;
        assert_eq!(stream.reader.read().await.unwrap().unwrap(), "U-Boot");
        std::fs::remove_dir_all(link.parent().unwrap()).unwrap();
        drop(board);
        assert!(stream.reader.read().await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_stays_away_is_waited_for_only_so_long() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ttyUSB0");
    let path = path.to_str().unwrap();
    let driver = serial(json!({"url": path, "reconnect_timeout": 3}));
    let missing = format!("open {path}: there is no such device; is it plugged in?");
    let start = tokio::time::Instant::now();
    assert_eq!(driver.open().await.unwrap_err().to_string(), missing);
    assert!(start.elapsed() < Duration::from_secs(1));
    let error = Driver::connect(&driver, "connect").await.err().unwrap();
    assert!(matches!(error, DriverError::NotFound(_)));
    assert_eq!(error.to_string(), missing);
    assert!(start.elapsed() >= Duration::from_secs(3));
}

#[tokio::test]
async fn a_port_in_use_and_what_is_no_port_are_told_apart() {
    let board = Board::new();
    let other = TTYPort::open(&serialport::new(&board.path, 9600)).unwrap();
    let driver = serial(json!({"url": board.path}));
    let error = driver.open().await.unwrap_err();
    assert!(matches!(error, DriverError::Busy(_)));
    // This very process: both have it open here.
    let holder = format!("(process {}) is using it", std::process::id());
    assert!(error.to_string().ends_with(&holder), "{error}");
    drop(other);
    driver.open().await.unwrap();

    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let error = serial(json!({"url": path})).open().await.unwrap_err();
    assert_eq!(error.to_string(), format!("open {path}: it is not a serial port"));
}

#[tokio::test]
async fn a_full_pipe_holds_up_its_writer_and_nobody_else() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path}));
    let mut stream = connect(&driver).await;
    let image: Vec<u8> = (0..1_u32 << 18).flat_map(|n| n.to_le_bytes()).collect();
    // One thread does everything, so a write that blocked it would never be read.
    let (written, heard) =
        tokio::join!(stream.writer.write(image.clone().into()), board.hears(image.len()));
    written.unwrap();
    assert!(heard == image);
}

#[tokio::test(start_paused = true)]
async fn a_slow_typist_is_heard_slowly() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path, "cps": 10}));
    let mut stream = connect(&driver).await;
    let start = tokio::time::Instant::now();
    stream.writer.write("hello".into()).await.unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(400), "{took:?}");
    assert_eq!(board.hears(5).await, b"hello");
}

#[tokio::test]
async fn close_ends_streams_that_nobody_drops() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path}));
    assert_eq!(call(&driver, "close", json!([])).await.unwrap(), Value::Null);
    let mut stream = connect(&driver).await;
    call(&driver, "close", json!([])).await.unwrap();
    assert!(!is_open(&board));
    assert!(stream.reader.read().await.unwrap().is_none());
    assert_eq!(
        stream.writer.write("x".into()).await.unwrap_err().to_string(),
        format!("{} was closed", board.path)
    );
    let mut next = connect(&driver).await;
    board.says(b"again").await;
    assert_eq!(next.reader.read().await.unwrap().unwrap(), "again");
}

#[tokio::test]
async fn streams_share_a_port() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path}));
    let (mut one, mut two) = tokio::join!(connect(&driver), connect(&driver));
    for _ in 0..100 {
        board.says(b"tick").await;
        let (first, second) = tokio::join!(read(&mut *one.reader, 4), read(&mut *two.reader, 4));
        assert_eq!((&*first, &*second), (&b"tick"[..], &b"tick"[..]));
    }
    drop(one);
    board.says(b"tock").await;
    assert_eq!(read(&mut *two.reader, 4).await, b"tock");
}

#[tokio::test]
async fn one_stream_writes_at_a_time() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path}));
    let (mut one, mut two) = tokio::join!(connect(&driver), connect(&driver));
    assert_eq!(call(&driver, "writing_for", json!([])).await.unwrap(), Value::Null);
    one.writer.write("aaaa".into()).await.unwrap();
    assert!(call(&driver, "writing_for", json!([])).await.unwrap().is_number());
    let error = two.writer.write("bbbb".into()).await.unwrap_err();
    assert!(matches!(error, DriverError::Busy(_)), "{error}");
    one.writer.finish().await.unwrap();
    two.writer.write("cccc".into()).await.unwrap();
    call(&driver, "take_over", json!([])).await.unwrap();
    assert!(matches!(two.writer.write("x".into()).await.unwrap_err(), DriverError::Busy(_)));
    one.writer.write("dddd".into()).await.unwrap();
    drop(one);
    connect(&driver).await.writer.write("eeee".into()).await.unwrap();
    assert_eq!(board.hears(16).await, b"aaaaccccddddeeee");
}

#[tokio::test]
async fn a_slow_stream_holds_up_nobody_and_learns_what_it_missed() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path}));
    let (mut quick, mut slow) = tokio::join!(connect(&driver), connect(&driver));
    let much = vec![b'x'; queue::BACKLOG + 100_000];
    tokio::join!(board.says(&much), read(&mut *quick.reader, much.len()));
    let mut kept = 0;
    let error = loop {
        match slow.reader.read().await {
            Ok(chunk) => kept += chunk.unwrap().len(),
            Err(error) => break error.to_string(),
        }
    };
    let missed = much.len() - kept;
    assert!(kept <= queue::BACKLOG, "{kept}");
    let path = &board.path;
    assert_eq!(
        error,
        format!("this stream was read too slowly: it missed {missed} bytes of {path} here")
    );
    board.says(b"still here").await;
    assert_eq!(read(&mut *quick.reader, 10).await, b"still here");
}

#[tokio::test]
async fn a_stream_that_nobody_reads_does_not_stop_the_port() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path}));
    let _stream = connect(&driver).await;
    // More than the kernel keeps: a board without a reader could not say it.
    board.says(&vec![b'x'; 1 << 19]).await;
}

#[tokio::test]
async fn a_pseudo_terminal_has_no_modem_lines() {
    let board = Board::new();
    let driver = serial(json!({"url": board.path}));
    for (method, line) in [("set_dtr", "DTR"), ("set_rts", "RTS")] {
        let error = call(&driver, method, json!([true])).await.unwrap_err();
        assert!(matches!(error, DriverError::Unsupported(_)));
        assert_eq!(
            error.to_string(),
            format!(
                "set {line} of {}: Not a typewriter: \
                 it is a pseudo terminal, which has no modem lines",
                board.path
            )
        );
    }
    assert!(matches!(
        call(&driver, "set_dtr", json!([])).await.unwrap_err(),
        DriverError::InvalidArgument(_)
    ));
    let looped = serial(json!({"url": "loop://"}));
    assert_eq!(call(&looped, "set_dtr", json!([true])).await.unwrap(), Value::Null);
}

#[tokio::test]
async fn modem_lines_can_survive_the_close() {
    for (disable_hupcl, kept) in [(true, false), (false, true)] {
        let board = Board::new();
        let mut settings = tcgetattr(&board.follower).unwrap();
        settings.control_flags.insert(ControlFlags::HUPCL);
        tcsetattr(&board.follower, SetArg::TCSANOW, &settings).unwrap();
        let driver = serial(json!({"url": board.path, "disable_hupcl": disable_hupcl}));
        let _stream = connect(&driver).await;
        let settings = tcgetattr(&board.follower).unwrap();
        assert_eq!(settings.control_flags.contains(ControlFlags::HUPCL), kept);
    }
}

#[tokio::test]
async fn a_port_server_is_a_port() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("socket://{}", server.local_addr().unwrap());
    let driver = serial(json!({"url": url, "check_present": false}));
    let (one, accepted) = tokio::join!(connect(&driver), server.accept());
    let (mut one, mut peer) = (one, accepted.unwrap().0);
    // A port server often takes a single connection: the second stream shares it.
    let mut two = connect(&driver).await;
    one.writer.write("ls\n".into()).await.unwrap();
    one.writer.finish().await.unwrap();
    let mut heard = [0; 3];
    peer.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"ls\n");
    peer.write_all(b"boot").await.unwrap();
    assert_eq!(read(&mut *one.reader, 4).await, b"boot");
    assert_eq!(read(&mut *two.reader, 4).await, b"boot");
    drop(peer);
    assert_eq!(one.reader.read().await.unwrap_err().to_string(), format!("{url} was disconnected"));
}

#[tokio::test]
async fn a_loop_answers() {
    let driver = serial(json!({"url": "loop://"}));
    driver.open().await.unwrap();
    let mut stream = connect(&driver).await;
    stream.writer.write("hello".into()).await.unwrap();
    stream.writer.finish().await.unwrap();
    assert_eq!(stream.reader.read().await.unwrap().unwrap(), "hello");
    assert!(stream.reader.read().await.unwrap().is_none());
}

#[test]
fn settings_are_checked() {
    let entry = registry::find("jumpstarter_driver_pyserial.driver.PySerial").unwrap();
    let refused = |config: Value| entry.build(config).unwrap_err().to_string();
    assert!(refused(json!({})).starts_with("missing field `url`"));
    assert!(refused(json!({"url": "loop://", "speed": 9600})).starts_with("unknown field `speed`"));
    assert!(refused(json!({"url": "rfc2217://a"})).contains("write rfc2217://HOST:PORT"));
    assert!(refused(json!({"url": "loop://", "baudrate": 0})).contains("nonzero"));
    assert!(refused(json!({"url": "loop://", "record": true})).contains("record a port"));
    assert!(refused(json!({"url": "loop://", "cps": "10"})).contains("invalid type: string"));
    for baudrate in [json!(9600), json!(9600.0), json!("9600")] {
        let config: Config = parse(json!({"url": "x", "baudrate": baudrate})).unwrap();
        assert_eq!(config.baudrate.get(), 9600);
    }
}
