//! A recording on disk: files of entries, the oldest of which make room for new ones.
//!
//! A process only ever writes to files that it has begun itself. What a crash has left at the end of
//! a file ends that file, and nothing else.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::entry::Entry;

/// Into how many files a recording is divided: as much of it is lost when it is full.
const FILES: u64 = 8;

/// A file is at least this long, in bytes.
const SHORTEST: u64 = 4 << 10;

/// The recording, for its one writer.
#[derive(Debug)]
pub(super) struct Ring {
    directory: PathBuf,
    /// In bytes; all files together are hardly longer.
    size: u64,
    current: File,
    /// The numbers of the files and their lengths, oldest first; the last is the current one's.
    files: VecDeque<(u64, u64)>,
    buffer: Vec<u8>,
}

/// A place in a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Position {
    /// The file's number.
    pub(super) file: u64,
    /// In bytes from its beginning.
    pub(super) offset: u64,
}

impl Ring {
    /// Goes on with the recording in a directory, or begins one.
    pub(super) fn open(directory: &Path, size: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut files = VecDeque::new();
        for number in numbers(directory)? {
            files.push_back((number, fs::metadata(path(directory, number))?.len()));
        }
        let next = files.back().map_or(1, |(number, _)| number + 1);
        let current = begin(directory, next)?;
        files.push_back((next, 0));
        let directory = directory.to_owned();
        let mut ring = Self { directory, size, current, files, buffer: Vec::new() };
        ring.make_room()?;
        Ok(ring)
    }

    /// Adds an entry. After an error, the recording is as it was before.
    pub(super) fn append(&mut self, entry: &Entry) -> io::Result<()> {
        self.buffer.clear();
        entry.write(&mut self.buffer);
        let length = self.buffer.len() as u64;
        let longest = (self.size / FILES).max(SHORTEST);
        let (number, written) = self.last();
        if written > 0 && written + length > longest {
            self.current.sync_data()?;
            self.current = begin(&self.directory, number + 1)?;
            self.files.push_back((number + 1, 0));
        }
        if let Err(error) = self.current.write_all(&self.buffer) {
            // What was written of it would end the file for readers.
            self.current.set_len(self.last().1)?;
            return Err(error);
        }
        if let Some((_, written)) = self.files.back_mut() {
            *written += length;
        }
        self.make_room()
    }

    /// Removes the oldest files if the recording is too long. The current one stays.
    fn make_room(&mut self) -> io::Result<()> {
        while self.files.len() > 1
            && self.files.iter().map(|(_, length)| length).sum::<u64>() > self.size
        {
            let Some((oldest, _)) = self.files.pop_front() else { break };
            fs::remove_file(path(&self.directory, oldest))?;
        }
        Ok(())
    }

    fn last(&self) -> (u64, u64) {
        *self.files.back().expect("because there is always a current file")
    }
}

/// Begins a file. Appending, so that it can be cut after a failure.
fn begin(directory: &Path, number: u64) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create_new(true).mode(0o600).open(path(directory, number))
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:010}.log"))
}

/// The numbers of the files that there are, oldest first.
fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        // Nothing has been recorded yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(numbers),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log"));
        // Whatever else lies there is no part of the recording.
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// What was read of a recording.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// Each with its place.
    pub(super) entries: Vec<(Position, Entry)>,
    /// Where to go on.
    pub(super) next: Position,
    /// Whether there is nothing more for now.
    pub(super) is_end: bool,
}

/// Reads on from a place, to the end of its file. If that file has made room for new ones, from the
/// oldest that there is.
pub(super) fn read(directory: &Path, from: Position) -> io::Result<Read> {
    let numbers = numbers(directory)?;
    let mut rest = numbers.iter().copied().filter(|number| *number >= from.file);
    let Some(number) = rest.next() else {
        return Ok(Read { entries: Vec::new(), next: from, is_end: true });
    };
    let offset = if number == from.file { from.offset } else { 0 };
    let mut read = Read::default();
    let mut place = Position { file: number, offset };
    let input = match fs::read(path(directory, number)) {
        Ok(input) => input,
        // It has made room just now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let mut rest_of_file = input.get(start..).unwrap_or_default();
    while let Some((entry, length)) = Entry::read(rest_of_file) {
        read.entries.push((place, entry));
        place.offset += length as u64;
        rest_of_file = &rest_of_file[length..];
    }
    match rest.next() {
        // The writer is done with a file before it begins the next, so this was all of it.
        Some(following) => read.next = Position { file: following, offset: 0 },
        None => {
            read.next = place;
            read.is_end = true;
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::super::entry::Content;
    use super::*;

    fn data(text: &str) -> Entry {
        Entry { time: 1, content: Content::Data(text.into()) }
    }

    fn all(directory: &Path) -> Vec<Entry> {
        let (mut place, mut entries) = (Position::default(), Vec::new());
        loop {
            let read = read(directory, place).unwrap();
            entries.extend(read.entries.into_iter().map(|(_, entry)| entry));
            if read.is_end {
                return entries;
            }
            place = read.next;
        }
    }

    fn size(directory: &Path) -> u64 {
        let files = fs::read_dir(directory).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    }

    #[test]
    fn the_newest_is_kept_and_the_size_is() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("console");
        let mut ring = Ring::open(&directory, 64 << 10).unwrap();
        for number in 0..2000 {
            ring.append(&data(&format!("{number:080}"))).unwrap();
            assert!(size(&directory) <= 64 << 10);
        }
        let kept = all(&directory);
        let expected: Vec<_> =
            (2000 - kept.len()..2000).map(|number| data(&format!("{number:080}"))).collect();
        assert_eq!(kept, expected);
        assert!(size(&directory) > 48 << 10, "{}", size(&directory));
        // A smaller ring makes room at once.
        drop(Ring::open(&directory, 16 << 10).unwrap());
        assert!(size(&directory) <= 16 << 10);
    }

    #[test]
    fn what_a_crash_cut_off_ends_its_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = Ring::open(folder.path(), 1 << 20).unwrap();
        ring.append(&data("whole")).unwrap();
        ring.append(&data("torn")).unwrap();
        let file = path(folder.path(), 1);
        let torn = File::options().write(true).open(&file).unwrap();
        torn.set_len(fs::metadata(&file).unwrap().len() - 1).unwrap();
        fs::write(folder.path().join("notes.txt"), "not mine").unwrap();
        Ring::open(folder.path(), 1 << 20).unwrap().append(&data("later")).unwrap();
        assert_eq!(all(folder.path()), [data("whole"), data("later")]);
    }

    #[test]
    fn reading_goes_on_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = Ring::open(folder.path(), 32 << 10).unwrap();
        let mut place = Position::default();
        for number in 0..500 {
            let entry = data(&format!("{number:0100}"));
            ring.append(&entry).unwrap();
            let mut heard = Vec::new();
            loop {
                let read = read(folder.path(), place).unwrap();
                heard.extend(read.entries.into_iter().map(|(_, entry)| entry));
                place = read.next;
                if read.is_end {
                    break;
                }
            }
            assert_eq!(heard, [entry]);
        }
        let oldest = read(folder.path(), Position { file: 1, offset: 5 }).unwrap();
        assert!(oldest.entries[0].0.file > 1, "what is gone is skipped");
    }
}
