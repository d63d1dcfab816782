//! What is agreed with a serial port server (RFC 2217), as a state machine without a connection.
//!
//! The client offers telnet's COM-PORT-OPTION. Once the server has accepted it, the client asks for
//! the line's settings, each of which the server answers with the value that is now in effect. Data
//! of the port counts only after that: before, servers send banners.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use bytes::BytesMut;

use super::telnet::{self, Decoder, Event, Verb};

/// Telnet's options, by their numbers.
mod option {
    pub(super) const BINARY: u8 = 0;
    pub(super) const ECHO: u8 = 1;
    pub(super) const SUPPRESS_GO_AHEAD: u8 = 3;
    pub(super) const COM_PORT: u8 = 44;
}

/// What a client asks; a server answers with 100 more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Command {
    Baudrate = 1,
    DataSize = 2,
    Parity = 3,
    StopSize = 4,
    Control = 5,
    Purge = 12,
}

/// How the numbers of a server's answers differ from those of the commands.
const ANSWER: u8 = 100;

/// From either end: hold your data back, and go on. RFC 2217 gives the server's words the numbers
/// of answers, but some servers use the client's.
const SUSPEND: u8 = 8;
const RESUME: u8 = 9;

/// Values of [`Command::Control`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Control {
    /// No flow control.
    NoFlow = 1,
    DtrOn = 8,
    DtrOff = 9,
    RtsOn = 11,
    RtsOff = 12,
}

/// Both buffers, as a value of [`Command::Purge`].
const BOTH_BUFFERS: u8 = 3;

/// One connection to a server.
#[derive(Debug)]
pub(super) struct Session {
    decoder: Decoder,
    /// What the client does: see [`Side`].
    ours: [(u8, Side); 3],
    /// What the server does.
    theirs: [(u8, Side); 4],
    stage: Stage,
    baudrate: NonZeroU32,
    /// Whether answers to [`Command::Control`] are only waited for if they are true.
    trusts_control: bool,
    /// What was asked and not answered yet, in the order of asking.
    asked: VecDeque<Asked>,
    /// What it has said no to since it was asked last.
    denied: Option<Refusal>,
    /// The server can't take more data now.
    suspended: bool,
    /// What is to be sent to the server.
    output: BytesMut,
}

/// Whether an option is in effect in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    No,
    Wanted,
    Yes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server has not accepted the COM-PORT-OPTION yet.
    Offering,
    /// Not all settings are in effect yet.
    Setting,
    /// Data flows.
    Ready,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    command: Command,
    value: Vec<u8>,
}

/// Why a server can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "the server refuses RFC 2217 (telnet option 44); if it serves plain TCP, write socket://"
    )]
    ComPort,
    #[error("the server has ended RFC 2217 (telnet option 44)")]
    Ended,
    #[error("the server set {what} to {got} instead of {wanted}")]
    Value { what: &'static str, wanted: u32, got: u32 },
    #[error("what the server sends is not telnet")]
    Garbage,
}

impl Session {
    /// A session that begins with the client's offer.
    pub(super) fn new(baudrate: NonZeroU32, trusts_control: bool) -> Self {
        let mut session = Self {
            decoder: Decoder::default(),
            ours: [option::BINARY, option::SUPPRESS_GO_AHEAD, option::COM_PORT]
                .map(|option| (option, Side::Wanted)),
            theirs: [
                (option::BINARY, Side::Wanted),
                (option::SUPPRESS_GO_AHEAD, Side::Wanted),
                // Not asked for, and no harm.
                (option::ECHO, Side::No),
                (option::COM_PORT, Side::No),
            ],
            stage: Stage::Offering,
            baudrate,
            trusts_control,
            asked: VecDeque::new(),
            denied: None,
            suspended: false,
            output: BytesMut::new(),
        };
        for (option, _) in session.ours {
            telnet::put_option(Verb::Will, option, &mut session.output);
        }
        for (option, _) in session.theirs.iter().filter(|(_, side)| *side == Side::Wanted) {
            telnet::put_option(Verb::Do, *option, &mut session.output);
        }
        session
    }

    /// What is to be sent to the server.
    pub(super) fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Whether the port is as it was asked for, and its data counts.
    pub(super) fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// Whether the server takes data now.
    pub(super) fn takes_data(&self) -> bool {
        self.is_ready() && !self.suspended
    }

