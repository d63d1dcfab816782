//! Boards of one or two channels, behind a CH340 serial adapter at 9600 baud.

use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use serde::Deserialize;
use serialport::{ErrorKind, SerialPort as _, TTYPort};
use tokio::time::Instant;

use super::{CLIENT, frame, state};
use crate::power::switch::{AtOpen, Position, ReadBack, State, Switch, no_status};
use crate::registry::Build;
use crate::{DriverError, Result, blocking, number};

/// `jumpstarter_driver_noyito_relay.driver.NoyitoPowerSerial`.
#[derive(Debug)]
pub struct NoyitoPowerSerial(SerialConfig);

/// The `config:` block of a board with a serial adapter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialConfig {
    /// The device, such as `/dev/serial/by-path/...`.
    port: String,
    /// Which relay, 1 or 2.
    #[serde(default = "first", deserialize_with = "number::whole")]
    channel: u8,
    /// Switches both relays together.
    #[serde(default)]
    all_channels: bool,
    /// Whether the board answers when it is asked. Those with one relay don't.
    #[serde(default = "yes")]
    read_back: bool,
    #[serde(default)]
    default: AtOpen,
}

const fn first() -> u8 {
    1
}

const fn yes() -> bool {
    true
}

const BAUDRATE: u32 = 9600;

/// Asks a board where its relays are.
const ASK: [u8; 1] = [0xFF];

/// How long a board may take to answer, and how long a whole call may take: a port that is slow to
/// open, two frames, and the answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(10);

impl Build for NoyitoPowerSerial {
    type Config = SerialConfig;

    fn build(config: SerialConfig) -> Result<Self> {
        if !config.all_channels && !(1..=2).contains(&config.channel) {
            return Err(DriverError::InvalidArgument(format!(
                "channel must be 1 or 2, got {}",
                config.channel
            )));
        }
        Ok(Self(config))
    }
}

impl Switch for NoyitoPowerSerial {
    const CLIENT: &'static str = CLIENT;

    async fn set(&self, position: Position) -> Result<()> {
        let config = self.0.clone();
        let what = format!("switch the relay board at {}", config.port);
        blocking::run(&what, LIMIT, move || {
            let mut port = config.open()?;
            for &channel in config.channels() {
                config.send(&mut port, &frame(channel, position))?;
            }
            Ok(())
        })
        .await
    }

    fn read_back(&self) -> ReadBack {
        if self.0.read_back { ReadBack::Device } else { ReadBack::None }
    }

    async fn state(&self) -> Result<State> {
        if !self.0.read_back {
            return Err(no_status());
        }
        let config = self.0.clone();
        let what = format!("ask the relay board at {}", config.port);
        blocking::run(&what, LIMIT, move || {
            let mut port = config.open()?;
            config.send(&mut port, &ASK)?;
            state(&config.answer(&mut port)?, config.channels())
        })
        .await
    }

    fn at_open(&self) -> AtOpen {
        self.0.default
    }
}

impl SerialConfig {
    fn channels(&self) -> &[u8] {
        if self.all_channels { &[1, 2] } else { std::slice::from_ref(&self.channel) }
    }

    /// Opens the port for this call alone, as the reference does: boards are shared. Blocks.
    fn open(&self) -> Result<TTYPort> {
        let builder = serialport::new(&self.port, BAUDRATE).timeout(ANSWER_LIMIT);
        let port = TTYPort::open(&builder).map_err(|error| match error.kind() {
            ErrorKind::NoDevice => DriverError::Busy(format!(
                "open {}: another program is using it ({error})",
                self.port
            )),
            ErrorKind::InvalidInput | ErrorKind::Unknown | ErrorKind::Io(_) => {
                DriverError::io(format!("open {}", self.port), error.into())
            }
        })?;
        // What an earlier call left unread is no answer to this one.
        port.clear(serialport::ClearBuffer::Input)
            .map_err(|error| DriverError::io(format!("clear {}", self.port), error.into()))?;
        Ok(port)
    }

    fn send(&self, port: &mut TTYPort, bytes: &[u8]) -> Result<()> {
        let sent = port.write_all(bytes).and_then(|()| port.flush());
        sent.map_err(|error| DriverError::io(format!("write to {}", self.port), error))
    }

