//! Connecting: the only place where an outbound socket is opened. Called by the gate.
//!
//! It takes a [`PinnedAddr`] only, judges each address a second time before the connect, and compares the
//! peer after it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portcullis_core::fault::Code;
use portcullis_core::outbound::BoxFuture;
use tokio::net::TcpStream;

use crate::dns::{PinnedAddr, may_reach};

pub struct Dialed {
    pub stream: TcpStream,
    /// As the system reports it.
    pub peer: SocketAddr,
}

/// The last system call of a connect; replaced in tests and in the demo.
pub trait Dial: Send + Sync {
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

/// The addresses of this machine's interfaces, which no guest may reach.
#[must_use]
pub fn own_addresses() -> Vec<IpAddr> {
    if_addrs::get_if_addrs()
        .map(|interfaces| interfaces.iter().map(if_addrs::Interface::ip).collect())
        .unwrap_or_default()
}

/// Connects to the first address that accepts the connection.
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
