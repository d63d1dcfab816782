//! Where the header blocks are in what an HTTP/2 client sends (RFC 9113).

use std::ops::Range;

use super::Lost;
use super::hpack::Hpack;

/// What a client sends first (section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The length of a frame header (section 4.1).
const HEAD: usize = 9;

/// The largest header block that is held back, its frame headers and padding included.
const LARGEST_BLOCK: usize = 64 * 1024;

// Frame types (sections 6.2 and 6.10).
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;

// Flags of HEADERS; END_HEADERS also of CONTINUATION.
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Follows one client's stream from its first byte. Does no I/O.
pub(super) struct Frames {
    place: Place,
    hpack: Hpack,
}

/// What the next byte belongs to.
enum Place {
    /// The preface, of which so many bytes have gone by.
    Preface { seen: usize },
    /// A payload that is none of our business; so many bytes of it are still to come.
    Payload { left: usize },
    /// The frames of a header block, or a frame header that will tell. The last of them begins at
    /// `last`, and no more can be said without `missing` bytes more.
    Block { last: usize, missing: usize },
    /// A stream that is not followed.
    Lost,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self { place: Place::Preface { seen: 0 }, hpack: Hpack::new() }
    }

    /// Mends, in their place, what bytes have come, and returns how many of them may go on. The
    /// rest has to be presented again, with what comes next behind it.
    pub(super) fn mend(&mut self, bytes: &mut [u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &mut bytes[done..];
            match self.place {
                Place::Preface { seen } => {
                    let expected = &PREFACE[seen..];
                    let compared = expected.len().min(rest.len());
                    self.place = if rest[..compared] != expected[..compared] {
                        Place::Lost
                    } else if compared < expected.len() {
                        Place::Preface { seen: seen + compared }
                    } else {
                        Place::Payload { left: 0 }
                    };
                    done += compared;
                }
                Place::Payload { left: 0 } => self.place = Place::Block { last: 0, missing: HEAD },
                Place::Payload { left } => {
                    let passed = left.min(rest.len());
                    self.place = Place::Payload { left: left - passed };
                    done += passed;
                }
                Place::Block { last, .. } => match scan(rest, last) {
                    Scan::Other { length } => {
                        self.place = Place::Payload { left: length };
                        done += HEAD;
                    }
                    Scan::Partial { last, missing } => {
                        self.place = Place::Block { last, missing };
                        break;
                    }
                    Scan::Block { end } => {
                        self.place = match self.mend_block(&mut rest[..end]) {
                            Ok(()) => Place::Payload { left: 0 },
                            Err(Lost) => Place::Lost,
                        };
                        done += end;
                    }
                    Scan::Lost => self.place = Place::Lost,
                },
                Place::Lost => done = bytes.len(),
            }
        }
        done
    }

    /// How many bytes have to follow those that [`mend`](Self::mend) did not let go before there is
    /// a point in presenting them again; presenting fewer is allowed. At most what belongs to the
    /// same header block.
    pub(super) fn missing(&self) -> usize {
        match self.place {
            Place::Block { missing, .. } => missing,
            Place::Preface { .. } | Place::Payload { .. } | Place::Lost => 0,
        }
    }

    /// Follows the stream no further.
    pub(super) fn stop(&mut self) {
        self.place = Place::Lost;
    }

    /// Mends the header block that some whole frames carry.
    fn mend_block(&mut self, frames: &mut [u8]) -> Result<(), Lost> {
        let fragments = fragments(frames)?;
        if let [only] = fragments.as_slice() {
            return self.hpack.mend(&mut frames[only.clone()]);
        }
        let mut block: Vec<u8> =
            fragments.iter().flat_map(|fragment| &frames[fragment.clone()]).copied().collect();
        self.hpack.mend(&mut block)?;
        let mut mended = block.as_slice();
        for fragment in fragments {
            let (head, tail) = mended.split_at(fragment.len());
            frames[fragment].copy_from_slice(head);
            mended = tail;
        }
        Ok(())
    }
}

