//! A response body fed through a channel: it ends when the sender is dropped. Once it is broken off it ends with an
//! error, and what waits for the reader is not sent, so that an incomplete export never looks complete.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;

/// Whether a body is broken off; shared with what feeds it.
#[derive(Clone, Default)]
pub(in crate::v1) struct Broken(Arc<AtomicBool>);

impl Broken {
    /// Breaks the body off: drop the sender after that.
    pub(in crate::v1) fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(in crate::v1) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Pieces as they come.
pub(in crate::v1) struct StreamBody {
    pub(in crate::v1) pieces: mpsc::Receiver<Bytes>,
    pub(in crate::v1) broken: Broken,
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = ready!(self.pieces.poll_recv(context));
        if self.broken.is_set() {
            return Poll::Ready(Some(Err(io::Error::other("the answer was broken off"))));
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}
