//! Load shedding: under overload, calls are refused as soon as their bytes arrive. Parsing a
//! request, calling a service and writing an answer costs the HTTP server more than all the rest of a refusal.
//!
//! [`Shedding`] is the stream below the server of one connection. It tracks where each message begins and ends,
//! and only between two messages, when the server has read and written everything, may it answer
//! one itself. A connection whose messages it cannot track to the byte is left to the server from then on:
//! an answer at the wrong position would be taken for that of another request.
//!
//! It also notes messages that the server would read and another reader could read in another way; see
//! [`Framing`].

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use portcullis_admission::{Framing, FramingFault, RequestHead};

/// Bytes read at once of what may be refused; equal to the server's first buffer.
const FIRST_BYTES: usize = 8192;

/// A connection's bytes, passed between socket and server.
pub(super) struct Shedding<S, R> {
    stream: S,
    /// Returns the text of a message's refusal, if it is refused.
    refusal: R,
    /// How long requests may be refused without passing any to the server.
    unseen: Duration,
    /// Since when the server has been waiting for a request.
    idle_since: Instant,
    at: At,
    answered: Answered,
    framing: Framing,
    malformed: Malformed,
    /// A refusal that is being written, and how much of it has been written.
    out: (Vec<u8>, usize),
}

/// The server's position in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Between two messages: everything is read and written.
    Between,
    /// In a request; this number of bytes is still to come.
    Within(u64),
    /// Unknown from now on.
    Unknown,
}

/// Whether the whole body of the last answer was passed to the server.
#[derive(Clone, Default)]
pub(super) struct Answered(Arc<AtomicBool>);

impl Answered {
    /// The body of an answer, watched.
    pub(super) fn watch(&self, body: Body) -> Watched {
        Watched { body, answered: self.clone() }
    }
}

/// What is wrong with the messages of a connection, once something is; every request on it is refused from then on.
#[derive(Clone, Default)]
pub(super) struct Malformed(Arc<OnceLock<FramingFault>>);

impl Malformed {
    /// The fault.
    pub(super) fn fault(&self) -> Option<FramingFault> {
        self.0.get().copied()
    }
}

/// A body that records when the server has taken all of it, or dropped it.
pub(super) struct Watched {
    body: Body,
    answered: Answered,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.answered.0.store(true, Ordering::Release);
    }
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<S, R> Shedding<S, R>
where
    S: AsyncRead + AsyncWrite + Unpin,
    R: Fn(&RequestHead<'_>) -> Option<Vec<u8>> + Unpin,
{
    /// A new connection. Every answer's body must be [watched](Answered::watch) by `answered`, and every request refused
    /// once `malformed` has a fault. For longer than `unseen` no requests are withheld from the server, which
    /// meanwhile takes the connection for idle.
    pub(super) fn new(
        stream: S,
        answered: Answered,
        malformed: Malformed,
        unseen: Duration,
        refusal: R,
    ) -> Self {
        Self {
            stream,
            refusal,
            unseen,
            idle_since: Instant::now(),
            at: At::Between,
            answered,
            framing: Framing::default(),
            malformed,
            out: (Vec::new(), 0),
        }
    }

    /// Interprets the next bytes; returns the refusal if they are a request that is refused.
    fn follow(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let left = match self.at {
            _ if count == 0 => return None,
            At::Unknown => return None,
            At::Within(left) => left.checked_sub(count),
            At::Between => {
                let message = RequestHead::of(bytes);
                if let Some(message) = &message
                    && message.length == count
                    && self.idle_since.elapsed() < self.unseen
                    && let Some(refusal) = (self.refusal)(message)
                {
                    return Some(refusal);
                }
                self.answered.0.store(false, Ordering::Release);
                message.and_then(|message| message.length.checked_sub(count))
            }
        };
        // Why: what comes before the answer is the next request already, and may wait in the server's memory.
        self.at = left.map_or(At::Unknown, At::Within);
        None
    }

    /// Follows what the server gets.
    ///
    /// # Errors
    /// For a fault in the body of a request that the server reads already; one in a head is noted, so that the request
    /// gets an answer.
    fn check(&mut self, bytes: &[u8]) -> io::Result<()> {
        let in_head = self.framing.is_in_head();
        let Err(fault) = self.framing.follow(bytes) else { return Ok(()) };
        // Why ignored: the first fault counts.
        let _ = self.malformed.0.set(fault);
        if in_head { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidData, fault)) }
    }

    /// Everything that the server has written was passed to the operating system.
    fn flushed(&mut self) {
        if self.at == At::Within(0) && self.answered.0.load(Ordering::Acquire) {
            self.at = At::Between;
            self.idle_since = Instant::now();
        }
    }

    /// Writes the rest of a refusal.
    fn write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (text, written) = &mut self.out;
        if text.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while *written < text.len() {
            let rest = text.get(*written..).unwrap_or_default();
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => *written += count,
            }
        }
        // Why: recently used memory serves the next refusal, of whichever connection.
        self.out = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

impl<S, R> AsyncRead for Shedding<S, R>
where
    S: AsyncRead + AsyncWrite + Unpin,
    R: Fn(&RequestHead<'_>) -> Option<Vec<u8>> + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.write_out(context))?;
        if this.at != At::Between {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            let read = buffer.filled().get(before..).unwrap_or_default();
            this.follow(read);
            return Poll::Ready(this.check(read));
        }
        // Why here first: refused requests then stay in memory that all connections share and that is in the cache.
        let mut first = [const { MaybeUninit::uninit() }; FIRST_BYTES];
        let room = buffer.remaining().min(FIRST_BYTES);
        loop {
            let mut read = ReadBuf::uninit(first.get_mut(..room).unwrap_or_default());
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            let Some(refusal) = this.follow(read.filled()) else {
                buffer.put_slice(read.filled());
                return Poll::Ready(this.check(read.filled()));
            };
            this.out = (refusal, 0);
            ready!(this.write_out(context))?;
        }
    }
}

impl<S, R> AsyncWrite for Shedding<S, R>
where
    S: AsyncRead + AsyncWrite + Unpin,
    R: Fn(&RequestHead<'_>) -> Option<Vec<u8>> + Unpin,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.write_out(context))?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.write_out(context))?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_out(context))?;
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_out(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
