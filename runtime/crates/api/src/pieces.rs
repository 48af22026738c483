//! Answers in pieces: a large one is written a piece at a time, so that the task of its connection never copies all of
//! it into the operating system at once.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};

/// Bytes of a piece. Other tasks have a turn after each.
const PIECE: usize = 512 * 1024;

/// The body of an answer.
pub(crate) fn body(text: String) -> Body {
    if text.len() <= PIECE {
        return Body::from(text);
    }
    Body::new(Pieces { rest: Bytes::from(text), paused: true })
}

struct Pieces {
    rest: Bytes,
    /// Whether the last piece was followed by a pause.
    paused: bool,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if !self.paused {
            self.paused = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.paused = false;
        let bytes = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn every_length_arrives_whole() {
        for length in [0, 1, PIECE, PIECE + 1, 3 * PIECE, 5 * PIECE + 7] {
            let text: String =
                (0..length).map(|n| char::from(b'a' + u8::try_from(n % 26).unwrap())).collect();
            let body = body(text.clone());
            assert_eq!(body.size_hint().exact(), Some(length as u64));
            assert!(body.collect().await.unwrap().to_bytes() == text.as_bytes(), "{length}");
        }
    }
}
