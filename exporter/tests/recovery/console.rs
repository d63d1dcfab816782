//! A serial console: recorded across lives of the exporter, lent to flashers, shared by clients.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Output, Stdio};

use exporter::wire::EndSessionRequest;
use nix::pty::openpty;
use nix::sys::signal::Signal;
use nix::sys::termios::{LocalFlags, SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::ttyname;
use tokio::time::sleep;

use crate::bench::{Bench, Exporter, POLL};

/// The board's end of a serial line, and the port, which stays there for as long as this does.
struct Board {
    board: File,
    port: OwnedFd,
}

impl Board {
    fn new() -> Self {
        let line = openpty(None, None).unwrap();
        let mut settings = tcgetattr(&line.slave).unwrap();
        cfmakeraw(&mut settings);
        tcsetattr(&line.slave, SetArg::TCSANOW, &settings).unwrap();
        Self { board: line.master.into(), port: line.slave }
    }

    fn says(&mut self, text: &str) {
        self.board.write_all(text.as_bytes()).unwrap();
    }

    fn hears(&mut self, text: &str) {
        let mut heard = vec![0; text.len()];
        self.board.read_exact(&mut heard).unwrap();
        assert_eq!(String::from_utf8(heard).unwrap(), text);
    }

    /// A bench with this console, and with `more`.
    fn bench(&self, more: &str) -> Bench {
        let port = ttyname(&self.port).unwrap();
        Bench::new(&format!(
            "export:
  power: {{type: jumpstarter_driver_power.driver.MockPower}}
  serial:
    type: jumpstarter_driver_pyserial.driver.PySerial
    config: {{url: {}, record: {{size: 1M}}}}
{more}",
            port.display()
        ))
    }
}

fn run(exporter: &Exporter, arguments: &[&str]) -> Output {
    exporter.j(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Waits until the console's log has a word; returns the log.
async fn logged(exporter: &Exporter, word: &str, options: &[&str]) -> String {
    loop {
        let output = run(exporter, &[&["serial", "log"], options].concat());
        let log = String::from_utf8(output.stdout).unwrap();
        if log.contains(word) {
            return log;
        }
        sleep(POLL).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_outlives_the_exporter_and_a_lease_sees_its_own_part() {
    let mut board = Board::new();
    let bench = board.bench("");
    let mut exporter = bench.start(None);
    let client = exporter.in_use().await;
    board.says("before the boot\r\n");
    logged(&exporter, "before the boot", &[]).await;
    assert!(run(&exporter, &["power", "on"]).status.success());
    board.says("U-Boot\r\n");
    let log = logged(&exporter, "U-Boot", &["--since", "boot"]).await;
    assert_eq!(log, "U-Boot\r\n");
    let log = logged(&exporter, "U-Boot", &["-t"]).await;
    let marks: Vec<_> = log.lines().filter(|line| line.ends_with(" --")).collect();
    assert!(marks[0].contains(" -- lease standalone of "), "{log}");
    assert!(marks[1].ends_with(" -- power: power on --"), "{log}");
    exporter.signal(Signal::SIGKILL);
    exporter.ended().await;
    drop(client);

    let mut exporter = bench.start(None);
    let mut client = exporter.in_use().await;
    board.says("after the crash\r\n");
    let log = logged(&exporter, "after the crash", &[]).await;
    assert_eq!(log, "before the boot\r\nU-Boot\r\nafter the crash\r\n");
    client.end_session(EndSessionRequest {}).await.unwrap();
    // What is said while one lease ends and the next begins is not for both.
    let log = loop {
        board.says("next\r\n");
        let log = String::from_utf8(run(&exporter, &["serial", "log"]).stdout).unwrap();
        if log.contains("next") && !log.contains("U-Boot") {
            break log;
        }
        sleep(POLL).await;
    };
    assert!(!log.contains("crash"), "{log}");
    let files = bench.file("state/exporters/bench/recordings/serial").read_dir().unwrap();
    let kept: Vec<u8> = files.flat_map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(String::from_utf8_lossy(&kept).contains("before the boot"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_borrows_the_console_and_gives_it_back() {
    let mut board = Board::new();
    let hook = "\nhooks:\n  beforeLease:\n    onFailure: endLease\n    script: |\n      \
                j serial borrow -- sh -c 'printf flash > {}'\n      \
                j serial borrow -- sh -c 'exit 7' || echo $? > $DIR/code\n";
    let bench = board.bench(hook);
    let mut exporter = bench.start(None);
    let _client = exporter.in_use().await;
    board.hears("flash");
    assert_eq!(bench.lines("code"), ["7"]);
    board.says("flashed\r\n");
    let log = logged(&exporter, "flashed", &["--timestamps"]).await;
    assert!(log.contains(" -- lent to another program --\n"), "{log}");

    // Whoever is killed gives it back, too.
    // It ends with its input, also where its borrower can't end it any more.
    let mut borrow = exporter.j(&["serial", "borrow", "--", "cat"]);
    let mut borrower = borrow.stdin(Stdio::piped()).spawn().unwrap();
    while log_of(&exporter).matches("lent to").count() < 3 {
        sleep(POLL).await;
    }
    let refused = run(&exporter, &["serial", "borrow", "--", "true"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is borrowed by another program"));
    borrower.kill().unwrap();
    borrower.wait().unwrap();
    board.says("back\r\n");
    logged(&exporter, "back", &[]).await;
}

fn log_of(exporter: &Exporter) -> String {
    String::from_utf8(run(exporter, &["serial", "log", "-t"]).stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_console_is_read_only_until_it_takes_over() {
    let mut board = Board::new();
    let bench = board.bench("");
    let mut exporter = bench.start(None);
    let _client = exporter.in_use().await;
    let mut writer = exporter.j(&["serial", "pipe"]);
    let mut writer = writer.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    writer.stdin.as_mut().unwrap().write_all(b"mine").unwrap();
    board.hears("mine");

    let refused = exporter.j(&["serial", "pipe", "--no-output"]).stdin(Stdio::piped()).spawn();
    let mut refused = refused.unwrap();
    refused.stdin.take().unwrap().write_all(b"no").unwrap();
    assert_eq!(refused.wait().unwrap().code(), Some(1));

    let terminal = openpty(None, None).unwrap();
    let mut keyboard = File::from(terminal.master);
    let side = || Stdio::from(terminal.slave.try_clone().unwrap());
    let is_raw = || !tcgetattr(&terminal.slave).unwrap().local_flags.contains(LocalFlags::ICANON);
    for (options, writes) in [(&[][..], false), (&["--take-over"], true)] {
        let mut console = exporter.j(&[&["serial", "start-console"], options].concat());
        let console = console.stdin(side()).stdout(side()).stderr(Stdio::piped()).spawn().unwrap();
        let mut screen = String::new();
        while !screen.ends_with("shown to all") {
            let mut byte = [0];
            keyboard.read_exact(&mut byte).unwrap();
            screen.push(byte[0].into());
            if screen.ends_with("3 times") {
                board.says("shown to all");
            }
        }
        while !is_raw() {
            sleep(POLL).await;
        }
        keyboard.write_all(b"x").unwrap();
        if writes {
            board.hears("x");
        }
        keyboard.write_all(b"\x02\x02\x02").unwrap();
        let output = console.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.starts_with("Read-only: another stream writes"), !writes, "{said}");
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
}