    /// Reads until every channel has had its line, or the board falls silent. Blocks.
    fn answer(&self, port: &mut TTYPort) -> Result<Vec<u8>> {
        let deadline = Instant::now() + ANSWER_LIMIT;
        let (mut answer, mut chunk) = (Vec::new(), [0; 64]);
        while state(&answer, self.channels()).is_err() && Instant::now() < deadline {
            match port.read(&mut chunk) {
                Ok(length) => answer.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
                Err(error) => {
                    return Err(DriverError::io(format!("read from {}", self.port), error));
                }
            }
        }
        if answer.is_empty() {
            return Err(DriverError::Timeout(format!(
                "the relay board at {} does not answer; if it has one relay, it never does, and \
                 needs `read_back: false`",
                self.port
            )));
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::OwnedFd;
    use std::sync::{Arc, Mutex};
    use std::thread;

    use nix::pty::openpty;
    use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
    use nix::unistd::ttyname;
    use serde_json::{Value, json};

    use super::*;
    use crate::power::Power as _;
    use crate::power::switch::Switched;
    use crate::registry::parse;

    /// A board on a pseudo terminal. It may be one that never answers.
    struct Board {
        port: String,
        relays: Arc<Mutex<[bool; 2]>>,
        /// Keeps the terminal alive between two calls; without it the board's thread ends.
        _slave: OwnedFd,
    }

    fn board(answers: bool) -> Board {
        let pty = openpty(None, None).unwrap();
        let mut raw = tcgetattr(&pty.slave).unwrap();
        cfmakeraw(&mut raw);
        tcsetattr(&pty.slave, SetArg::TCSANOW, &raw).unwrap();
        let port = ttyname(&pty.slave).unwrap().to_str().unwrap().to_owned();
        let relays = Arc::new(Mutex::new([false; 2]));
        let state = Arc::clone(&relays);
        let mut master = File::from(pty.master);
        thread::spawn(move || {
            let mut byte = [0];
            while master.read_exact(&mut byte).is_ok() {
                if byte == ASK && answers {
                    let word = |on| if on { "ON" } else { "OFF" };
                    let [one, two] = *state.lock().unwrap();
                    let text = format!("CH1: {}\r\nCH2: {}\r\n", word(one), word(two));
                    // In two pieces, as a slow line delivers it.
                    let (first, second) = text.split_at(6);
                    master.write_all(first.as_bytes()).unwrap();
                    master.write_all(second.as_bytes()).unwrap();
                } else if byte == [0xA0] {
                    let mut rest = [0; 3];
                    master.read_exact(&mut rest).unwrap();
                    let [channel, level, sum] = rest;
                    if sum == 0xA0_u8.wrapping_add(channel).wrapping_add(level) {
                        state.lock().unwrap()[usize::from(channel) - 1] = level == 1;
                    }
                }
            }
        });
        Board { port, relays, _slave: pty.slave }
    }

    fn power(board: &Board, settings: Value) -> Switched<NoyitoPowerSerial> {
        let mut config = json!({"port": board.port});
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        Switched::new(NoyitoPowerSerial::build(parse(config).unwrap()).unwrap())
    }

    #[tokio::test]
    async fn one_relay_is_switched_and_read_back() {
        let board = board(true);
        let power = power(&board, json!({"channel": 2}));
        power.on().await.unwrap();
        assert_eq!(*board.relays.lock().unwrap(), [false, true]);
        power.off().await.unwrap();
        assert_eq!(power.status().await.unwrap(), State::Off);
    }

    #[tokio::test]
    async fn both_relays_are_switched_together() {
        let board = board(true);
        let both = power(&board, json!({"all_channels": true}));
        both.on().await.unwrap();
        assert_eq!(*board.relays.lock().unwrap(), [true, true]);
        power(&board, json!({})).off().await.unwrap();
        assert_eq!(both.status().await.unwrap(), State::Partial);
    }

    #[tokio::test]
    async fn a_board_that_never_answers_is_blind_if_it_is_known_to_be() {
        let board = board(false);
        let error = power(&board, json!({})).on().await.unwrap_err();
        assert!(matches!(error, DriverError::Timeout(_)), "{error}");
        assert!(error.to_string().ends_with("needs `read_back: false`"), "{error}");
        let blind = power(&board, json!({"read_back": false}));
        blind.on().await.unwrap();
        assert!(matches!(blind.status().await, Err(DriverError::Unsupported(_))));
    }

    #[tokio::test]
    async fn a_missing_board_and_a_wrong_channel_are_told_apart() {
        let config = parse(json!({"port": "/nonexistent/tty"})).unwrap();
        let error = NoyitoPowerSerial::build(config).unwrap().set(Position::On).await.unwrap_err();
        assert!(matches!(error, DriverError::NotFound(_)), "{error}");
        let config = parse(json!({"port": "/dev/null", "channel": 3})).unwrap();
        let error = NoyitoPowerSerial::build(config).unwrap_err();
        assert_eq!(error.to_string(), "channel must be 1 or 2, got 3");
    }
}
