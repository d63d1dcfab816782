//! Which values of `:authority` are valid, and what an invalid one becomes.

use http::uri::Authority;

use super::huffman;

/// Whether h2 accepts a value.
pub(super) fn is_valid(text: &[u8]) -> bool {
    Authority::try_from(text).is_ok()
}

/// A valid value of the same length. An empty one has none and stays as it is.
///
/// `%` and everything else that does not belong into a plain host name becomes `-`:
/// `tmp%2Fx%2Fsocket` becomes `tmp-2Fx-2Fsocket`.
pub(super) fn mended(text: &[u8]) -> Vec<u8> {
    text.iter().map(|&byte| if is_plain(byte) { byte } else { b'-' }).collect()
}

/// The Huffman code of a valid value that has as many characters as `text` and as many bytes as the
/// code of `text`.
///
/// `%` and `/` have codes as long as that of `-`, so this is the code of what [`mended`] gives, as a
/// rule. Where the lengths differ, any characters have to do. None if not even the longest codes of
/// valid characters, 13 bits, are long enough; only a text of control characters or beyond ASCII
/// has longer ones.
pub(super) fn mended_huffman(text: &[u8], coded_length: usize) -> Option<Vec<u8>> {
    let coded = huffman::encode(&mended(text));
    if coded.len() == coded_length {
        return Some(coded);
    }
    filler(text.len(), coded_length).map(|text| huffman::encode(&text))
}

/// So many characters whose Huffman code fills so many bytes.
fn filler(characters: usize, coded_length: usize) -> Option<Vec<u8>> {
    /// One plain character for each length of a code, 13 to 5 bits.
    const LONGEST_FIRST: &[u8; 7] = b"~+!Xw-0";
    let shortest = huffman::code_length(b'0');

    let mut spare = (8 * coded_length).checked_sub(shortest * characters)?;
    let mut text = Vec::with_capacity(characters);
    for _ in 0..characters {
        let beyond = |&character: &u8| huffman::code_length(character) - shortest;
        let character = *LONGEST_FIRST.iter().find(|character| beyond(character) <= spare)?;
        spare -= beyond(&character);
        text.push(character);
    }
    // Less than a byte may be padding.
    (spare < 8).then_some(text)
}

/// Whether a byte may be anywhere in a host name: RFC 3986's `unreserved` and `sub-delims`.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_h2_accepts_is_valid() {
        for valid in ["localhost", "localhost:50051", "[::1]:80", "user%20name@host", "a,b;c=d"] {
            assert!(is_valid(valid.as_bytes()), "{valid}");
        }
        for invalid in ["", "tmp%2Fx", "tmp/x", "a:1:2", "a b", "[::1", "host@", "h\u{f6}st"] {
            assert!(!is_valid(invalid.as_bytes()), "{invalid}");
        }
    }

    #[test]
    fn a_path_keeps_its_letters() {
        let path = b"tmp%2Fjumpstarter-ab12%2Fsocket";
        let mended_path = b"tmp-2Fjumpstarter-ab12-2Fsocket";
        assert_eq!(mended(path), mended_path);

        let coded = huffman::encode(path);
        assert_eq!(mended_huffman(path, coded.len()), Some(huffman::encode(mended_path)));
    }

    #[test]
    fn codes_too_long_for_any_valid_character_are_left_alone() {
        for (text, can_be_mended) in [("[[[[", true), ("<\u{e9}<", false), ("\u{1}", false)] {
            let coded = huffman::encode(text.as_bytes());
            let mended = mended_huffman(text.as_bytes(), coded.len());
            assert_eq!(mended.is_some(), can_be_mended, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_mended_value_is_valid_and_as_long(
            text in proptest::collection::vec(any::<u8>(), 1..40),
        ) {
            let mended = mended(&text);
            prop_assert!(is_valid(&mended));
            prop_assert_eq!(mended.len(), text.len());
        }

        #[test]
        fn a_mended_huffman_code_is_as_long_too(text in "[!-;=?-Z_a-z\\[\\]]{1,40}") {
            let coded = huffman::encode(text.as_bytes());
            let mended = mended_huffman(text.as_bytes(), coded.len()).unwrap();
            prop_assert_eq!(mended.len(), coded.len());
            let mended = huffman::decode(&mended).unwrap();
            prop_assert!(is_valid(&mended));
            prop_assert_eq!(mended.len(), text.len());
        }

        #[test]
        fn filler_is_found_for_every_length_it_can_have(characters in 1_usize..40, bits in 0_usize..520) {
            let bits = bits.clamp(5 * characters, 13 * characters);
            let text = filler(characters, bits.div_ceil(8)).unwrap();
            prop_assert!(is_valid(&text));
            prop_assert_eq!(text.len(), characters);
            prop_assert_eq!(huffman::encode(&text).len(), bits.div_ceil(8));
        }
    }
}
