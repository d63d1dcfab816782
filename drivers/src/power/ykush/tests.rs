//! The driver with boards that exist only here, and speak as the real ones do.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::*;
use crate::power::Power as _;
use crate::power::switch::Switched;
use crate::registry::{self, parse};
use crate::usb::testing::{plug, unplug};
use crate::usb::{Control, Open};

/// What a board does with the next report, apart from what it should.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Hang,
    Garbage,
    Short,
    EmptyFirst,
}

#[derive(Debug, Default)]
struct Shown {
    ports: BTreeMap<u8, bool>,
    answers: VecDeque<Vec<u8>>,
    moods: VecDeque<Mood>,
    /// How often it was opened, and whether it is open.
    opened: usize,
    open: bool,
    gone: bool,
}

/// A host: the kernel's list, and a board for each serial number.
#[derive(Debug, Clone, Default)]
struct Boards(Arc<Mutex<BTreeMap<String, Arc<Mutex<Shown>>>>>);

impl Boards {
    fn board(&self, serial: &str) -> Arc<Mutex<Shown>> {
        let ports = || [(1, true), (2, true), (3, true), (4, true)].into();
        let new = || Arc::new(Mutex::new(Shown { ports: ports(), ..Shown::default() }));
        Arc::clone(self.0.lock().unwrap().entry(serial.to_owned()).or_insert_with(new))
    }

    fn ports(&self, serial: &str) -> Vec<bool> {
        self.board(serial).lock().unwrap().ports.values().copied().collect()
    }
}

impl Open for Boards {
    fn open(&self, device: &Plugged, claim: Claim) -> Result<Box<dyn Connection>> {
        assert_eq!(claim, Claim::Interface(0));
        let board = self.board(device.serial.as_ref().unwrap());
        {
            let mut state = board.lock().unwrap();
            assert!(!state.open, "the kernel lets an interface be claimed once");
            (state.open, state.gone) = (true, false);
            state.opened += 1;
            state.answers.clear();
        }
        Ok(Box::new(Endpoints(board)))
    }
}

#[derive(Debug)]
struct Endpoints(Arc<Mutex<Shown>>);

impl Drop for Endpoints {
    fn drop(&mut self) {
        self.0.lock().unwrap().open = false;
    }
}

impl Connection for Endpoints {
    fn write(&mut self, report: &[u8], _: Duration) -> Result<()> {
        let mut state = self.0.lock().unwrap();
        if state.gone {
            return Err(DriverError::Disconnected("it was unplugged".into()));
        }
        assert_eq!(report.len(), 64);
        let (action, port) = (report[0] >> 4, report[0] & 0x0F);
        let ports = if port == 0x0A { vec![1, 2, 3] } else { vec![port] };
        let mut answer = vec![0; 64];
        (answer[0], answer[1]) = (1, report[0]);
        match action {
            0 | 1 => ports.iter().for_each(|port| {
                state.ports.insert(*port, action == 1);
            }),
            2 => answer[1] = if state.ports[&port] { 0x10 | port } else { port },
            _ => answer[0] = 0xFF,
        }
        match state.moods.pop_front() {
            None => state.answers.push_back(answer),
            Some(Mood::Hang) => {}
            Some(Mood::Garbage) => state.answers.push_back(vec![0; 64]),
            Some(Mood::Short) => state.answers.push_back(vec![1]),
            Some(Mood::EmptyFirst) => state.answers.extend([vec![], answer]),
        }
        Ok(())
    }

    fn read(&mut self, report: &mut [u8], _: Duration) -> Result<usize> {
        let answer = self.0.lock().unwrap().answers.pop_front();
        let answer = answer.ok_or_else(|| DriverError::Timeout("it does not answer".into()))?;
        report[..answer.len()].copy_from_slice(&answer);
        Ok(answer.len())
    }

    fn control_out(&mut self, _: Control, _: &[u8], _: Duration) -> Result<()> {
        unreachable!("boards are spoken to in reports")
    }

