//! Data between a client and something that blocks: a file, a block device.
//!
//! One side is asynchronous, the other runs on a thread of its own, and between them a few chunks of
//! memory go round and round: while one side fills a chunk, the other empties another. So both work
//! at the same time, a slow side holds the other back, and an image of any size takes the memory of
//! a few chunks.
//!
//! A chunk is full unless it is the last: that one is shorter, perhaps empty, and thereby says that
//! the data is complete.

use std::io::{self, Read, Write};

use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::chunk::{self, Chunk};
use crate::blocking;
use crate::stream::{Sink, Source};
use crate::{DriverError, Result};

/// How many chunks go round: one on each side, and one on the way in each direction.
const CHUNKS: usize = 4;

/// The most that is written at once, in bytes. For a longer write, the kernel looks for as much memory
/// in one piece; where there is none left, it makes room first, and a write takes ten times as long.
const LONGEST_WRITE: usize = 64 * 1024;

/// Copies all of `source` to `target`, which errors call `name`. Returns `target` again, neither
/// flushed nor synced, and how many bytes it was given.
///
/// # Errors
///
/// The first error of either side. By then nothing is written any more, and `target` was dropped on
/// the thread that wrote to it; so it is, a few chunks later, if nobody waits for the copy any more.
pub(super) async fn write<T>(mut source: Source, mut target: T, name: &str) -> Result<(T, u64)>
where
    T: Write + Send + 'static,
{
    let (mut producer, mut consumer) = ring();
    let what = format!("write {name}");
    let context = what.clone();
    let writer = blocking::start(&what, move || {
        let mut bytes = 0;
        loop {
            let Some(chunk) = consumer.filled.blocking_recv() else {
                return Err(DriverError::Disconnected(format!("{context}: the data ended early")));
            };
            for piece in chunk.data().chunks(LONGEST_WRITE) {
                target.write_all(piece).map_err(|error| DriverError::io(&*context, error))?;
            }
            bytes += chunk.data().len() as u64;
            if !chunk.is_full() {
                return Ok((target, bytes));
            }
            // Nobody fills it again once the source has failed.
            consumer.empty.blocking_send(chunk.emptied()).ok();
        }
    });
    let received = tokio::select! {
        biased;
        received = receive(&mut source, &mut producer.empty, &producer.filled) => received,
        // The writer has failed, and the source may be slow to send more.
        () = producer.filled.closed() => Ok(()),
    };
    drop(producer);
    let written = writer.done().await;
    received.map_err(chunk::receive_error)?;
    written
}

/// Fills chunks until the source or the consumer ends.
async fn receive(
    source: &mut Source,
    empty: &mut Receiver<Chunk>,
    filled: &Sender<Chunk>,
) -> io::Result<()> {
    while let Some(mut chunk) = empty.recv().await {
        chunk.receive(source).await?;
        let last = !chunk.is_full();
        if filled.send(chunk).await.is_err() || last {
            break;
        }
    }
    Ok(())
}

/// Copies everything from `origin`, which errors call `name`, to `sink`, which it does not shut
/// down. Returns `origin` again, and how many bytes came from it.
///
/// # Errors
///
/// The first error of either side. By then nothing is read any more.
pub(super) async fn read<O>(mut origin: O, sink: &mut Sink, name: &str) -> Result<(O, u64)>
where
    O: Read + Send + 'static,
{
    let (mut producer, mut consumer) = ring();
    let what = format!("read {name}");
    let context = what.clone();
    let reader = blocking::start(&what, move || {
        let mut bytes = 0;
        while let Some(mut chunk) = producer.empty.blocking_recv() {
            chunk.fill(&mut origin).map_err(|error| DriverError::io(&*context, error))?;
            bytes += chunk.data().len() as u64;
            let last = !chunk.is_full();
            if producer.filled.blocking_send(chunk).is_err() || last {
                break;
            }
        }
        Ok((origin, bytes))
    });
    let sent = send(&mut consumer, sink).await;
    drop(consumer);
    let read = reader.done().await;
    sent.map_err(|error| DriverError::io("send the data", error))?;
    read
}

/// Empties chunks until the last or an error.
async fn send(consumer: &mut Consumer, sink: &mut Sink) -> io::Result<()> {
    while let Some(chunk) = consumer.filled.recv().await {
        sink.write_all(chunk.data()).await?;
        if !chunk.is_full() {
            break;
        }
        // Nobody fills it again once the origin has failed.
        consumer.empty.send(chunk.emptied()).await.ok();
    }
    Ok(())
}

/// The side that fills chunks.
struct Producer {
    empty: Receiver<Chunk>,
    filled: Sender<Chunk>,
}

/// The side that empties them.
struct Consumer {
    filled: Receiver<Chunk>,
    empty: Sender<Chunk>,
}

