//! Block maps: which blocks of an image have something on them, and the checksums of these.
//!
//! `bmaptool create` makes them, as Yocto's `wic` images have them. The format is that of
//! `BmapCreate.py` in bmaptool, versions 1.4 and 2.0; earlier ones have no SHA-256.

use std::ops::Range;

use roxmltree::{Document, Node};
use sha2::{Digest as _, Sha256};

use crate::{DriverError, Result};

/// The block map of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bmap {
    /// The image's size in bytes.
    pub(super) image_size: u64,
    /// Where it has data, in bytes, in order.
    ranges: Vec<Mapped>,
}

/// A range of the image with data.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapped {
    bytes: Range<u64>,
    checksum: Sum,
}

/// A SHA-256.
type Sum = [u8; 32];

/// Why a block map can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum BmapError {
    #[error("it is not XML: {0}")]
    Xml(String),
    #[error("it has no {0}")]
    Missing(&'static str),
    #[error("its {name} is '{value}'; expected {expected}")]
    Wrong { name: &'static str, value: String, expected: &'static str },
    #[error("it is damaged: its own checksum is {actual}, and it says {said}")]
    Damaged { said: String, actual: String },
}

impl From<BmapError> for DriverError {
    fn from(error: BmapError) -> Self {
        Self::InvalidArgument(format!("the block map can't be used: {error}"))
    }
}

impl Bmap {
    /// Reads a block map.
    pub(super) fn parse(text: &str) -> Result<Self, BmapError> {
        let xml = Document::parse(text).map_err(|error| BmapError::Xml(error.to_string()))?;
        let bmap = xml.root_element();
        let version = bmap.attribute("version").ok_or(BmapError::Missing("version"))?;
        if !matches!(version, "1.4" | "2.0") {
            return Err(wrong("version", version, "1.4 or 2.0"));
        }
        let checksum_type = content(bmap, "ChecksumType")?;
        if checksum_type != "sha256" {
            return Err(wrong("ChecksumType", checksum_type, "sha256"));
        }
        check(text, child(bmap, "BmapFileChecksum")?)?;
        let image_size = number("ImageSize", content(bmap, "ImageSize")?)?;
        let block_size = number("BlockSize", content(bmap, "BlockSize")?)?;
        if block_size == 0 {
            return Err(wrong("BlockSize", "0", "a number of bytes"));
        }
        let ranges = child(bmap, "BlockMap")?
            .children()
            .filter(|node| node.has_tag_name("Range"))
            .map(|range| Mapped::parse(range, block_size, image_size))
            .collect::<Result<Vec<_>, _>>()?;
        if !ranges.is_sorted_by(|one, next| one.bytes.end <= next.bytes.start) {
            return Err(wrong("BlockMap", "out of order", "each Range behind the one before it"));
        }
        Ok(Self { image_size, ranges })
    }

    /// Whether there is data of the image between these two places.
    pub(super) fn has_data(&self, bytes: &Range<u64>) -> bool {
        let next = self.ranges.partition_point(|range| range.bytes.end <= bytes.start);
        self.ranges.get(next).is_some_and(|range| range.bytes.start < bytes.end)
    }

    /// Checks an image against this map while it goes by.
    pub(super) fn checker(&self) -> Checker<'_> {
        Checker { bmap: self, next: 0, sum: Sha256::new(), position: 0 }
    }
}

impl Mapped {
    fn parse(range: Node<'_, '_>, block_size: u64, image_size: u64) -> Result<Self, BmapError> {
        let text = range.text().unwrap_or_default().trim();
        let expected = "blocks of the image, such as 0 or 3-7";
        let checksum = range.attribute("chksum").ok_or(BmapError::Missing("chksum in a Range"))?;
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (number("Range", first.trim())?, number("Range", last.trim())?);
        let start = first.checked_mul(block_size).filter(|_| first <= last);
        let end = last.checked_add(1).and_then(|end| end.checked_mul(block_size));
        let bytes = match start.zip(end) {
            // The last block of an image may be shorter than the others.
            Some((start, end))
                if start < image_size && end < image_size.saturating_add(block_size) =>
            {
                start..end.min(image_size)
            }
            Some(_) | None => return Err(wrong("Range", text, expected)),
        };
        let checksum = parse_sum(checksum)
            .ok_or_else(|| wrong("chksum", checksum, "the 64 digits of a SHA-256"))?;
        Ok(Self { bytes, checksum })
    }
}

/// See [`Bmap::checker`].
pub(super) struct Checker<'b> {
    bmap: &'b Bmap,
    /// The range that comes next, or is going by.
    next: usize,
    sum: Sha256,
    position: u64,
}

