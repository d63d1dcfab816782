//! HPACK's Huffman code (RFC 7541, section 5.2 and appendix B).
//!
//! The code is canonical: codes of one length are consecutive numbers in the order of their
//! symbols, and each length goes on where the shorter ones end. So the lengths of the codes say all.

use super::Lost;

/// The lengths of the codes in bits: one for each byte, and the last for the end of a string.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, // 0x00
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, // 0x10
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, // 0x20
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, // 0x30
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, // 0x40
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, // 0x50
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, // 0x60
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, // 0x70
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, // 0x80
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, // 0x90
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, // 0xa0
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, // 0xb0
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, // 0xc0
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, // 0xd0
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, // 0xe0
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, // 0xf0
    30, // end of string
];

/// How many codes there are of each length.
const COUNTS: [usize; 31] = {
    let mut counts = [0; 31];
    let mut symbol = 0;
    while symbol < LENGTHS.len() {
        counts[LENGTHS[symbol] as usize] += 1;
        symbol += 1;
    }
    counts
};

/// The symbols in the order of their codes.
const SYMBOLS: [usize; LENGTHS.len()] = {
    let mut symbols = [0; LENGTHS.len()];
    let mut found = 0;
    let mut length = 0;
    while length < COUNTS.len() {
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                symbols[found] = symbol;
                found += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    symbols
};

/// The beginning of a code.
#[derive(Default)]
struct Prefix {
    /// How many bits it has.
    length: usize,
    /// These bits, and a place for the next one.
    code: usize,
    /// The first code of the next length.
    first: usize,
    /// How many symbols have shorter codes.
    shorter: usize,
}

/// Decodes a string literal.
pub(super) fn decode(coded: &[u8]) -> Result<Vec<u8>, Lost> {
    let mut text = Vec::with_capacity(coded.len() * 8 / 5);
    let mut prefix = Prefix::default();
    for bit in coded.iter().flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1)) {
        prefix.code += usize::from(bit);
        prefix.length += 1;
        let count = *COUNTS.get(prefix.length).ok_or(Lost)?;
        let rank = prefix.code - prefix.first;
        if rank < count {
            let symbol = SYMBOLS[prefix.shorter + rank];
            // The end of a string is no byte, and nobody may send it.
            text.push(u8::try_from(symbol).map_err(|_| Lost)?);
            prefix = Prefix::default();
        } else {
            prefix.code <<= 1;
            prefix.first = (prefix.first + count) << 1;
            prefix.shorter += count;
        }
    }
    let ones = (1 << prefix.length) - 1;
    let padded = prefix.length < 8 && prefix.code >> 1 == ones;
    if padded { Ok(text) } else { Err(Lost) }
}

/// Encodes a string literal.
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let length: usize = text.iter().map(|&symbol| code_length(symbol)).sum();
    // The padding is ones.
    let mut coded = vec![0xFF; length.div_ceil(8)];
    let mut at = 0;
    for &symbol in text {
        let code = code(symbol);
        for shift in (0..code_length(symbol)).rev() {
            if code >> shift & 1 == 0 {
                coded[at / 8] &= !(0x80 >> (at % 8));
            }
            at += 1;
        }
    }
    coded
}

/// How many bits the code of a byte has.
pub(super) fn code_length(symbol: u8) -> usize {
    LENGTHS[usize::from(symbol)].into()
}

fn code(symbol: u8) -> usize {
    let length = code_length(symbol);
    let first = COUNTS[..length].iter().fold(0, |first, count| (first + count) << 1);
    let rank = LENGTHS[..usize::from(symbol)]
        .iter()
        .filter(|&&other| usize::from(other) == length)
        .count();
    first + rank
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::decode_block;
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 7541, appendices C.4 and C.6.
        let examples: [(&[u8], &[u8]); 6] = [
            (b"www.example.com", b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"),
            (b"no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
            (b"custom-key", b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f"),
            (b"custom-value", b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"),
            (b"302", b"\x64\x02"),
            (b"", b""),
        ];
        for (text, coded) in examples {
            assert_eq!(decode(coded).as_deref(), Ok(text));
            assert_eq!(encode(text), coded);
        }
    }

    #[test]
    fn bad_padding_and_the_end_of_a_string_are_refused() {
        let bad: [(&str, &[u8]); 4] = [
            ("a whole byte of padding", b"\x64\x02\xff"),
            ("padding that is not all ones", b"\x64\x03\xf0"),
            ("a code that is cut off", b"\xff\xc0"),
            ("the end of a string", b"\xff\xff\xff\xff"),
        ];
        for (what, coded) in bad {
            assert_eq!(decode(coded), Err(Lost), "{what}");
        }
    }

    proptest! {
        #[test]
        fn another_decoder_reads_what_is_encoded(text: Vec<u8>) {
            let coded = encode(&text);
            prop_assert_eq!(decode(&coded), Ok(text.clone()));
            let mut block = super::super::tests::literal(0x00, b"x", b"");
            block.pop();
            super::super::tests::string(&mut block, &coded, true);
            let fields = decode_block(&mut loona_hpack::Decoder::new(), &block);
            prop_assert_eq!(fields, [(b"x".to_vec(), text)]);
        }
    }
}
