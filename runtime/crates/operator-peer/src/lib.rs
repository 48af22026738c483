//! Connections to the operator's own peers: the database, and whatever else a configuration may name one day.
//!
//! They are no calls of tenants. Such a peer is mostly at a private address, so the gate's table of addresses does not
//! apply; instead an address may come from the configuration alone, never from what is stored or what a tenant sends.
//! `tests/it/tidy/peers.rs` lists who makes one. It knows no TLS: its caller verifies who answers.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests fail by panicking"
    )
)]

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// How long a connection may take to be made, names included. Longer, and the time of whoever waits for it is over.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long bytes may stay unacknowledged by the peer's host before the connection counts as lost: a host that went
/// away without a word must not hold what waits for an answer for the quarter of an hour that is the system's default.
const UNACKNOWLEDGED_MS: u32 = 10_000;

/// After this long without a byte the peer's host is asked whether it is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// A peer that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorPeer(Place);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Host(String, u16),
    Socket(PathBuf),
}

impl OperatorPeer {
    /// A host by name or address, over TCP.
    #[must_use]
    pub fn host(host: impl Into<String>, port: u16) -> Self {
        Self(Place::Host(host.into(), port))
    }

    /// A Unix socket.
    #[must_use]
    pub fn socket(path: impl Into<PathBuf>) -> Self {
        Self(Place::Socket(path.into()))
    }
}

/// Connects to a peer; the first address of its name that answers.
///
/// # Errors
/// Those of the operating system, and `TimedOut` after [`DIAL_TIMEOUT`].
pub async fn dial(peer: &OperatorPeer) -> io::Result<PeerStream> {
    let late = || Err(io::ErrorKind::TimedOut.into());
    tokio::time::timeout(DIAL_TIMEOUT, connected(peer)).await.unwrap_or_else(|_| late())
}

#[allow(
    clippy::disallowed_methods,
    reason = "peers of the configuration are dialled here, and by nothing else"
)]
async fn connected(peer: &OperatorPeer) -> io::Result<PeerStream> {
    let (host, port) = match &peer.0 {
        Place::Host(host, port) => (host.as_str(), *port),
        Place::Socket(path) => return Ok(PeerStream(Stream::Unix(UnixStream::connect(path).await?))),
    };
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_user_timeout(&stream, UNACKNOWLEDGED_MS)?;
    Ok(PeerStream(Stream::Tcp(stream)))
}

/// A connection to a peer.
#[derive(Debug)]
pub struct PeerStream(Stream);

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, to),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, to),
        }
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    #[tokio::test]
    async fn bytes_go_both_ways_over_tcp_and_over_a_unix_socket() {
        let dir = tempfile::tempdir().unwrap();
        let (tcp, path) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), dir.path().join("s"));
        let unix = UnixListener::bind(&path).unwrap();
        let port = tcp.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let sent = stream.read_u8().await.unwrap();
            stream.write_all(&[sent + 1]).await.unwrap();
        });
        tokio::spawn(async move {
            let (mut stream, _) = unix.accept().await.unwrap();
            let sent = stream.read_u8().await.unwrap();
            stream.write_all(&[sent + 1]).await.unwrap();
        });
        for peer in [OperatorPeer::host("127.0.0.1", port), OperatorPeer::socket(path)] {
            let mut stream = dial(&peer).await.unwrap();
            stream.write_all(&[1]).await.unwrap();
            stream.flush().await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), 2);
        }
    }

    #[tokio::test]
    async fn a_peer_that_is_not_there_is_an_error_of_the_system() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = dial(&OperatorPeer::host("127.0.0.1", port)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let error = dial(&OperatorPeer::socket("/nonexistent/socket")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