    fn control_in(&mut self, _: Control, _: &mut [u8], _: Duration) -> Result<usize> {
        unreachable!("boards are spoken to in reports")
    }
}

struct Host {
    list: TempDir,
    boards: Boards,
    bus: Arc<Bus>,
}

impl Host {
    fn new() -> Self {
        let (list, boards) = (tempfile::tempdir().unwrap(), Boards::default());
        let bus = Arc::new(Bus::new(list.path().to_owned(), Box::new(boards.clone())));
        Self { list, boards, bus }
    }

    fn list(&self) -> &Path {
        self.list.path()
    }

    fn power<B: Board>(&self, config: Value) -> Switched<Yepkit<B>> {
        let config = parse(config).unwrap();
        Switched::new(Yepkit::on_bus(Arc::clone(&self.bus), config).unwrap())
    }
}

#[tokio::test]
async fn ports_are_switched_one_by_one_or_together() {
    let host = Host::new();
    plug(host.list(), "1-1.2", 0xf2f7, "YK1", 3);
    let two = host.power::<Ykush>(json!({"serial": "YK1", "port": 2}));
    let all = host.power::<Ykush>(json!({}));
    two.off().await.unwrap();
    assert_eq!(host.boards.ports("YK1"), [true, false, true, true]);
    assert_eq!(two.status().await.unwrap(), State::Off);
    assert_eq!(all.status().await.unwrap(), State::Partial);
    all.on().await.unwrap();
    assert_eq!(all.status().await.unwrap(), State::On);
    assert_eq!(host.boards.board("YK1").lock().unwrap().opened, 1, "both share the board");
}

#[tokio::test]
async fn the_reference_switches_off_when_a_lease_begins_and_the_others_do_nothing() {
    let host = Host::new();
    plug(host.list(), "1-1", 0xf2f7, "YK1", 3);
    plug(host.list(), "1-2", 0xf11b, "YK3", 4);
    host.power::<Ykush>(json!({"port": "1"})).open().await.unwrap();
    assert_eq!(host.boards.ports("YK1"), [false, true, true, true]);
    host.power::<Ykush>(json!({"port": "2", "default": "keep"})).open().await.unwrap();
    host.power::<Ykush3>(json!({})).open().await.unwrap();
    assert_eq!(host.boards.ports("YK1"), [false, true, true, true]);
    assert_eq!(host.boards.ports("YK3"), [true; 4]);
}

#[tokio::test]
async fn other_boards_have_other_ports() {
    let host = Host::new();
    plug(host.list(), "1-1", 0xf11b, "YK3", 3);
    plug(host.list(), "1-2", 0xf0cd, "XS", 4);
    plug(host.list(), "1-3", 0xefed, "YK2", 5);
    host.power::<Ykush2>(json!({"port": 3})).off().await.unwrap();
    assert_eq!(host.boards.ports("YK2"), [true, true, false, true]);
    host.power::<Ykush3>(json!({"port": "5v"})).off().await.unwrap();
    assert_eq!(host.boards.ports("YK3"), [true, true, true, false]);
    host.power::<YkushXs>(json!({})).off().await.unwrap();
    assert_eq!(host.boards.ports("XS"), [false, true, true, true]);
    let entry = registry::find("jumpstarter_driver_yepkit.driver.Ykush").unwrap();
    let error = entry.build(json!({"port": "4"})).unwrap_err();
    assert_eq!(error.to_string(), "port: 4 is none; the YKUSH has: 1, 2, 3, all");
}

