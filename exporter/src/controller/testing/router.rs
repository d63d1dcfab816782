//! The router, as the real one was seen to behave.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

use crate::wire::router_service_server::RouterService;
use crate::wire::{StreamRequest, StreamResponse};

/// Brings the two together who show the same token. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Crossing(Arc<Mutex<HashMap<String, Waiting>>>);

/// The first of two.
struct Waiting {
    frames: Streaming<StreamRequest>,
    peer: oneshot::Sender<Streaming<StreamRequest>>,
}

impl Crossing {
    /// How many wait for their peer.
    pub(super) fn waiting(&self) -> usize {
        let mut waiting = self.0.lock().unwrap();
        waiting.retain(|_, waiting| !waiting.peer.is_closed());
        waiting.len()
    }
}

#[tonic::async_trait]
impl RouterService for Crossing {
    type StreamStream = BoxStream<'static, Result<StreamResponse, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let token = request.metadata().get("authorization").and_then(|token| token.to_str().ok());
        let token = token.and_then(|token| token.strip_prefix("Bearer ")).map(str::to_owned);
        let token = token.ok_or_else(|| Status::unauthenticated("no token"))?;
        assert!(!request.metadata().contains_key("jumpstarter-kind"), "a router is told no names");
        let frames = request.into_inner();
        let first = self.0.lock().unwrap().remove(&token).filter(|first| !first.peer.is_closed());
        let mut peer = match first {
            Some(first) => {
                first.peer.send(frames).map_err(|_| Status::cancelled("the peer has left"))?;
                first.frames
            }
            None => {
                let (sender, peer) = oneshot::channel();
                self.0.lock().unwrap().insert(token, Waiting { frames, peer: sender });
                peer.await.map_err(|_| Status::cancelled("the peer has left"))?
            }
        };
        // No headers before the peer's first frame.
        let first = peer.message().await;
        let rest = stream::unfold(peer, |mut peer| async move {
            Some((peer.message().await.transpose()?, peer))
        });
        let frames = stream::iter(first.transpose()).chain(rest).map(|frame| {
            // One who dies is not told of: the other only sees that nothing comes.
            let StreamRequest { payload, frame_type } = frame.map_err(|_| Status::cancelled(""))?;
            Ok(StreamResponse { payload, frame_type })
        });
        Ok(Response::new(frames.boxed()))
    }
}