/// A frame header.
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    /// Reads it, if it is there as a whole.
    fn read(bytes: &[u8]) -> Option<Self> {
        let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = *bytes.first_chunk::<HEAD>()?;
        Some(Self {
            length: usize::from(l2) << 16 | usize::from(l1) << 8 | usize::from(l0),
            kind,
            flags,
            // The first bit is reserved and has to be ignored.
            stream: u32::from_be_bytes([s3, s2, s1, s0]) & (u32::MAX >> 1),
        })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What bytes that begin with a frame header are.
enum Scan {
    /// The header of a frame that carries no header block, and the length of its payload.
    Other { length: usize },
    /// The frames of a header block, up to `end`.
    Block { end: usize },
    /// Too little to say; the fields are those of [`Place::Block`].
    Partial { last: usize, missing: usize },
    /// Nothing that h2 would accept, or more than is held back.
    Lost,
}

/// Looks at frames from the one at `last` on; those before it are whole and belong to one header
/// block that goes on.
fn scan(bytes: &[u8], mut last: usize) -> Scan {
    let stream = Head::read(bytes).map(|first| first.stream);
    loop {
        let Some(head) = Head::read(&bytes[last..]) else {
            return Scan::Partial { last, missing: HEAD - (bytes.len() - last) };
        };
        if last == 0 && head.kind != HEADERS {
            return Scan::Other { length: head.length };
        }
        let end = last + HEAD + head.length;
        let continues = last == 0 || (head.kind == CONTINUATION && Some(head.stream) == stream);
        if !continues || end > LARGEST_BLOCK {
            return Scan::Lost;
        }
        if bytes.len() < end {
            return Scan::Partial { last, missing: end - bytes.len() };
        }
        if head.has(END_HEADERS) {
            return Scan::Block { end };
        }
        last = end;
    }
}

/// Where the pieces of the header block are in its frames: behind the frame headers and the
/// priority fields, before the padding (section 6.2).
fn fragments(frames: &[u8]) -> Result<Vec<Range<usize>>, Lost> {
    let mut fragments = Vec::with_capacity(1);
    let mut at = 0;
    while let Some(head) = Head::read(&frames[at..]) {
        let mut fragment = at + HEAD..at + HEAD + head.length;
        at = fragment.end;
        if head.kind == HEADERS {
            let padding = if head.has(PADDED) {
                let length = *frames[fragment.clone()].first().ok_or(Lost)?;
                fragment.start += 1;
                usize::from(length)
            } else {
                0
            };
            if head.has(PRIORITY) {
                fragment.start += 5;
            }
            if fragment.start + padding > fragment.end {
                return Err(Lost);
            }
            fragment.end -= padding;
        }
        fragments.push(fragment);
    }
    Ok(fragments)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{frame, headers, literal};
    use super::*;

    const DATA: u8 = 0x0;

    /// A header block that has to be mended, and what becomes of it.
    fn bad() -> (Vec<u8>, Vec<u8>) {
        let block = |value| [&[0x83][..], &literal(0x40, b":authority", value), &[0x86]].concat();
        (block(b"tmp%2Fx"), block(b"tmp-2Fx"))
    }

    /// Presents a stream in pieces and returns what goes on, the last of it as at a hang-up.
    fn pass(pieces: &[&[u8]]) -> Vec<u8> {
        let mut frames = Frames::new();
        let (mut held, mut passed) = (Vec::new(), Vec::new());
        for piece in pieces {
            held.extend_from_slice(piece);
            let done = frames.mend(&mut held);
            passed.extend(held.drain(..done));
        }
        frames.stop();
        assert_eq!(frames.mend(&mut held), held.len());
        passed.append(&mut held);
        passed
    }

    /// Presents a stream in two pieces, cut everywhere, and byte by byte.
    fn check(what: &str, frames: &[u8], expected: &[u8]) {
        let stream = [PREFACE, frames].concat();
        let expected = [PREFACE, expected].concat();
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(pass(&[head, tail]), expected, "{what}, cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(pass(&bytes), expected, "{what}, byte by byte");
    }

    #[test]
    fn a_block_is_found_wherever_its_frames_put_it() {
        let (bad, mended) = bad();
        let streams = |block: &[u8]| {
            let (head, tail) = block.split_at(14);
            let (middle, tail) = tail.split_at(3);
            [
                ("alone", headers(END_HEADERS, 1, block)),
                ("the stream ends", headers(END_HEADERS | 0x1, 1, block)),
                (
                    "padding",
                    headers(END_HEADERS | PADDED, 1, &[&[4], block, &[0, 1, 2, 3]].concat()),
                ),
                (
                    "priority",
                    headers(END_HEADERS | PRIORITY, 3, &[&[0, 0, 0, 1, 16], block].concat()),
                ),
                (
                    "padding and priority",
                    headers(
                        END_HEADERS | PADDED | PRIORITY,
                        3,
                        &[&[2, 0, 0, 0, 1, 16], block, &[0; 2]].concat(),
                    ),
                ),
                (
                    "continuation",
                    [
                        headers(PADDED | PRIORITY, 3, &[&[1, 0, 0, 0, 1, 16], head, &[0]].concat()),
                        frame(CONTINUATION, 0, 3, middle),
                        frame(CONTINUATION, 0, 3, &[]),
                        frame(CONTINUATION, END_HEADERS, 3, tail),
                    ]
                    .concat(),
                ),
                (
                    // Payloads that look like header blocks are none.
                    "other frames around",
                    [
                        frame(0x4, 0, 0, &[]),
                        headers(END_HEADERS, 1, block),
                        frame(DATA, PADDED | 0x1, 1, &bad),
                        frame(0xFE, END_HEADERS, 0, &bad),
                    ]
                    .concat(),
                ),
            ]
        };
        for ((what, before), (_, after)) in streams(&bad).into_iter().zip(streams(&mended)) {
            check(what, &before, &after);
        }
    }

    #[test]
    fn a_payload_goes_on_as_it_comes() {
        let mut frames = Frames::new();
        assert_eq!(frames.mend(&mut PREFACE.to_vec()), 24);
        let data = frame(DATA, 0, 1, &[7; 100]);
        assert_eq!(frames.mend(&mut data[..50].to_vec()), 50);
        assert_eq!(frames.mend(&mut data[50..51].to_vec()), 1);
        // The end of this frame goes on, too, and the beginning of the next header is held.
        assert_eq!(frames.mend(&mut [&data[51..], &data[..8]].concat()), 58);
        assert_eq!(frames.missing(), 1);
        assert_eq!(frames.mend(&mut data[..9].to_vec()), 9);
        assert_eq!(frames.mend(&mut data[9..].to_vec()), 100);
    }

    #[test]
    fn no_more_is_missing_than_belongs_to_the_block() {
        let (block, _) = bad();
        let mut frames = Frames::new();
        frames.mend(&mut PREFACE.to_vec());
        let stream = [headers(0, 1, &block), frame(CONTINUATION, END_HEADERS, 1, &[0x82])].concat();
        let mut held = stream[..1].to_vec();
        for expected in [8, block.len(), 9, 1] {
            assert_eq!(frames.mend(&mut held), 0);
            assert_eq!(frames.missing(), expected);
            let next = &stream[held.len()..][..expected];
            held.extend_from_slice(next);
        }
        assert_eq!(frames.mend(&mut held), stream.len());
        assert_eq!(frames.missing(), 0);
    }

    #[test]
    fn what_cannot_be_followed_goes_on_and_so_does_the_rest() {
        let (bad, _) = bad();
        let request = headers(END_HEADERS, 5, &bad);
        let huge = vec![0x82; LARGEST_BLOCK - HEAD + 1];
        for (what, lost) in [
            ("padding longer than the frame", headers(END_HEADERS | PADDED, 1, &[1])),
            ("no padding length", headers(END_HEADERS | PADDED, 1, &[])),
            ("half a priority", headers(END_HEADERS | PRIORITY, 1, &[0; 4])),
            (
                "another frame within a block",
                [headers(0, 1, &bad), frame(DATA, END_HEADERS, 1, &[])].concat(),
            ),
            (
                "another stream within a block",
                [headers(0, 1, &bad), frame(CONTINUATION, END_HEADERS, 3, &[])].concat(),
            ),
            ("a malformed block", headers(END_HEADERS, 1, &[&bad[..], &[0x80]].concat())),
        ] {
            let stream = [lost, request.clone()].concat();
            check(what, &stream, &stream);
        }
        let stream = [PREFACE, &headers(END_HEADERS, 1, &huge)[..], &request].concat();
        assert_eq!(pass(&[&stream]), stream);
        assert_eq!(pass(&stream.chunks(1000).collect::<Vec<_>>()), stream);
    }

    #[test]
    fn the_largest_block_is_mended() {
        let (mut block, mut mended) = bad();
        block.resize(LARGEST_BLOCK - HEAD, 0x82);
        mended.resize(LARGEST_BLOCK - HEAD, 0x82);
        let stream = [PREFACE, &headers(END_HEADERS, 1, &block)[..]].concat();
        let expected = [PREFACE, &headers(END_HEADERS, 1, &mended)[..]].concat();
        assert_eq!(pass(&stream.chunks(1000).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn without_the_preface_nothing_is_touched() {
        let (bad, _) = bad();
        let request = headers(END_HEADERS, 1, &bad);
        for start in [&b""[..], b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r "] {
            let stream = [start, &request].concat();
            assert_eq!(pass(&[&stream]), stream);
            assert_eq!(pass(&stream.chunks(1).collect::<Vec<_>>()), stream);
        }
    }
}