impl Checker<'_> {
    /// The next bytes of the image.
    ///
    /// # Errors
    ///
    /// The image is another one than the map's, or is damaged.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.position + bytes.len() as u64;
        if end > self.bmap.image_size {
            return Err(self.other_image("more"));
        }
        while let Some(range) = self.bmap.ranges.get(self.next).filter(|r| r.bytes.start < end) {
            let from = range.bytes.start.max(self.position) - self.position;
            let to = range.bytes.end.min(end) - self.position;
            self.sum.update(&bytes[index(from)..index(to)]);
            if range.bytes.end > end {
                break;
            }
            let actual = self.sum.finalize_reset();
            if actual[..] != range.checksum {
                return Err(DriverError::InvalidArgument(format!(
                    "bytes {} to {} of the image are not those of the block map: their checksum is \
                     {}, and the map says {}; the image is damaged, or the map is of another one",
                    range.bytes.start,
                    range.bytes.end,
                    hex(&actual),
                    hex(&range.checksum)
                )));
            }
            self.next += 1;
        }
        self.position = end;
        Ok(())
    }

    /// There are no more.
    ///
    /// # Errors
    ///
    /// There should be.
    pub(super) fn end(&self) -> Result<()> {
        if self.position == self.bmap.image_size { Ok(()) } else { Err(self.other_image("fewer")) }
    }

    fn other_image(&self, how_many: &str) -> DriverError {
        DriverError::InvalidArgument(format!(
            "the image has {how_many} than the {} bytes that its block map says; it is cut off, or \
             the map is of another one",
            self.bmap.image_size
        ))
    }
}

/// An index into a slice that it was found in.
fn index(position: u64) -> usize {
    usize::try_from(position).expect("because it is within a slice")
}

/// The checksum of the map itself is made with zeros in its own place.
fn check(text: &str, element: Node<'_, '_>) -> Result<(), BmapError> {
    let said = element.text().unwrap_or_default().trim();
    let place = element.range();
    let (before, element, after) = (&text[..place.start], &text[place.clone()], &text[place.end..]);
    let element = element.replacen(said, &"0".repeat(said.len()), 1);
    let sum = Sha256::new().chain_update(before).chain_update(element).chain_update(after);
    let actual = hex(&sum.finalize());
    if actual == said.to_ascii_lowercase() {
        Ok(())
    } else {
        Err(BmapError::Damaged { said: said.to_owned(), actual })
    }
}

fn wrong(name: &'static str, value: &str, expected: &'static str) -> BmapError {
    BmapError::Wrong { name, value: value.to_owned(), expected }
}

fn child<'x>(bmap: Node<'x, 'x>, name: &'static str) -> Result<Node<'x, 'x>, BmapError> {
    bmap.children().find(|node| node.has_tag_name(name)).ok_or(BmapError::Missing(name))
}

/// The text of an element, without the blanks around it. It is part of the document.
fn content<'x>(bmap: Node<'x, 'x>, name: &'static str) -> Result<&'x str, BmapError> {
    child(bmap, name)?.text().map(str::trim).ok_or(BmapError::Missing(name))
}

fn number(name: &'static str, text: &str) -> Result<u64, BmapError> {
    text.parse().map_err(|_| wrong(name, text, "a number"))
}

fn parse_sum(text: &str) -> Option<Sum> {
    let mut sum = [0; 32];
    if text.len() != 2 * sum.len() || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in sum.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(sum)
}

