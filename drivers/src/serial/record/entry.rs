//! One entry of a recording, and how it is written.
//!
//! ```text
//! length of what follows the checksum, CRC-32 of it   two 32-bit numbers, little-endian
//! microseconds since 1970                             a 64-bit number, little-endian
//! kind                                                one byte: 0 data, 1 mark
//! data, or the mark as JSON
//! ```
//!
//! An entry that was cut off by a crash has a wrong length or checksum, and so ends its file.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::recording::Mark;

/// Something that was recorded, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// In microseconds since 1970.
    pub(super) time: u64,
    pub(super) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// The device's words.
    Data(Vec<u8>),
    /// What happened to the bench.
    Mark(Mark),
}

/// Length and checksum.
const FRAME: usize = 8;

const DATA: u8 = 0;
const MARK: u8 = 1;

impl Entry {
    /// Something that happens now.
    pub(super) fn now(content: Content) -> Self {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { time: u64::try_from(time.as_micros()).unwrap_or(u64::MAX), content }
    }

    /// Adds the entry's form on disk to `output`.
    pub(super) fn write(&self, output: &mut Vec<u8>) {
        let json;
        let (kind, text): (u8, &[u8]) = match &self.content {
            Content::Data(data) => (DATA, data),
            Content::Mark(mark) => {
                json = serde_json::to_vec(mark).expect("because a mark is nothing but text");
                (MARK, &json)
            }
        };
        let start = output.len() + FRAME;
        output.extend_from_slice(&[0; FRAME]);
        output.extend_from_slice(&self.time.to_le_bytes());
        output.push(kind);
        output.extend_from_slice(text);
        let length = u32::try_from(output.len() - start)
            .expect("because nobody records four gigabytes at once");
        let checksum = crc32fast::hash(&output[start..]);
        output[start - FRAME..start - 4].copy_from_slice(&length.to_le_bytes());
        output[start - 4..start].copy_from_slice(&checksum.to_le_bytes());
    }

    /// The first entry of `input` and its length there; none if it is not all there.
    pub(super) fn read(input: &[u8]) -> Option<(Self, usize)> {
        let (length, rest) = input.split_first_chunk::<4>()?;
        let (checksum, rest) = rest.split_first_chunk::<4>()?;
        let body = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let (time, rest) = body.split_first_chunk::<8>()?;
        let content = match rest.split_first()? {
            (&DATA, data) => Content::Data(data.to_vec()),
            (&MARK, json) => Content::Mark(serde_json::from_slice(json).ok()?),
            _ => return None,
        };
        let entry = Self { time: u64::from_le_bytes(*time), content };
        Some((entry, FRAME + body.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let data = proptest::collection::vec(any::<u8>(), 0..50).prop_map(Content::Data);
        let note = any::<String>().prop_map(|text| Content::Mark(Mark::Note(text)));
        let part = any::<(String, String)>();
        let part = part.prop_map(|(key, text)| Content::Mark(Mark::Part { key, text }));
        (any::<u64>(), prop_oneof![data, note, part])
            .prop_map(|(time, content)| Entry { time, content })
    }

    proptest! {
        #[test]
        fn an_entry_is_read_as_it_was_written_or_not_at_all(
            entry in entry(), flipped in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let mut written = Vec::new();
            entry.write(&mut written);
            let length = written.len();
            prop_assert_eq!(Entry::read(&written[..length - 1]), None);
            written.extend_from_slice(b"next");
            prop_assert_eq!(Entry::read(&written), Some((entry, length)));
            written.truncate(length);
            written[flipped.index(length)] ^= 1 << bit;
            prop_assert_eq!(Entry::read(&written), None);
        }
    }

    #[test]
    fn garbage_is_no_entry() {
        for garbage in [&[][..], &[0; 7], &[0; 64], &[255; 64]] {
            assert_eq!(Entry::read(garbage), None);
        }
    }
}
