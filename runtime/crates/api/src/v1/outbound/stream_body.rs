//! A response body fed through a channel: it ends when the sender is dropped, and
//! breaks off when the sender reports an error, so that an incomplete export never looks complete.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;

/// Pieces as they come.
pub(super) struct StreamBody(pub(super) mpsc::Receiver<io::Result<Bytes>>);

impl Body for StreamBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
