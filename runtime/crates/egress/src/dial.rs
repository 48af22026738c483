//! Connecting: the only place where a socket to the outside is opened.
//!
//! It takes a [`PinnedAddr`] and nothing less, judges each address a second time, and judges the
//! peer once more after the connect, so that neither a stale answer nor a lying network can lead a
//! connection elsewhere.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portcullis_core::fault::Code;
use portcullis_core::outbound::BoxFuture;
use tokio::net::TcpStream;

use crate::dns::{PinnedAddr, may_reach};

/// A connected socket and the peer it is connected to.
pub struct Dialed {
    /// The stream.
    pub stream: TcpStream,
    /// Its peer, as the system reports it.
    pub peer: SocketAddr,
}

/// The last system call of a connect.
pub trait Dial: Send + Sync {
    /// Connects to that address.
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Dialed>>;
}

/// The dialer of the product: a plain TCP connect, Nagle off.
pub struct TcpDialer;

impl Dial for TcpDialer {
    #[allow(clippy::disallowed_methods, reason = "the one place where outbound sockets are opened")]
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Dialed>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let peer = stream.peer_addr()?;
            Ok(Dialed { stream, peer })
        })
    }
}

/// The addresses of this machine's own interfaces; a connection to them would come back in.
#[must_use]
pub fn own_addresses() -> Vec<IpAddr> {
    if_addrs::get_if_addrs()
        .map(|interfaces| interfaces.iter().map(if_addrs::Interface::ip).collect())
        .unwrap_or_default()
}

/// Connects to the first address that answers.
///
/// # Errors
/// `connect_failed`, or `address_forbidden` when an address or the peer may not be reached.
pub(crate) async fn connect(
    dialer: &dyn Dial,
    pinned: &PinnedAddr,
    own: &[IpAddr],
    timeout: Duration,
) -> Result<Dialed, Code> {
    let attempt = async {
        for address in pinned.addresses() {
            if !may_reach(address.ip(), own) {
                tracing::error!(%address, "a pinned address is not public; the resolver let it through");
                return Err(Code::AddressForbidden);
            }
            match dialer.dial(*address).await {
                Ok(dialed) => return judge_peer(dialed, pinned),
                Err(error) => tracing::debug!(%address, %error, "connect failed"),
            }
        }
        Err(Code::ConnectFailed)
    };
    tokio::time::timeout(timeout, attempt).await.unwrap_or(Err(Code::UpstreamTimeout))
}

fn judge_peer(dialed: Dialed, pinned: &PinnedAddr) -> Result<Dialed, Code> {
    if pinned.addresses().contains(&dialed.peer) {
        return Ok(dialed);
    }
    tracing::error!(peer = %dialed.peer, "connected to a peer that was not asked for");
    Err(Code::AddressForbidden)
}
