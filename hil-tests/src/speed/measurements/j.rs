//! `j power on` as a whole process, as hooks run it.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use indoc::indoc;
use tokio::process::ChildStdin;
use tokio::task::block_in_place;
use tokio::time::Instant;

use super::hooks::fork_and_exec;
use super::{Measurement, Run};
use crate::bench::Bench;
use crate::process::Process;
use crate::speed::client::Client;
use crate::speed::rounds::Rounds;
use crate::speed::row::{Row, Samples, Target, Unit};
use crate::speed::statistics::median;
use crate::subject::{self, Exporter, Subject};

pub(super) const J: Measurement = Measurement {
    name: "j",
    how: "runs `j power on`, each subject's own against its own exporter, with power alone and with \
          nine other kinds of drivers; over TCP, and over the Unix socket of a local shell. Bare is \
          to fork and exec `sh -c true`.",
    profile: None,
    run: |rounds| -> Run<'_> { Box::pin(measure(rounds)) },
};

const TARGETS: &[Target] = &[Target::Figure(5.0), Target::TimesPython(90.0)];

static ROWS: [Row; 4] = [
    Row { title: "`j power on`, 1 driver, Unix socket", unit: Unit::MS, targets: TARGETS },
    Row { title: "`j power on`, 1 driver, TCP", unit: Unit::MS, targets: TARGETS },
    Row { title: "`j power on`, 10 drivers, Unix socket", unit: Unit::MS, targets: TARGETS },
    Row { title: "`j power on`, 10 drivers, TCP", unit: Unit::MS, targets: TARGETS },
];

const ONE: &str = indoc! {"
    export:
      power: {type: jumpstarter_driver_power.driver.MockPower}
"};

const TEN: &str = indoc! {"
    export:
      power: {type: jumpstarter_driver_power.driver.MockPower}
      serial: {type: jumpstarter_driver_pyserial.driver.PySerial, config: {url: 'loop://'}}
      console: {type: jumpstarter_driver_pyserial.driver.PySerial, config: {url: 'loop://'}}
      mux: {type: jumpstarter_driver_opendal.driver.MockStorageMuxFlasher}
      flasher: {type: jumpstarter_driver_opendal.driver.MockFlasher}
      files: {type: jumpstarter_driver_opendal.driver.Opendal, config: {scheme: fs, kwargs: {root: /tmp}}}
      ssh: {type: jumpstarter_driver_network.driver.TcpNetwork, config: {host: 127.0.0.1, port: 22}}
      tftp: {type: jumpstarter_driver_network.driver.UdpNetwork, config: {host: 127.0.0.1, port: 69}}
      echo: {type: jumpstarter_driver_network.driver.EchoNetwork}
      group: {type: jumpstarter_driver_composite.driver.Composite}
"};

async fn measure(rounds: &Rounds) -> Result<Vec<Samples>> {
    let mut samples: Vec<_> = ROWS.iter().map(Samples::of).collect();
    let (hilt, python) = (rounds.bench(Subject::Hilt)?, rounds.bench(Subject::Python)?);
    let (hilt, python) = (Hosts::start(&hilt).await?, Hosts::start(&python).await?);
    for subject in rounds.turns() {
        let hosts = match subject {
            Subject::Hilt => &hilt,
            Subject::Python => &python,
            Subject::Bare => {
                for samples in &mut samples {
                    samples.add(subject, fork_and_exec()?);
                }
                continue;
            }
        };
        for (samples, host) in samples.iter_mut().zip(&hosts.hosts) {
            samples.add(subject, block_in_place(|| hosts.j(host))?);
        }
    }
    Ok(samples)
}

/// Exporters of one subject, as `j` finds them.
struct Hosts<'b> {
    bench: &'b Bench,
    /// Where they are, in the order of the rows.
    hosts: [String; 4],
    /// A shell ends when its input does.
    _shells: [(Process, ChildStdin); 2],
    _exporters: [Exporter<'b>; 2],
}

impl<'b> Hosts<'b> {
    async fn start(bench: &'b Bench) -> Result<Self> {
        let one = tcp(bench, ONE).await?;
        let ten = tcp(bench, TEN).await?;
        let (one_socket, one_shell) = shell(bench, "one.yaml", ONE).await?;
        let (ten_socket, ten_shell) = shell(bench, "ten.yaml", TEN).await?;
        let hosts = [one_socket, one.address().to_string(), ten_socket, ten.address().to_string()];
        Ok(Self { bench, hosts, _shells: [one_shell, ten_shell], _exporters: [one, ten] })
    }

    /// What `j power on` takes, in milliseconds.
    fn j(&self, host: &str) -> Result<f64> {
        /// A process that is soon over is run more often.
        const TIMES: [(Subject, usize); 2] = [(Subject::Hilt, 15), (Subject::Python, 1)];
        let times = TIMES.iter().find(|(subject, _)| *subject == self.bench.subject());
        let mut taken = Vec::new();
        for _ in 0..times.map_or(1, |(_, times)| *times) {
            taken.push(run(self.bench, host, &["power", "on"])? * 1e3);
        }
        Ok(median(taken))
    }
}

/// Runs the `j` of a bench's subject; returns how long it takes, in seconds.
pub(super) fn run(bench: &Bench, host: &str, arguments: &[&str]) -> Result<f64> {
    let prepared = bench.prepared();
    let program = match bench.subject() {
        Subject::Python => prepared.reference.join("j"),
        Subject::Hilt | Subject::Bare => prepared.built.join("j"),
    };
    let mut command = bench.command(program).into_std();
    command.args(arguments).env("JUMPSTARTER_HOST", host);
    command.envs([
        ("JMP_DRIVERS_ALLOW", "UNSAFE"),
        ("_JMP_SUPPRESS_DRIVER_WARNINGS", "1"),
        ("JMP_GRPC_INSECURE", "1"),
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let status = command.status().context("running j")?;
    let taken = started.elapsed().as_secs_f64();
    ensure!(status.success(), "`j {}` ended with {status}", arguments.join(" "));
    Ok(taken)
}

async fn tcp<'b>(bench: &'b Bench, config: &str) -> Result<Exporter<'b>> {
    let exporter = Exporter::with(bench, config).unheard().launch()?;
    Client::patient(exporter.address()).await?.is_ready().await?;
    Ok(exporter)
}

/// Opens the devices for local use; the text is where their socket is.
pub(super) async fn shell(
    bench: &Bench,
    name: &str,
    config: &str,
) -> Result<(String, (Process, ChildStdin))> {
    let mut command = bench.command(subject::program(bench)?);
    command.arg("shell").arg("--exporter-config");
    command.arg(bench.write(name, subject::config(config))?);
    command.args(["--", "sh", "-c", "echo \"socket $JUMPSTARTER_HOST\"; read end"]);
    let (mut process, input) = bench.start_with_input("a local shell", command)?;
    process.prints("socket /").await?;
    let lines = process.lines();
    let socket = lines.iter().find_map(|line| line.strip_prefix("socket "));
    Ok((socket.context("the shell has printed it")?.to_owned(), (process, input)))
}
