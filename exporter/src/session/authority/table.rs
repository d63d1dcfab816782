//! As much of HPACK's tables as it takes to tell which names are `:authority` (RFC 7541, section 2.3).

use std::collections::VecDeque;

use super::Lost;

/// The name of a header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// `:authority`.
    Authority,
    /// Any other, of so many bytes.
    Other { length: usize },
}

/// The names in the static table and in the server's dynamic table.
///
/// Of an entry it knows only what evicts it, its size, and what literals can refer to, its name.
/// An encoder that uses another size than the first 4096 bytes has to say so in its next header
/// block, also where the server's SETTINGS_HEADER_TABLE_SIZE makes it do so (section 4.2). So there
/// is no need to know the server's settings.
pub(super) struct Table {
    /// The newest first.
    entries: VecDeque<Entry>,
    size: usize,
    limit: usize,
}

struct Entry {
    name: Name,
    size: usize,
}

/// The dynamic table's limit before anybody changes it (RFC 9113, section 6.5.2).
const FIRST_LIMIT: usize = 4096;

/// The largest limit that is followed, far beyond what h2 allows a client unless told to. It bounds
/// what a client can make us remember.
const LARGEST_LIMIT: usize = 64 * 1024;

/// What an entry counts beyond its name and its value (section 4.1).
const ENTRY_OVERHEAD: usize = 32;

/// The lengths of the static table's names, from index 1, `:authority`, on (appendix A).
const STATIC_NAME_LENGTHS: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14,
    16, 13, 12, 6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10,
    25, 17, 10, 4, 3, 16,
];

impl Name {
    pub(super) fn of(text: &[u8]) -> Self {
        match text {
            b":authority" => Self::Authority,
            other => Self::Other { length: other.len() },
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Authority => b":authority".len(),
            Self::Other { length } => length,
        }
    }
}

impl Table {
    pub(super) fn new() -> Self {
        Self { entries: VecDeque::new(), size: 0, limit: FIRST_LIMIT }
    }

    /// The name of the entry with an index.
    pub(super) fn name(&self, index: usize) -> Result<Name, Lost> {
        match (index, STATIC_NAME_LENGTHS.get(index.wrapping_sub(1))) {
            (1, _) => Ok(Name::Authority),
            (_, Some(&length)) => Ok(Name::Other { length: length.into() }),
            (_, None) => index
                .checked_sub(STATIC_NAME_LENGTHS.len() + 1)
                .and_then(|newer| self.entries.get(newer))
                .map(|entry| entry.name)
                .ok_or(Lost),
        }
    }

    /// Adds an entry, at the expense of the oldest ones. One that is larger than the table empties
    /// it (section 4.4).
    pub(super) fn insert(&mut self, name: Name, value_length: usize) {
        let size = name.length() + value_length + ENTRY_OVERHEAD;
        self.evict(self.limit.saturating_sub(size));
        if size <= self.limit {
            self.entries.push_front(Entry { name, size });
            self.size += size;
        }
    }

    /// Sets the limit, as a dynamic table size update does (section 6.3).
    pub(super) fn resize(&mut self, limit: usize) -> Result<(), Lost> {
        if limit > LARGEST_LIMIT {
            return Err(Lost);
        }
        self.limit = limit;
        self.evict(limit);
        Ok(())
    }

    /// Drops the oldest entries until the rest is no larger than `room`.
    fn evict(&mut self, room: usize) {
        while self.size > room
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::decode_block;
    use super::*;

    const OTHER: Name = Name::Other { length: 1 };

    fn names(table: &Table) -> Vec<Name> {
        (62..).map_while(|index| table.name(index).ok()).collect()
    }

    #[test]
    fn static_names_are_those_of_another_implementation() {
        let table = Table::new();
        for index in 1_u8..=61 {
            let fields = decode_block(&mut loona_hpack::Decoder::new(), &[0x80 | index]);
            assert_eq!(table.name(index.into()), Ok(Name::of(&fields[0].0)), "index {index}");
        }
        assert_eq!(table.name(0), Err(Lost));
        assert_eq!(table.name(62), Err(Lost));
    }

    #[test]
    fn the_newest_entry_comes_first_and_the_oldest_goes_first() {
        let mut table = Table::new();
        table.resize(100).unwrap();
        table.insert(Name::Authority, 0); // 42
        table.insert(OTHER, 25); // 58
        assert_eq!(names(&table), [OTHER, Name::Authority]);
        table.insert(OTHER, 0); // 33
        assert_eq!(names(&table), [OTHER, OTHER]);
        table.insert(Name::Authority, 16); // 58, the second one that fits beside 33
        assert_eq!(names(&table), [Name::Authority, OTHER]);
    }

    #[test]
    fn an_entry_larger_than_the_table_empties_it() {
        let mut table = Table::new();
        table.insert(OTHER, 4096 - 33);
        assert_eq!(names(&table), [OTHER]);
        table.insert(OTHER, 4096 - 32);
        assert_eq!(names(&table), []);
    }

    #[test]
    fn a_new_limit_evicts() {
        let mut table = Table::new();
        table.insert(Name::Authority, 10);
        table.insert(OTHER, 10);
        table.resize(43).unwrap();
        assert_eq!(names(&table), [OTHER]);
        table.resize(LARGEST_LIMIT).unwrap();
        table.insert(OTHER, 10_000);
        assert_eq!(names(&table), [OTHER, OTHER]);
        assert_eq!(table.resize(LARGEST_LIMIT + 1), Err(Lost));
    }
}
