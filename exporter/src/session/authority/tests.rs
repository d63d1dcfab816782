//! What the tests of this room build streams with, and the tests of the filter as a whole.

mod properties;
mod server;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};

use super::AuthorityFilter;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A header field.
pub(super) type Field = (Vec<u8>, Vec<u8>);

/// A frame (RFC 9113, section 4.1).
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub(super) fn headers(flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frame(0x1, flags, stream, payload)
}

/// An HPACK integer (RFC 7541, section 5.1), behind the bits that `first` has above the prefix.
pub(super) fn integer(block: &mut Vec<u8>, first: u8, prefix_bits: u32, value: usize) {
    let most = (1 << prefix_bits) - 1;
    if value < most {
        block.push(first | u8::try_from(value).unwrap());
        return;
    }
    block.push(first | u8::try_from(most).unwrap());
    let mut rest = value - most;
    while rest >= 0x80 {
        block.push(0x80 | u8::try_from(rest & 0x7F).unwrap());
        rest >>= 7;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// An HPACK string literal (RFC 7541, section 5.2) of bytes that are coded already.
pub(super) fn string(block: &mut Vec<u8>, coded: &[u8], huffman: bool) {
    integer(block, if huffman { 0x80 } else { 0x00 }, 7, coded.len());
    block.extend_from_slice(coded);
}

/// A literal header field with its name spelled out, nothing of it Huffman-coded.
pub(super) fn literal(first: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut block = vec![first];
    string(&mut block, name, false);
    string(&mut block, value, false);
    block
}

/// What another implementation takes a block for.
pub(super) fn decode_block(decoder: &mut loona_hpack::Decoder<'_>, block: &[u8]) -> Vec<Field> {
    decoder.decode(block).unwrap()
}

/// A connection on which the client's bytes come in given pieces, with a pause before each.
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    paused: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.paused = !self.paused;
        if self.paused {
            return Poll::Pending;
        }
        if let Some(piece) = self.pieces.front_mut() {
            let fitting = piece.len().min(buf.remaining());
            buf.put_slice(&piece[..fitting]);
            piece.drain(..fitting);
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What a server gets that reads at most `largest_read` bytes at a time, if the client's bytes come
/// in these pieces.
fn filtered<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, largest_read: usize) -> Vec<u8> {
    let pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect();
    let mut filter = AuthorityFilter::new(Pieces { pieces, paused: false });
    let mut context = Context::from_waker(Waker::noop());
    let mut read = Vec::new();
    let mut buffer = vec![0; largest_read];
    loop {
        let mut buffer = ReadBuf::new(&mut buffer);
        match Pin::new(&mut filter).poll_read(&mut context, &mut buffer) {
            Poll::Pending => {}
            Poll::Ready(result) => {
                result.unwrap();
                if buffer.filled().is_empty() {
                    return read;
                }
                read.extend_from_slice(buffer.filled());
            }
        }
    }
}

#[test]
fn bytes_come_out_in_order_however_they_come_in() {
    let stream = |value: &[u8]| {
        [
            PREFACE,
            &headers(0x4, 1, &literal(0x40, b":authority", value)),
            &frame(0x0, 0x0, 1, &[1; 20]),
            &headers(0x0, 3, &literal(0x40, b":authority", value)),
            &frame(0x9, 0x4, 3, &[0x82]),
            &frame(0x0, 0x1, 3, &[2; 20]),
        ]
        .concat()
    };
    let (sent, expected) = (stream(b"tmp%2Fx"), stream(b"tmp-2Fx"));
    for largest_read in [1, 2, 10, 1000] {
        assert_eq!(filtered([&sent[..]], largest_read), expected);
        assert_eq!(filtered(sent.chunks(1), largest_read), expected);
        for cut in 0..sent.len() {
            let (head, tail) = sent.split_at(cut);
            assert_eq!(filtered([head, tail], largest_read), expected, "cut at {cut}");
            // A client that hangs up in the middle has sent all that it has sent.
            assert_eq!(filtered([head], largest_read).len(), cut);
        }
    }
}

#[test]
fn an_idle_connection_keeps_no_buffer() {
    let block = literal(0x40, b":authority", b"tmp%2Fx");
    let stream = [PREFACE, &headers(0x4, 1, &block)].concat();
    let pieces = stream.chunks(30).map(<[u8]>::to_vec).collect();
    let mut filter = AuthorityFilter::new(Pieces { pieces, paused: false });
    let mut context = Context::from_waker(Waker::noop());
    let (mut passed, mut buffer) = (0, [0; 100]);
    while passed < stream.len() {
        let mut buffer = ReadBuf::new(&mut buffer);
        if Pin::new(&mut filter).poll_read(&mut context, &mut buffer).is_ready() {
            passed += buffer.filled().len();
        }
    }
    assert_eq!((filter.held.capacity(), filter.mended.capacity()), (0, 0));
}
