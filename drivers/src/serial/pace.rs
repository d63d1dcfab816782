//! How fast a port's streams may send.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::{ByteStream, ChunkWriter, Result};

/// Lets one stream send at a time, a whole chunk, and if there is a limit, one byte at a time.
#[derive(Debug)]
pub(super) struct Pace {
    /// Between two bytes; none if there is no limit.
    period: Option<Duration>,
    /// When the next byte may go.
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// At most this many characters a second. As in the reference, zero and less mean no limit.
    pub(super) fn new(cps: Option<f64>) -> Self {
        let period = cps.and_then(|cps| Duration::try_from_secs_f64(1.0 / cps).ok());
        Self { period, next: Mutex::new(None) }
    }
}

/// The same stream, sending no faster than its port may.
pub(super) fn paced(stream: ByteStream, pace: &Arc<Pace>) -> ByteStream {
    let ByteStream { reader, writer } = stream;
    ByteStream { reader, writer: Box::new(PacedWriter { writer, pace: Arc::clone(pace) }) }
}

struct PacedWriter {
    writer: Box<dyn ChunkWriter>,
    pace: Arc<Pace>,
}

#[async_trait]
impl ChunkWriter for PacedWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        let mut next = self.pace.next.lock().await;
        let Some(period) = self.pace.period else { return self.writer.write(chunk).await };
        for index in 0..chunk.len() {
            if let Some(next) = *next {
                sleep_until(next).await;
            }
            self.writer.write(chunk.slice(index..=index)).await?;
            *next = Some(following(*next, Instant::now(), period));
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        self.writer.finish().await
    }
}

/// When the byte after one may go that was due at `due` and went `now`. A timer that is late by less
/// than a period doesn't slow the pace down; a pause isn't made up for.
fn following(due: Option<Instant>, now: Instant, period: Duration) -> Instant {
    match due {
        Some(due) if now < due + period => due + period,
        Some(_) | None => now + period,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sending_takes(cps: Option<f64>, chunks: &[&'static str]) -> Duration {
        let mut stream = paced(ByteStream::loopback(), &Arc::new(Pace::new(cps)));
        let start = Instant::now();
        for chunk in chunks {
            stream.writer.write((*chunk).into()).await.unwrap();
        }
        let took = start.elapsed();
        stream.writer.finish().await.unwrap();
        let mut heard = Vec::new();
        while let Some(chunk) = stream.reader.read().await.unwrap() {
            heard.extend_from_slice(&chunk);
        }
        assert_eq!(heard, chunks.concat().as_bytes());
        took
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_keep_their_distance() {
        assert_eq!(sending_takes(Some(5.0), &["hello"]).await, Duration::from_millis(800));
        assert_eq!(sending_takes(Some(5.0), &["h", "e", "llo"]).await, Duration::from_millis(800));
    }

    #[tokio::test(start_paused = true)]
    async fn no_limit_is_no_delay() {
        for cps in [None, Some(0.0), Some(-1.0), Some(f64::NAN)] {
            assert_eq!(sending_takes(cps, &["hello"]).await, Duration::ZERO, "{cps:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_chunk_of_one_stream_is_not_cut_by_another() {
        let pace = Arc::new(Pace::new(Some(10.0)));
        let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let mut streams = ["aaaa", "bbbb"].map(|chunk| {
            let writer = Box::new(Recorder(sender.clone()));
            (PacedWriter { writer, pace: Arc::clone(&pace) }, chunk)
        });
        let [(first, a), (second, b)] = &mut streams;
        let (one, two) = tokio::join!(first.write((*a).into()), second.write((*b).into()));
        one.and(two).unwrap();
        let mut all = Vec::new();
        while let Ok(chunk) = heard.try_recv() {
            all.extend_from_slice(&chunk);
        }
        assert_eq!(all, b"aaaabbbb");
    }

    struct Recorder(tokio::sync::mpsc::UnboundedSender<Bytes>);

    #[async_trait]
    impl ChunkWriter for Recorder {
        async fn write(&mut self, chunk: Bytes) -> Result<()> {
            self.0.send(chunk).unwrap();
            Ok(())
        }

        async fn finish(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_late_timer_does_not_slow_the_pace() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        assert_eq!(following(None, start, ms(10)), start + ms(10));
        assert_eq!(following(Some(start), start + ms(1), ms(10)), start + ms(10));
        assert_eq!(following(Some(start), start + ms(500), ms(10)), start + ms(510));
    }
}
