//! Consoles, pipes and forwarded connections.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use nix::pty::openpty;
use nix::sys::signal::Signal;
use nix::sys::termios::{LocalFlags, tcgetattr};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::Child;
use tokio::task;
use tonic::Status;

use crate::bench::{Bench, said, signal};

#[tokio::test]
async fn a_pipe_sends_stdin_and_follows_the_output_to_its_end() {
    let bench = Bench::start();
    let output = bench.run_with("serial pipe", b"hello\n").await;
    let words = "Bidirectional mode (auto-detected piped stdin): stdin→serial, serial→stdout \
                 (Ctrl+C to exit)\n\nSerial connection closed normally (end of stream).\n";
    assert_eq!(said(&output), (Some(0), "hello\n", words));
}

#[tokio::test]
async fn a_pipe_can_go_to_a_file_and_append_to_it() {
    let bench = Bench::start();
    for line in ["serial pipe -o log", "serial pipe -o log -a", "serial pipe -a --output log"] {
        assert_eq!(bench.run_with(line, b"line\n").await.status.code(), Some(0));
    }
    assert_eq!(std::fs::read_to_string(bench.path("log")).unwrap(), "line\n".repeat(3));
    bench.run_with("serial pipe -o log", b"new\n").await;
    assert_eq!(std::fs::read_to_string(bench.path("log")).unwrap(), "new\n");
}

#[tokio::test]
async fn a_pipe_without_output_prints_none() {
    let bench = Bench::start();
    let output = bench.run_with("serial pipe --no-output", b"reboot\n").await;
    let (code, stdout, stderr) = said(&output);
    assert_eq!((code, stdout), (Some(0), ""));
    assert!(stderr.starts_with("Fire-and-forget mode"), "{stderr}");
}

#[tokio::test]
async fn an_interrupted_pipe_says_that_it_stopped() {
    let bench = Bench::start();
    let child = bench.j("serial pipe --no-input").spawn().unwrap();
    bench.called("serial.connect").await;
    signal(&child, Signal::SIGINT);
    let output = child.wait_with_output().await.unwrap();
    let words = "Reading from serial port (read-only)... (Ctrl+C to exit)\n\nStopped.\n";
    assert_eq!(said(&output), (Some(130), "", words));
}

#[tokio::test]
async fn a_port_that_cannot_be_opened_is_an_error() {
    let bench = Bench::start();
    bench.refuse("connect", Status::unknown("no such device"));
    let output = bench.run_with("serial pipe --no-output", b"x").await;
    let (code, _, stderr) = said(&output);
    assert_eq!(code, Some(1));
    assert!(stderr.ends_with("\nError: serial: connect: no such device\n"), "{stderr}");
}

#[tokio::test]
async fn a_console_needs_a_terminal() {
    let bench = Bench::start();
    let output = bench.run("serial start-console").await;
    let words = "Error: serial: start-console needs a terminal on stdin; scripts use `pipe`\n";
    assert_eq!(said(&output), (Some(1), "", words));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_is_raw_until_three_ctrl_b() {
    let bench = Bench::start();
    let terminal = openpty(None, None).unwrap();
    let mut keyboard = File::from(terminal.master);
    let is_raw =
        |terminal: &_| !tcgetattr(terminal).unwrap().local_flags.contains(LocalFlags::ICANON);
    let side = || Stdio::from(terminal.slave.try_clone().unwrap());
    let child = bench.j("serial start-console").stdin(side()).stdout(side()).spawn().unwrap();
    let mut screen = keyboard.try_clone().unwrap();
    let mut expect = |text: &'static str| {
        let mut seen = String::new();
        while !seen.contains(text) {
            let mut byte = [0];
            screen.read_exact(&mut byte).unwrap();
            seen.push(byte[0].into());
        }
    };
    task::block_in_place(|| expect("exit with CTRL+B x 3 times"));
    // The device echoes what it hears, Ctrl-C included, once the terminal is raw.
    while !is_raw(&terminal.slave) {
        task::yield_now().await;
    }
    keyboard.write_all(b"a\x03b").unwrap();
    task::block_in_place(|| expect("a\x03b"));
    keyboard.write_all(b"\x02\x02\x02").unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!is_raw(&terminal.slave));
}

#[tokio::test]
async fn tcp_is_forwarded_in_both_directions() {
    let bench = Bench::start();
    let (child, address) = forwarding(&bench, "net forward-tcp --address 127.0.0.1 0").await;
    let connection = TcpStream::connect(&address).await.unwrap();
    let (mut reader, mut writer) = connection.into_split();
    let sent: Vec<u8> = (0..1_000_003_u32).map(|byte| (byte % 251) as u8).collect();
    let mut received = Vec::new();
    let send = async {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let (_, ()) = tokio::join!(async { reader.read_to_end(&mut received).await.unwrap() }, send);
    assert!(received == sent, "{} bytes came back", received.len());
    signal(&child, Signal::SIGINT);
    assert_eq!(child.wait_with_output().await.unwrap().status.code(), Some(130));
}

#[tokio::test]
async fn a_forwarded_socket_goes_with_the_forwarding() {
    let bench = Bench::start();
    for line in ["net forward-unix", "net forward-unix local"] {
        let (child, path) = forwarding(&bench, line).await;
        let path = bench.path(&path);
        let mut connection = UnixStream::connect(&path).await.unwrap();
        connection.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        connection.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ping");
        signal(&child, Signal::SIGTERM);
        assert_eq!(child.wait_with_output().await.unwrap().status.code(), Some(143));
        assert!(!path.exists(), "{}", path.display());
    }
}

/// Starts forwarding and returns the address that `j` prints.
async fn forwarding(bench: &Bench, line: &str) -> (Child, String) {
    let mut child = bench.j(line).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.as_mut().unwrap());
    let mut address = String::new();
    stdout.read_line(&mut address).await.unwrap();
    (child, address.trim().to_owned())
}
