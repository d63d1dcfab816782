//! Finds the values of `:authority` in header blocks (RFC 7541).

use std::borrow::Cow;
use std::ops::Range;

use super::table::{Name, Table};
use super::{Lost, huffman, value};

/// Follows the header blocks of one connection, all of them and in their order.
pub(super) struct Hpack {
    table: Table,
}

/// Bytes of a header block that are to be others, of the same number.
struct Replacement {
    at: Range<usize>,
    by: Vec<u8>,
}

impl Hpack {
    pub(super) fn new() -> Self {
        Self { table: Table::new() }
    }

    /// Mends each `:authority` in a header block. A block that turns out malformed stays as it is,
    /// and none after it can be followed.
    pub(super) fn mend(&mut self, block: &mut [u8]) -> Result<(), Lost> {
        for replacement in self.walk(block)? {
            block[replacement.at].copy_from_slice(&replacement.by);
        }
        Ok(())
    }

    fn walk(&mut self, block: &[u8]) -> Result<Vec<Replacement>, Lost> {
        let mut replacements = Vec::new();
        let mut reader = Reader { block, at: 0 };
        while let Some(representation) = reader.representation() {
            match representation {
                Representation::Indexed => {
                    self.table.name(reader.integer(7)?)?;
                }
                Representation::SizeUpdate => self.table.resize(reader.integer(5)?)?,
                Representation::Literal { index_bits, indexing } => {
                    let name = match reader.integer(index_bits)? {
                        0 => Name::of(&reader.string()?.decode(block)?),
                        index => self.table.name(index)?,
                    };
                    let string = reader.string()?;
                    // Other values are not even looked at, unless the table has to know their size.
                    if !indexing && name != Name::Authority {
                        continue;
                    }
                    let text = string.decode(block)?;
                    if indexing {
                        self.table.insert(name, text.len());
                    }
                    if name == Name::Authority
                        && let Some(by) = string.mended(&text)
                    {
                        replacements.push(Replacement { at: string.at, by });
                    }
                }
            }
        }
        Ok(replacements)
    }
}

/// What a header field begins with (section 6).
enum Representation {
    Indexed,
    /// The name's index has so many bits in the first byte.
    Literal {
        index_bits: u32,
        indexing: bool,
    },
    SizeUpdate,
}

/// A string literal (section 5.2): where its bytes are, and whether they are Huffman-coded.
struct StringLiteral {
    at: Range<usize>,
    huffman: bool,
}

impl StringLiteral {
    fn decode<'a>(&self, block: &'a [u8]) -> Result<Cow<'a, [u8]>, Lost> {
        let coded = &block[self.at.clone()];
        if self.huffman { huffman::decode(coded).map(Cow::Owned) } else { Ok(Cow::Borrowed(coded)) }
    }

    /// The bytes to put in place of this literal's, if its text is a value that has to be mended.
    fn mended(&self, text: &[u8]) -> Option<Vec<u8>> {
        if value::is_valid(text) {
            None
        } else if self.huffman {
            value::mended_huffman(text, self.at.len())
        } else {
            Some(value::mended(text))
        }
    }
}

