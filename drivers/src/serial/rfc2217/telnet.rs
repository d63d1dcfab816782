//! Telnet's framing (RFC 854, RFC 855): data, commands and subnegotiations in one flow of bytes.

use bytes::{BufMut as _, BytesMut};

/// Interpret as command: the byte that begins all that is not data.
const IAC: u8 = 255;
const SB: u8 = 250;
const SE: u8 = 240;

/// No subnegotiation of a serial port server is nearly as long, in bytes.
const LONGEST: usize = 256;

/// What the ends of a connection say about an option; the numbers are telnet's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Verb {
    Will = 251,
    Wont = 252,
    Do = 253,
    Dont = 254,
}

impl Verb {
    fn of(byte: u8) -> Option<Self> {
        [Self::Will, Self::Wont, Self::Do, Self::Dont].into_iter().find(|verb| *verb as u8 == byte)
    }
}

/// What comes between the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A word about an option.
    Option(Verb, u8),
    /// What stands between the beginning and the end of a subnegotiation, the option first.
    Subnegotiation(Vec<u8>),
    /// A subnegotiation that doesn't end: whoever sends this doesn't speak telnet.
    Endless,
}

/// Takes a flow of bytes apart, wherever it is cut.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Data,
    Command,
    Option(Verb),
    Subnegotiation(Vec<u8>),
    SubnegotiationCommand(Vec<u8>),
}

impl Decoder {
    /// Takes in what has come: the data goes to `data`, the rest is returned.
    pub(super) fn decode(&mut self, input: &[u8], data: &mut BytesMut) -> Vec<Event> {
        let mut events = Vec::new();
        let mut rest = input;
        while !rest.is_empty() {
            // Most of what comes is data in one piece.
            if matches!(self.state, State::Data) {
                let length = rest.iter().position(|&byte| byte == IAC).unwrap_or(rest.len());
                data.put_slice(&rest[..length]);
                rest = &rest[length..];
            }
            let Some((&byte, after)) = rest.split_first() else { break };
            rest = after;
            let (state, event) = std::mem::take(&mut self.state).after(byte, data);
            self.state = state;
            events.extend(event);
        }
        events
    }
}

impl State {
    /// The state after one more byte, and what is complete with it.
    fn after(self, byte: u8, data: &mut BytesMut) -> (Self, Option<Event>) {
        match self {
            Self::Data if byte == IAC => (Self::Command, None),
            Self::Data => {
                data.put_u8(byte);
                (Self::Data, None)
            }
            Self::Command => Self::command(byte, data),
            Self::Option(verb) => (Self::Data, Some(Event::Option(verb, byte))),
            Self::Subnegotiation(text) if byte == IAC => (Self::SubnegotiationCommand(text), None),
            Self::Subnegotiation(text) => Self::more(text, byte),
            Self::SubnegotiationCommand(text) => match byte {
                SE => (Self::Data, Some(Event::Subnegotiation(text))),
                IAC => Self::more(text, IAC),
                // Its end has been lost, and this is the next command.
                _ => Self::command(byte, data),
            },
        }
    }

    fn command(byte: u8, data: &mut BytesMut) -> (Self, Option<Event>) {
        match (byte, Verb::of(byte)) {
            (IAC, _) => {
                data.put_u8(IAC);
                (Self::Data, None)
            }
            (SB, _) => (Self::Subnegotiation(Vec::new()), None),
            (_, Some(verb)) => (Self::Option(verb), None),
            // No operation, are you there, go ahead and the like mean nothing to a serial line.
            (_, None) => (Self::Data, None),
        }
    }

    fn more(mut text: Vec<u8>, byte: u8) -> (Self, Option<Event>) {
        if text.len() == LONGEST {
            return (Self::Data, Some(Event::Endless));
        }
        text.push(byte);
        (Self::Subnegotiation(text), None)
    }
}

/// Writes data.
pub(super) fn put_data(data: &[u8], output: &mut BytesMut) {
    for piece in data.split_inclusive(|&byte| byte == IAC) {
        output.put_slice(piece);
        if piece.ends_with(&[IAC]) {
            output.put_u8(IAC);
        }
    }
}

/// Writes a word about an option.
pub(super) fn put_option(verb: Verb, option: u8, output: &mut BytesMut) {
    output.put_slice(&[IAC, verb as u8, option]);
}

/// Writes a subnegotiation.
pub(super) fn put_subnegotiation(option: u8, text: &[u8], output: &mut BytesMut) {
    output.put_slice(&[IAC, SB, option]);
    put_data(text, output);
    output.put_slice(&[IAC, SE]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Said {
        Data(Vec<u8>),
        Option(Verb, u8),
        Subnegotiation(u8, Vec<u8>),
    }

    fn said() -> impl Strategy<Value = Said> {
        let bytes = |length| {
            let byte = prop_oneof![3 => any::<u8>(), 1 => Just(IAC), 1 => Just(SE)];
            proptest::collection::vec(byte, 0..length)
        };
        let verb =
            prop_oneof![Just(Verb::Will), Just(Verb::Wont), Just(Verb::Do), Just(Verb::Dont)];
        prop_oneof![
            bytes(40).prop_map(Said::Data),
            (verb, any::<u8>()).prop_map(|(verb, option)| Said::Option(verb, option)),
            (0..IAC, bytes(20)).prop_map(|(option, text)| Said::Subnegotiation(option, text)),
        ]
    }

    fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<Event>) {
        let (mut decoder, mut data) = (Decoder::default(), BytesMut::new());
        let events = pieces.flat_map(|piece| decoder.decode(piece, &mut data)).collect();
        (data.to_vec(), events)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_wherever_it_is_cut(
            all in proptest::collection::vec(said(), 0..12), length in 1..40_usize,
        ) {
            let (mut wire, mut data, mut events) = (BytesMut::new(), Vec::new(), Vec::new());
            for said in all {
                match said {
                    Said::Data(bytes) => {
                        put_data(&bytes, &mut wire);
                        data.extend(bytes);
                    }
                    Said::Option(verb, option) => {
                        put_option(verb, option, &mut wire);
                        events.push(Event::Option(verb, option));
                    }
                    Said::Subnegotiation(option, text) => {
                        put_subnegotiation(option, &text, &mut wire);
                        events.push(Event::Subnegotiation([vec![option], text].concat()));
                    }
                }
            }
            prop_assert_eq!(decode(wire.chunks(length)), (data, events));
        }

        #[test]
        fn garbage_means_the_same_wherever_it_is_cut(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 240..=255_u8], 0..600),
            length in 1..40_usize,
        ) {
            prop_assert_eq!(decode(bytes.chunks(length)), decode(bytes.chunks(1)));
        }
    }

    #[test]
    fn a_subnegotiation_without_end_is_noticed() {
        let endless = [&[IAC, SB, 44][..], &[b'x'; 300]].concat();
        let (data, events) = decode(endless.chunks(7));
        assert_eq!(events, [Event::Endless]);
        // All but the option, the text up to the limit, and the byte that was too much.
        assert_eq!(data.len(), 300 - (LONGEST - 1) - 1);
    }

    #[test]
    fn a_command_ends_a_subnegotiation_whose_end_was_lost() {
        let bytes = [IAC, SB, 44, 1, IAC, Verb::Do as u8, 0, b'x'];
        assert_eq!(decode(bytes.chunks(1)), (vec![b'x'], vec![Event::Option(Verb::Do, 0)]));
    }
}