#[tokio::test(start_paused = true)]
async fn a_board_that_comes_back_is_opened_again() {
    let host = Host::new();
    plug(host.list(), "1-1", 0xf2f7, "YK1", 3);
    let power = host.power::<Ykush>(json!({"serial": "YK1", "port": "1"}));
    power.off().await.unwrap();
    unplug(host.list(), "1-1");
    host.boards.board("YK1").lock().unwrap().gone = true;
    let error = power.on().await.unwrap_err();
    assert!(matches!(error, DriverError::NotFound(_)), "{error}");
    assert!(error.to_string().contains("YKUSH with the serial number YK1"), "{error}");

    // Another socket, another address, and the same board.
    let back = async { plug(host.list(), "1-4", 0xf2f7, "YK1", 9) };
    let (switched, ()) = tokio::join!(power.on(), back);
    switched.unwrap();
    assert_eq!(host.boards.ports("YK1"), [true; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_board_that_is_replugged_between_two_calls_is_opened_again() {
    let host = Host::new();
    plug(host.list(), "1-1", 0xf2f7, "YK1", 3);
    let power = host.power::<Ykush>(json!({"port": "1"}));
    power.off().await.unwrap();
    // The kernel's list is the same except for the address.
    plug(host.list(), "1-1", 0xf2f7, "YK1", 4);
    power.on().await.unwrap();
    assert_eq!(host.boards.board("YK1").lock().unwrap().opened, 2);
}

#[tokio::test]
async fn a_board_that_hangs_once_is_opened_again_and_one_that_goes_on_is_an_error() {
    let host = Host::new();
    plug(host.list(), "1-1", 0xf2f7, "YK1", 3);
    let power = host.power::<Ykush>(json!({"port": "1"}));
    host.boards.board("YK1").lock().unwrap().moods.push_back(Mood::Hang);
    power.off().await.unwrap();
    host.boards.board("YK1").lock().unwrap().moods.extend([Mood::Hang, Mood::Hang]);
    let error = power.on().await.unwrap_err();
    assert!(matches!(error, DriverError::Timeout(_)), "{error}");
    assert!(error.to_string().ends_with("unplug it and plug it in"), "{error}");
}

#[tokio::test]
async fn garbage_is_no_state() {
    let host = Host::new();
    plug(host.list(), "1-1", 0xf2f7, "YK1", 3);
    let power = host.power::<Ykush>(json!({"port": "1"}));
    for mood in [Mood::Garbage, Mood::Short] {
        host.boards.board("YK1").lock().unwrap().moods.push_back(mood);
        let error = power.status().await.unwrap_err();
        assert!(error.to_string().contains("did not understand command 0x21"), "{error}");
    }
    host.boards.board("YK1").lock().unwrap().moods.push_back(Mood::EmptyFirst);
    assert_eq!(power.status().await.unwrap(), State::On);
}

#[tokio::test]
async fn a_closed_driver_lets_go_of_the_board_when_nobody_else_needs_it() {
    let host = Host::new();
    plug(host.list(), "1-1", 0xf2f7, "YK1", 3);
    let (one, two) = (json!({"port": "1"}), json!({"port": "2"}));
    let (one, two) = (host.power::<Ykush>(one), host.power::<Ykush>(two));
    one.on().await.unwrap();
    two.on().await.unwrap();
    one.close().await;
    two.status().await.unwrap();
    assert_eq!(host.boards.board("YK1").lock().unwrap().opened, 1);
    two.close().await;
    while host.boards.board("YK1").lock().unwrap().open {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_of_several_exporters_of_a_process_is_opened_once() {
    assert!(Arc::ptr_eq(&Bus::host(), &Bus::host()), "all exporters have the same bus");
    let host = Arc::new(Host::new());
    plug(host.list(), "1-1", 0xf2f7, "YK1", 3);
    let mut exporters = JoinSet::new();
    for port in ["1", "2"] {
        let host = Arc::clone(&host);
        exporters.spawn(async move {
            let power = host.power::<Ykush>(json!({"serial": "YK1", "port": port}));
            power.open().await.unwrap();
            for _ in 0..20 {
                power.on().await.unwrap();
                assert_eq!(power.status().await.unwrap(), State::On);
                power.off().await.unwrap();
                assert_eq!(power.status().await.unwrap(), State::Off);
            }
            power
        });
    }
    let mut powers = exporters.join_all().await;
    // One of them fails: its driver goes without being closed.
    drop(powers.pop());
    powers[0].on().await.unwrap();
    assert_eq!(host.boards.board("YK1").lock().unwrap().opened, 1);
}