/// Both sides, with all chunks on their way to the producer. Sending never waits, as each channel
/// has room for all of them.
fn ring() -> (Producer, Consumer) {
    let (emptied, empty) = mpsc::channel(CHUNKS);
    let (filled, full) = mpsc::channel(CHUNKS);
    for _ in 0..CHUNKS {
        emptied.try_send(Chunk::new()).expect("because there is room for all chunks");
    }
    (Producer { empty, filled }, Consumer { filled: full, empty: emptied })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::pin::Pin;
    use std::sync::{Arc, Condvar, Mutex};
    use std::task::{Context, Poll};

    use proptest::prelude::*;
    use tokio::io::{AsyncRead, BufReader, ReadBuf};

    use super::super::chunk::CHUNK;
    use super::*;
    use crate::testing::{cut_off, image, sink};

    /// A target that keeps what it is given, write by write, and fails after so many.
    #[derive(Debug, Clone, Default)]
    struct Writes {
        lengths: Arc<Mutex<Vec<usize>>>,
        bytes: Vec<u8>,
        fail_after: Option<usize>,
    }

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut lengths = self.lengths.lock().unwrap();
            if self.fail_after == Some(lengths.len()) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            lengths.push(bytes.len());
            self.bytes.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn everything_arrives(
            length in prop_oneof![0_usize..3, 0..10 * CHUNK, Just(CHUNK), Just(6 * CHUNK)],
            piece in 1000_usize..2 * CHUNK,
        ) {
            let bytes = image(length);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let source = Box::pin(BufReader::with_capacity(piece, Cursor::new(bytes.clone())));
                let (written, count) = write(source, Writes::default(), "it").await.unwrap();
                assert!(written.bytes == bytes);
                assert_eq!(count, length as u64);

                let (mut sink, received) = sink();
                let (_, count) = read(Cursor::new(bytes.clone()), &mut sink, "it").await.unwrap();
                sink.shutdown().await.unwrap();
                assert!(received.complete().unwrap() == bytes);
                assert_eq!(count, length as u64);
            });
        }
    }

    #[tokio::test]
    async fn writes_are_short_but_not_shorter_than_that() {
        let source = Box::pin(BufReader::with_capacity(5000, Cursor::new(image(5 * CHUNK + 7))));
        let (written, _) = write(source, Writes::default(), "it").await.unwrap();
        let mut lengths = vec![LONGEST_WRITE; 5 * CHUNK / LONGEST_WRITE];
        lengths.push(7);
        assert_eq!(*written.lengths.lock().unwrap(), lengths);
    }

    #[tokio::test]
    async fn a_source_that_fails_is_an_error() {
        let error = write(cut_off(image(2 * CHUNK)), Writes::default(), "it").await.unwrap_err();
        assert!(matches!(error, DriverError::Disconnected(_)), "{error:?}");
        assert_eq!(error.to_string(), "receive the data: the client went away");
    }

    #[tokio::test]
    async fn a_target_that_fails_is_an_error_at_once() {
        let target = Writes { fail_after: Some(1), ..Writes::default() };
        // A client that sends no more, but does not end either.
        let (mut client, lent) = tokio::io::duplex(2 * CHUNK);
        client.write_all(&image(2 * CHUNK)).await.unwrap();
        let error = write(Box::pin(BufReader::new(lent)), target, "it").await.unwrap_err();
        assert_eq!(error.to_string(), "write it: no storage space");
    }

    /// Bytes without end, and how many of them were read.
    #[derive(Clone, Default)]
    struct Endless(Arc<(Mutex<usize>, Condvar)>);

    impl AsyncRead for Endless {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let (read, more) = &*self.0;
            *read.lock().unwrap() += buffer.remaining();
            more.notify_all();
            buffer.initialize_unfilled();
            buffer.set_filled(buffer.capacity());
            Poll::Ready(Ok(()))
        }
    }

    /// A target that begins once all chunks are full, and watches how far the source gets.
    struct Slow {
        source: Endless,
        writes: usize,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (read, more) = &*self.source.0;
            let read = read.lock().unwrap();
            let read = more.wait_while(read, |read| *read < CHUNKS * CHUNK).unwrap();
            assert!(*read <= (self.writes + CHUNKS + 1) * CHUNK, "no more than is in the chunks");
            self.writes += 1;
            if self.writes == 50 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(bytes.len()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_source_is_read_ahead_but_only_a_few_chunks() {
        let source = Endless::default();
        let target = Slow { source: source.clone(), writes: 0 };
        let source = Box::pin(BufReader::with_capacity(CHUNK, source));
        let error = write(source, target, "it").await.map(drop).unwrap_err();
        assert_eq!(error.to_string(), "write it: no storage space");
    }

    #[tokio::test]
    async fn an_origin_that_fails_is_an_error() {
        let origin = Cursor::new(image(CHUNK)).chain(Broken);
        let (mut sink, received) = sink();
        let error = read(origin, &mut sink, "the card").await.map(drop).unwrap_err();
        assert_eq!(error.to_string(), "read the card: no such device");
        assert!(received.len() <= CHUNK);
        assert_eq!(received.complete(), None);
    }

    #[tokio::test]
    async fn a_sink_that_fails_is_an_error() {
        let (near, far) = tokio::io::duplex(64);
        drop(far);
        let mut sink: Sink = Box::pin(near);
        let error = read(io::repeat(7), &mut sink, "it").await.map(drop).unwrap_err();
        assert!(matches!(error, DriverError::Disconnected(_)), "{error:?}");
    }

    /// An origin that fails.
    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("no such device"))
        }
    }
}