/// Reads a header block from front to back.
struct Reader<'a> {
    block: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// Looks at what comes next without reading it; none at the end of the block.
    fn representation(&self) -> Option<Representation> {
        let first = self.block.get(self.at)?;
        Some(match first.leading_zeros() {
            0 => Representation::Indexed,
            1 => Representation::Literal { index_bits: 6, indexing: true },
            2 => Representation::SizeUpdate,
            // Never indexed, or not this time.
            _ => Representation::Literal { index_bits: 4, indexing: false },
        })
    }

    /// Reads an integer that has so many bits in its first byte (section 5.1).
    fn integer(&mut self, prefix_bits: u32) -> Result<usize, Lost> {
        /// h2 reads no more than these many bytes.
        const LONGEST: usize = 5;

        let most = (1_usize << prefix_bits) - 1;
        let mut value = usize::from(self.byte()?) & most;
        if value < most {
            return Ok(value);
        }
        for shift in (0..LONGEST - 1).map(|byte| 7 * byte) {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Lost)
    }

    fn string(&mut self) -> Result<StringLiteral, Lost> {
        let huffman = self.block.get(self.at).ok_or(Lost)? & 0x80 != 0;
        let length = self.integer(7)?;
        let at = self.at..self.at + length;
        if at.end > self.block.len() {
            return Err(Lost);
        }
        self.at = at.end;
        Ok(StringLiteral { at, huffman })
    }

    fn byte(&mut self) -> Result<u8, Lost> {
        let byte = *self.block.get(self.at).ok_or(Lost)?;
        self.at += 1;
        Ok(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{decode_block, literal, string};
    use super::*;

    const BAD: &[u8] = b"tmp%2Fx";
    const MENDED: &[u8] = b"tmp-2Fx";

    /// A literal whose name has an index in the first byte.
    fn indexed_name(first: &[u8], value: &[u8], huffman: bool) -> Vec<u8> {
        let mut block = first.to_vec();
        string(&mut block, value, huffman);
        block
    }

    fn mended(hpack: &mut Hpack, block: &[u8]) -> Vec<u8> {
        let mut block = block.to_vec();
        hpack.mend(&mut block).unwrap();
        block
    }

    #[test]
    fn every_literal_whose_name_is_authority_is_mended() {
        for first in [0x40, 0x00, 0x10] {
            let spelled = literal(first, b":authority", BAD);
            let expected = literal(first, b":authority", MENDED);
            assert_eq!(mended(&mut Hpack::new(), &spelled), expected, "spelled, {first:#x}");

            let indexed = indexed_name(&[first | 1], BAD, false);
            let expected = indexed_name(&[first | 1], MENDED, false);
            assert_eq!(mended(&mut Hpack::new(), &indexed), expected, "indexed, {first:#x}");

            let coded = indexed_name(&[first | 1], &huffman::encode(BAD), true);
            let expected = indexed_name(&[first | 1], &huffman::encode(MENDED), true);
            assert_eq!(mended(&mut Hpack::new(), &coded), expected, "Huffman, {first:#x}");

            let mut name_coded = vec![first];
            string(&mut name_coded, &huffman::encode(b":authority"), true);
            let mut expected = name_coded.clone();
            string(&mut name_coded, BAD, false);
            string(&mut expected, MENDED, false);
            assert_eq!(
                mended(&mut Hpack::new(), &name_coded),
                expected,
                "Huffman name, {first:#x}"
            );
        }
    }

    #[test]
    fn a_name_in_the_dynamic_table_is_followed_as_it_moves_and_goes() {
        let mut hpack = Hpack::new();
        mended(&mut hpack, &literal(0x40, b":authority", b"localhost"));
        mended(&mut hpack, &literal(0x40, b"x", b"y"));
        // Its index is 63 by now, the first that does not fit into the six bits.
        let moved = indexed_name(&[0x7F, 0x00], BAD, false);
        assert_eq!(mended(&mut hpack, &moved), indexed_name(&[0x7F, 0x00], MENDED, false));
        // The literal has itself become entry 62.
        let newest = indexed_name(&[0x0F, 47], BAD, false);
        assert_eq!(mended(&mut hpack, &newest), indexed_name(&[0x0F, 47], MENDED, false));
        // "x" is 63, and its value is none of our business.
        let other = indexed_name(&[0x0F, 48], BAD, false);
        assert_eq!(mended(&mut hpack, &other), other);
        // A size update to zero empties the table, and nothing has index 62 any more.
        mended(&mut hpack, &[0x20]);
        assert_eq!(hpack.mend(&mut newest.clone()), Err(Lost));
    }

    #[test]
    fn whatever_else_a_block_holds_stays() {
        for block in [
            literal(0x40, b":authority", b"localhost:8080"),
            literal(0x40, b":path", BAD),
            literal(0x00, b"authority", BAD),
            literal(0x00, b":authority", b""),
            vec![0x81, 0x82, 0x84, 0xBD],
            vec![0x3F, 0xE1, 0x1F, 0x20, 0x82],
            indexed_name(&[0x01], &huffman::encode(b"localhost"), true),
            vec![],
        ] {
            assert_eq!(mended(&mut Hpack::new(), &block), block);
        }
    }

    #[test]
    fn a_malformed_block_stays_as_it_is() {
        let bad = literal(0x40, b":authority", BAD);
        for (what, end) in [
            ("index zero", &[0x80][..]),
            ("an index beyond the table", &[0xBF]),
            ("a name beyond the table", &[0x7F, 0x00, 0x00]),
            ("an integer without an end", &[0x7F, 0xFF]),
            ("an integer longer than h2 reads", &[0xFF, 0x80, 0x80, 0x80, 0x80, 0x00]),
            ("a string longer than the block", &[0x40, 0x02, b'x']),
            ("a literal without a value", &[0x40, 0x01, b'x']),
            ("a literal without a name", &[0x40]),
            ("a bad Huffman code", &[0x40, 0x01, b'x', 0x81, 0x00]),
            ("a larger table than is followed", &[0x3F, 0xE2, 0xFF, 0x03]),
        ] {
            let block = [&bad[..], end].concat();
            let mut mended = block.clone();
            assert_eq!(Hpack::new().mend(&mut mended), Err(Lost), "{what}");
            assert_eq!(mended, block, "{what}");
        }
    }

    #[test]
    fn the_entries_of_the_server_keep_the_sizes_that_the_client_counts_with() {
        let mut hpack = Hpack::new();
        let mut server = loona_hpack::Decoder::new();
        // Room for two entries of ":authority" with seven bytes, and not a byte more.
        let mut first = vec![0x3F, 98 - 31];
        first.extend(literal(0x40, b":authority", BAD));
        first.extend(indexed_name(&[0x41], &huffman::encode(b"tmp%2Fy"), true));
        decode_block(&mut server, &mended(&mut hpack, &first));
        let both = decode_block(&mut server, &mended(&mut hpack, &[0xBE, 0xBF]));
        let authority = |value: &[u8]| (b":authority".to_vec(), value.to_vec());
        assert_eq!(both, [authority(b"tmp-2Fy"), authority(MENDED)]);

        decode_block(&mut server, &mended(&mut hpack, &literal(0x40, b"x", b"y")));
        assert_eq!(hpack.mend(&mut [0xC0]), Err(Lost));
        assert!(server.decode(&[0xC0]).is_err());
    }
}
