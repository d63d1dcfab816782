//! What processes use of the machine, as the kernel counts it.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use tokio::time::sleep;

/// What some processes use at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// Resident memory, in bytes; what processes share is counted for each.
    pub(super) resident: f64,
    /// Resident memory, in bytes; what processes share is divided between them.
    pub(super) proportional: f64,
    pub(super) descriptors: f64,
    pub(super) threads: f64,
}

impl Usage {
    /// What these processes use together.
    pub(super) fn of(pids: &[Pid]) -> Result<Self> {
        let mut sum = Self::default();
        for pid in pids {
            let memory = read(*pid, "smaps_rollup")?;
            sum.resident += kilobytes(&memory, "Rss")?;
            sum.proportional += kilobytes(&memory, "Pss")?;
            sum.threads += number(&read(*pid, "status")?, "Threads")?;
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
                .with_context(|| format!("listing the descriptors of process {pid}"))?;
            sum.descriptors += f64::from(u32::try_from(descriptors.count())?);
        }
        Ok(sum)
    }
}

/// The most resident memory that a process ever had, in bytes.
pub(super) fn peak_memory(pid: Pid) -> Result<f64> {
    kilobytes(&read(pid, "status")?, "VmHWM")
}

/// The processor time that these processes have used so far.
pub(super) fn processor_time(pids: &[Pid]) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for pid in pids {
        let clock = clock_getcpuclockid(*pid).with_context(|| format!("the clock of {pid}"))?;
        sum += Duration::from(clock_gettime(clock)?);
    }
    Ok(sum)
}

/// The share of the processors that was busy during a moment in which the benchmark did nothing.
pub(super) async fn disturbance() -> Result<f64> {
    const MOMENT: Duration = Duration::from_millis(500);
    let before = ticks()?;
    sleep(MOMENT).await;
    let after = ticks()?;
    Ok((after.busy - before.busy) / (after.all - before.all).max(1.0))
}

/// The time that all processors have spent, in ticks.
struct Ticks {
    busy: f64,
    all: f64,
}

fn ticks() -> Result<Ticks> {
    let stat = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    parse_ticks(&stat).context("the first line of /proc/stat is not as proc(5) says")
}

/// Parses `cpu USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ STEAL ...`.
fn parse_ticks(stat: &str) -> Option<Ticks> {
    let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
    let numbers: Vec<f64> = numbers.map(str::parse).collect::<Result<_, _>>().ok()?;
    // Time in a virtual machine counts as the user's as well.
    let all: f64 = numbers.get(..8)?.iter().sum();
    Some(Ticks { busy: all - numbers[3] - numbers[4], all })
}

fn read(pid: Pid, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).with_context(|| format!("reading {path}"))
}

fn kilobytes(text: &str, name: &str) -> Result<f64> {
    Ok(number(text, name)? * 1024.0)
}

/// The number in the line `NAME: NUMBER`, where a unit may follow.
fn number(text: &str, name: &str) -> Result<f64> {
    text.lines()
        .find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(':')?;
            value.split_ascii_whitespace().next()?.parse().ok()
        })
        .with_context(|| format!("the kernel doesn't say {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_names() {
        let status = "Name:\tsh\nVmHWM:\t    1024 kB\nThreads:\t3\n";
        assert_eq!(kilobytes(status, "VmHWM").unwrap(), 1024.0 * 1024.0);
        assert_eq!(number(status, "Threads").unwrap(), 3.0);
        assert!(number(status, "Thread").is_err());
    }

    #[test]
    fn waiting_is_not_busy() {
        let ticks = parse_ticks("cpu  10 1 20 100 50 3 4 2 7 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!((ticks.busy, ticks.all), (40.0, 190.0));
        assert!(parse_ticks("intr 5").is_none());
    }

    #[test]
    fn this_process_uses_something() {
        let own = [Pid::this()];
        let usage = Usage::of(&own).unwrap();
        assert!(usage.resident >= usage.proportional && usage.proportional > 0.0);
        assert!(usage.threads >= 1.0 && usage.descriptors >= 3.0);
        assert!(peak_memory(own[0]).unwrap() > 0.0);
        assert!(processor_time(&own).unwrap() > Duration::ZERO);
    }
}