    /// What is being waited for, for an error message.
    pub(super) fn awaited(&self) -> &'static str {
        match (self.stage, self.asked.front()) {
            (Stage::Offering, _) => "an answer to the offer of RFC 2217 (telnet option 44)",
            (Stage::Setting | Stage::Ready, Some(asked)) => asked.command.name(),
            (Stage::Setting | Stage::Ready, None) => "nothing",
        }
    }

    /// Takes in what the server has sent; the port's data goes to `data`.
    ///
    /// # Errors
    ///
    /// Why the session is over.
    pub(super) fn receive(&mut self, input: &[u8], data: &mut BytesMut) -> Result<(), Refusal> {
        let before = data.len();
        for event in self.decoder.decode(input, data) {
            match event {
                Event::Option(verb, option) => self.hear_option(verb, option)?,
                Event::Subnegotiation(text) => self.hear_subnegotiation(&text)?,
                Event::Endless => return Err(Refusal::Garbage),
            }
        }
        // What stands in front of the agreement in the same piece is no data of the port. What
        // stands behind it can't be much, as the agreement ends with emptied buffers.
        if !self.is_ready() {
            data.truncate(before);
        }
        Ok(())
    }

    /// Sends data to the port.
    pub(super) fn send(&mut self, data: &[u8]) {
        telnet::put_data(data, &mut self.output);
    }

    /// Asks for a modem line. [`answer`](Self::answer) tells what became of it.
    pub(super) fn control(&mut self, control: Control) {
        self.ask(Command::Control, vec![control as u8]);
    }

    /// What the server has said to all that it was asked; none as long as it owes an answer.
    pub(super) fn answer(&mut self) -> Option<Result<(), Refusal>> {
        self.asked.is_empty().then(|| self.denied.take().map_or(Ok(()), Err))
    }

    fn ask(&mut self, command: Command, value: Vec<u8>) {
        let text = [&[command as u8][..], &value].concat();
        telnet::put_subnegotiation(option::COM_PORT, &text, &mut self.output);
        if command != Command::Control || self.trusts_control {
            self.asked.push_back(Asked { command, value });
        }
    }

    fn hear_option(&mut self, verb: Verb, option: u8) -> Result<(), Refusal> {
        let (sides, yes, no) = match verb {
            Verb::Will | Verb::Wont => (&mut self.theirs[..], Verb::Do, Verb::Dont),
            Verb::Do | Verb::Dont => (&mut self.ours[..], Verb::Will, Verb::Wont),
        };
        let offers = matches!(verb, Verb::Will | Verb::Do);
        let Some((_, side)) = sides.iter_mut().find(|(known, _)| *known == option) else {
            if offers {
                telnet::put_option(no, option, &mut self.output);
            }
            return Ok(());
        };
        // As RFC 1143 has it: what is new is answered, what is an answer is not.
        let (before, after) = (*side, if offers { Side::Yes } else { Side::No });
        *side = after;
        match (before, after) {
            (Side::No, Side::Yes) => telnet::put_option(yes, option, &mut self.output),
            (Side::Yes, Side::No) => telnet::put_option(no, option, &mut self.output),
            (Side::No, Side::No | Side::Wanted)
            | (Side::Yes, Side::Yes | Side::Wanted)
            | (Side::Wanted, _) => {}
        }
        if option == option::COM_PORT { self.hear_com_port(verb) } else { Ok(()) }
    }

    fn hear_com_port(&mut self, verb: Verb) -> Result<(), Refusal> {
        match (verb, self.stage) {
            (Verb::Do, Stage::Offering) => self.configure(),
            (Verb::Dont, Stage::Offering) => return Err(Refusal::ComPort),
            (Verb::Dont, Stage::Setting | Stage::Ready) => return Err(Refusal::Ended),
            (Verb::Do, Stage::Setting | Stage::Ready) | (Verb::Will | Verb::Wont, _) => {}
        }
        Ok(())
    }

    /// Asks for all settings at once; the server answers in the same order.
    fn configure(&mut self) {
        const NO_PARITY: u8 = 1;
        self.stage = Stage::Setting;
        self.ask(Command::Baudrate, self.baudrate.get().to_be_bytes().to_vec());
        self.ask(Command::DataSize, vec![8]);
        self.ask(Command::Parity, vec![NO_PARITY]);
        self.ask(Command::StopSize, vec![1]);
        // A local port comes up with its modem lines set, too.
        for control in [Control::NoFlow, Control::DtrOn, Control::RtsOn] {
            self.ask(Command::Control, vec![control as u8]);
        }
        self.ask(Command::Purge, vec![BOTH_BUFFERS]);
    }

    fn hear_subnegotiation(&mut self, text: &[u8]) -> Result<(), Refusal> {
        let [option::COM_PORT, code, value @ ..] = text else { return Ok(()) };
        match *code {
            SUSPEND => self.suspended = true,
            RESUME => self.suspended = false,
            code => match code.checked_sub(ANSWER) {
                Some(SUSPEND) => self.suspended = true,
                Some(RESUME) => self.suspended = false,
                Some(command) => self.hear_answer(command, value)?,
                None => {}
            },
        }
        if self.stage == Stage::Setting && self.asked.is_empty() {
            self.stage = Stage::Ready;
        }
        Ok(())
    }

    fn hear_answer(&mut self, command: u8, value: &[u8]) -> Result<(), Refusal> {
        // A server may say the value of anything, also unasked: notices of modem lines, for one.
        let asked = self.asked.iter().position(|asked| asked.command as u8 == command);
        let Some(asked) = asked.and_then(|position| self.asked.remove(position)) else {
            return Ok(());
        };
        // One known server has more bytes than a baud rate needs.
        if value.starts_with(&asked.value) {
            return Ok(());
        }
        let number = |bytes: &[u8]| {
            bytes.iter().take(4).fold(0, |number, byte| (number << 8) | u32::from(*byte))
        };
        let (wanted, got) = (number(&asked.value), number(value));
        let refusal = Refusal::Value { what: asked.command.name(), wanted, got };
        match self.stage {
            Stage::Offering | Stage::Setting => Err(refusal),
            // The port works on; only what was asked of it has not been done.
            Stage::Ready => {
                self.denied = Some(refusal);
                Ok(())
            }
        }
    }
}

