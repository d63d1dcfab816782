//! The frames of a byte stream.

use bytes::Bytes;

use crate::wire::{FrameType, StreamRequest, StreamResponse};

/// What a frame from a client means.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A chunk.
    Data(Bytes),
    /// The client will send no more chunks.
    End,
    /// Nothing: a ping, or a type that came after this program. The reference turns these into
    /// empty chunks, which are real datagrams to some devices.
    Ignored,
}

/// Reads a frame.
pub fn incoming(frame: StreamRequest) -> Incoming {
    match FrameType::try_from(frame.frame_type) {
        Ok(FrameType::Data) => Incoming::Data(frame.payload),
        Ok(FrameType::Goaway) => Incoming::End,
        Ok(FrameType::RstStream | FrameType::Ping) | Err(_) => Incoming::Ignored,
    }
}

/// A frame with a chunk for the client.
pub fn data(payload: Bytes) -> StreamResponse {
    StreamResponse { payload, frame_type: FrameType::Data.into() }
}

/// The frame that says that no more chunks will come.
pub fn goaway() -> StreamResponse {
    StreamResponse { payload: Bytes::new(), frame_type: FrameType::Goaway.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(payload: &'static [u8], frame_type: i32) -> Incoming {
        incoming(StreamRequest { payload: Bytes::from_static(payload), frame_type })
    }

    #[test]
    fn only_data_is_data() {
        assert_eq!(frame(b"x", 0), Incoming::Data("x".into()));
        assert_eq!(frame(b"", 0), Incoming::Data(Bytes::new()), "an empty datagram is one");
        assert_eq!(frame(b"x", 7), Incoming::End);
        assert_eq!(frame(b"x", 3), Incoming::Ignored);
        assert_eq!(frame(b"x", 6), Incoming::Ignored);
        assert_eq!(frame(b"x", 42), Incoming::Ignored);
    }

    proptest! {
        #[test]
        fn no_bytes_on_the_wire_are_too_strange(bytes: Vec<u8>) {
            use prost::Message as _;
            if let Ok(request) = StreamRequest::decode(bytes.as_slice()) {
                incoming(request);
            }
        }
    }
}