fn hex(sum: &[u8]) -> String {
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::image;

    /// The block map of an image, as bmaptool makes it. Each range has its first and its last block.
    pub(in super::super) fn bmap_of(image: &[u8], ranges: &[(usize, usize)]) -> String {
        const BLOCK: usize = 4096;
        let ranges: String = ranges
            .iter()
            .map(|&(first, last)| {
                let bytes = &image[first * BLOCK..((last + 1) * BLOCK).min(image.len())];
                let sum = hex(&Sha256::digest(bytes));
                let blocks =
                    if first == last { format!("{first}") } else { format!("{first}-{last}") };
                format!("        <Range chksum=\"{sum}\"> {blocks} </Range>\n")
            })
            .collect();
        let text = format!(
            "<?xml version=\"1.0\" ?>\n<!-- This file contains the block map. -->\n\
             <bmap version=\"2.0\">\n    <ImageSize> {} </ImageSize>\n    \
             <BlockSize> {BLOCK} </BlockSize>\n    <BlocksCount> {} </BlocksCount>\n    \
             <ChecksumType> sha256 </ChecksumType>\n    \
             <BmapFileChecksum> {} </BmapFileChecksum>\n    \
             <BlockMap>\n{ranges}    </BlockMap>\n</bmap>\n",
            image.len(),
            image.len().div_ceil(BLOCK),
            "0".repeat(64)
        );
        signed(&text)
    }

    /// The same map with its own checksum.
    fn signed(text: &str) -> String {
        let sum = hex(&Sha256::digest(text));
        text.replacen(&"0".repeat(64), &sum, 1)
    }

    /// Replaces something in a map whose checksum is then right again.
    fn changed(text: &str, from: &str, to: &str) -> String {
        let start = text.find("<BmapFileChecksum> ").unwrap() + "<BmapFileChecksum> ".len();
        let unsigned = format!("{}{}{}", &text[..start], "0".repeat(64), &text[start + 64..]);
        assert!(unsigned.contains(from));
        signed(&unsigned.replacen(from, to, 1))
    }

    #[test]
    fn data_is_where_the_map_says() {
        let image = image(10 * 4096 + 5);
        let bmap = Bmap::parse(&bmap_of(&image, &[(0, 0), (3, 4), (10, 10)])).unwrap();
        assert_eq!(bmap.image_size, 40_965);
        let has_data = |from: u64, to: u64| bmap.has_data(&(from * 4096..to * 4096));
        assert!(has_data(0, 1) && has_data(4, 5) && has_data(1, 4) && has_data(10, 11));
        assert!(!has_data(1, 3) && !has_data(5, 10) && !has_data(11, 12));
    }

    proptest! {
        #[test]
        fn an_image_is_checked_however_it_comes(piece in 1_usize..20_000, spoilt in 0_usize..50_000) {
            let mut image = image(50_000);
            let bmap = Bmap::parse(&bmap_of(&image, &[(0, 1), (5, 5), (9, 12)])).unwrap();
            let checked = |image: &[u8]| {
                let mut checker = bmap.checker();
                image.chunks(piece).try_for_each(|bytes| checker.add(bytes))?;
                checker.end()
            };
            prop_assert!(checked(&image).is_ok());
            image[spoilt] ^= 1;
            let block = spoilt as u64 / 4096 * 4096;
            prop_assert_eq!(checked(&image).is_err(), bmap.has_data(&(block..block + 1)));
        }
    }

    #[test]
    fn the_map_of_another_image_is_refused() {
        let image = image(9000);
        let bmap = Bmap::parse(&bmap_of(&image, &[(0, 0)])).unwrap();
        let checked = |bytes: &[u8]| {
            let mut checker = bmap.checker();
            checker.add(bytes)?;
            checker.end()
        };
        assert_eq!(
            checked(&image[..8192]).unwrap_err().to_string(),
            "the image has fewer than the 9000 bytes that its block map says; it is cut off, or the map \
             is of another one"
        );
        let error = checked(&[&image[..], b"more"].concat()).unwrap_err().to_string();
        assert!(error.starts_with("the image has more than the 9000 bytes"), "{error}");
        let error = checked(&vec![7; 9000]).unwrap_err().to_string();
        assert!(error.starts_with("bytes 0 to 4096 of the image are not those"), "{error}");
        assert!(error.ends_with("the image is damaged, or the map is of another one"), "{error}");
    }

    #[test]
    fn a_map_that_is_not_one_says_why() {
        let image = image(9000);
        let good = bmap_of(&image, &[(0, 0), (2, 2)]);
        let wrong = |text: &str| Bmap::parse(text).unwrap_err().to_string();
        let damaged = wrong(&good.replace("> 2 <", "> 1 <"));
        assert!(damaged.starts_with("it is damaged: its own checksum is "), "{damaged}");
        for (from, to, expected) in [
            ("2.0", "1.3", "its version is '1.3'; expected 1.4 or 2.0"),
            ("> 9000 <", "> many <", "its ImageSize is 'many'; expected a number"),
            ("> 4096 <", "> 0 <", "its BlockSize is '0'; expected a number of bytes"),
            ("> sha256 <", "> md5 <", "its ChecksumType is 'md5'; expected sha256"),
            (
                "> 2 <",
                "> 2-9 <",
                "its Range is '2-9'; expected blocks of the image, such as 0 or 3-7",
            ),
            (
                "> 2 <",
                "> 0 <",
                "its BlockMap is 'out of order'; expected each Range behind the one before it",
            ),
            ("<Range chksum", "<Range sum", "it has no chksum in a Range"),
            (
                "BlockMap",
                "Blockmap",
                "it is not XML: expected 'Blockmap' tag, not 'BlockMap' at 12:5",
            ),
        ] {
            assert_eq!(wrong(&changed(&good, from, to)), expected);
        }
        assert_eq!(wrong("<bmap version='2.0'/>"), "it has no ChecksumType");
        assert_eq!(
            wrong(&changed(&good, "> 2 <", "> 18446744073709551615 <")),
            "its Range is '18446744073709551615'; expected blocks of the image, such as 0 or 3-7"
        );
    }
}