impl Command {
    const fn name(self) -> &'static str {
        match self {
            Self::Baudrate => "the baud rate",
            Self::DataSize => "the data bits",
            Self::Parity => "the parity (1: none)",
            Self::StopSize => "the stop bits",
            Self::Control => "flow control or a modem line",
            Self::Purge => "the emptying of the buffers",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WILL: u8 = Verb::Will as u8;
    const DO: u8 = Verb::Do as u8;
    const DONT: u8 = Verb::Dont as u8;

    fn session() -> Session {
        Session::new(NonZeroU32::new(1_500_000).unwrap(), true)
    }

    /// What the session sends, as words about options and subnegotiations.
    fn sent(session: &mut Session) -> (Vec<u8>, Vec<Event>) {
        let mut data = BytesMut::new();
        let output = session.output().split();
        let events = Decoder::default().decode(&output, &mut data);
        (data.to_vec(), events)
    }

    fn receive(session: &mut Session, input: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut data = BytesMut::new();
        session.receive(input, &mut data).map(|()| data.to_vec())
    }

    fn answer(command: u8, value: &[u8]) -> Vec<u8> {
        let mut wire = BytesMut::new();
        let text = [&[command + ANSWER][..], value].concat();
        telnet::put_subnegotiation(option::COM_PORT, &text, &mut wire);
        wire.to_vec()
    }

    /// The answers of a server that does as it is told.
    fn obey(session: &mut Session) -> Vec<u8> {
        let (_, events) = sent(session);
        let answers = events.into_iter().filter_map(|event| match event {
            Event::Subnegotiation(text) => Some(answer(text[1], &text[2..])),
            Event::Option(..) | Event::Endless => None,
        });
        answers.flatten().collect()
    }

    fn ready() -> Session {
        let mut session = session();
        sent(&mut session);
        receive(&mut session, &[255, DO, 44]).unwrap();
        let answers = obey(&mut session);
        receive(&mut session, &answers).unwrap();
        assert!(session.is_ready());
        session
    }

    #[test]
    fn settings_follow_the_accepted_offer_and_data_follows_them() {
        let mut session = session();
        let (data, offer) = sent(&mut session);
        assert_eq!(data, b"");
        assert!(offer.contains(&Event::Option(Verb::Will, 44)), "{offer:?}");
        assert_eq!(receive(&mut session, b"ser2net port 3000\r\n"), Ok(vec![]), "a banner");
        receive(&mut session, &[255, DO, 44]).unwrap();
        assert_eq!(session.awaited(), "the baud rate");
        let answers = obey(&mut session);
        let (last, first) = answers.split_last().unwrap();
        receive(&mut session, first).unwrap();
        assert!(!session.is_ready());
        assert_eq!(receive(&mut session, &[*last, b'x']), Ok(b"x".to_vec()));
        assert!(session.takes_data());
        session.send(b"a\xffb");
        assert_eq!(session.output().split(), &b"a\xff\xffb"[..]);
    }

    #[test]
    fn a_baud_rate_full_of_escapes_is_asked_for() {
        let mut session = Session::new(NonZeroU32::new(0xff_ff_ff).unwrap(), true);
        sent(&mut session);
        receive(&mut session, &[255, DO, 44]).unwrap();
        let (_, events) = sent(&mut session);
        assert_eq!(events[0], Event::Subnegotiation(vec![44, 1, 0, 255, 255, 255]));
    }

    #[test]
    fn refusals_say_what_was_refused() {
        let mut session = session();
        assert_eq!(receive(&mut session, &[255, DONT, 44]), Err(Refusal::ComPort));

        let mut session = self::session();
        receive(&mut session, &[255, DO, 44]).unwrap();
        let error = receive(&mut session, &answer(1, &115_200_u32.to_be_bytes())).unwrap_err();
        assert_eq!(error.to_string(), "the server set the baud rate to 115200 instead of 1500000");

        assert_eq!(receive(&mut ready(), &[255, DONT, 44]), Err(Refusal::Ended));
        let endless = [&[255, 250][..], &[1; 300]].concat();
        assert_eq!(receive(&mut ready(), &endless), Err(Refusal::Garbage));
    }

    #[test]
    fn a_server_that_lies_about_control_can_be_put_up_with() {
        let mut session = Session::new(NonZeroU32::new(9600).unwrap(), false);
        sent(&mut session);
        receive(&mut session, &[255, DO, 44]).unwrap();
        let answers = [
            answer(1, &[0, 0, 0x25, 0x80, 0, 0, 0, 0]),
            answer(2, &[8]),
            answer(3, &[1]),
            answer(4, &[1]),
            answer(5, &[1]),
            answer(5, &[1]),
            answer(5, &[1]),
            answer(12, &[3]),
        ];
        receive(&mut session, &answers.concat()).unwrap();
        assert!(session.is_ready());
    }

    #[test]
    fn the_server_can_hold_data_back() {
        for (suspend, resume) in [(8, 9), (108, 109)] {
            let mut session = ready();
            let say = |code| [255, 250, 44, code, 255, 240];
            receive(&mut session, &say(suspend)).unwrap();
            assert!(!session.takes_data() && session.is_ready());
            receive(&mut session, &say(resume)).unwrap();
            assert!(session.takes_data());
        }
    }

    #[test]
    fn a_modem_line_is_set_when_the_server_says_so() {
        let mut session = ready();
        session.control(Control::DtrOff);
        assert_eq!(session.answer(), None);
        let notice = answer(7, &[0x30]);
        assert_eq!(receive(&mut session, &notice), Ok(vec![]));
        assert_eq!(session.answer(), None);
        receive(&mut session, &answer(5, &[9])).unwrap();
        assert_eq!(session.answer(), Some(Ok(())));
        session.control(Control::RtsOn);
        receive(&mut session, &answer(5, &[12])).unwrap();
        let denied = session.answer().unwrap().unwrap_err().to_string();
        assert_eq!(denied, "the server set flow control or a modem line to 12 instead of 11");
        assert!(session.takes_data());
    }

    #[test]
    fn options_are_answered_once() {
        let mut session = session();
        sent(&mut session);
        // Accepted, offered for the first time, repeated, and unknown.
        for said in [[255, DO, 0], [255, WILL, 1], [255, WILL, 1], [255, WILL, 24]] {
            receive(&mut session, &said).unwrap();
        }
        let answers = [Event::Option(Verb::Do, 1), Event::Option(Verb::Dont, 24)];
        assert_eq!(sent(&mut session).1, answers);
    }

    proptest! {
        #[test]
        fn no_server_makes_it_panic_or_answer_without_end(
            input in proptest::collection::vec(prop_oneof![any::<u8>(), 240..=255_u8, Just(44)], 0..2000),
            length in 1..100_usize,
        ) {
            let mut session = session();
            sent(&mut session);
            let mut data = BytesMut::new();
            for piece in input.chunks(length) {
                if session.receive(piece, &mut data).is_err() {
                    break;
                }
            }
            prop_assert!(session.output().len() <= 3 * input.len() + 100);
        }
    }
}
