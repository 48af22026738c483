//! The two replaced system calls: a resolver with a table of names, and a dialer that connects every public
//! address to the test's upstream. Both record their calls and apply no policy.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;

use portcullis_core::ip_class::classify;
use portcullis_core::outbound::BoxFuture;
use portcullis_egress::{Dial, Dialed, Resolve, ResolveError};
use tokio::net::TcpStream;

/// A public address; the dialer connects it to the upstream.
pub(crate) const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34));
/// A public IPv6 address.
pub(crate) const PUBLIC_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2606, 0x2800, 0x220, 1, 0, 0, 0, 1));
/// A private address.
pub(crate) const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));

/// A resolver with a table, which records the names that it was asked for.
#[derive(Default)]
pub(crate) struct FakeDns {
    table: Mutex<HashMap<String, Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl FakeDns {
    /// From now on `name` has these addresses; a name without an entry does not exist.
    pub(crate) fn tell(&self, name: &str, addresses: &[IpAddr]) {
        self.table.lock().unwrap().insert(name.to_owned(), addresses.to_vec());
    }

    /// Every name that was looked up.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolve for FakeDns {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(host.to_owned());
            let found = self.table.lock().unwrap().get(host).cloned();
            found.ok_or_else(|| ResolveError(format!("no such name: {host}")))
        })
    }
}

/// How connects end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum DialManner {
    /// It connects and reports the dialed address as its peer.
    #[default]
    Honest,
    /// It connects and reports this peer.
    Lying(SocketAddr),
    /// Every connect is refused.
    Dead,
}

/// A dialer that connects public addresses to the upstream, and records every dialed address.
pub(crate) struct FakeDialer {
    upstream: SocketAddr,
    manner: Mutex<DialManner>,
    dialed: Mutex<Vec<SocketAddr>>,
}

impl FakeDialer {
    pub(crate) fn to(upstream: SocketAddr) -> Self {
        Self { upstream, manner: Mutex::default(), dialed: Mutex::default() }
    }

    pub(crate) fn behave(&self, manner: DialManner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// Every address that a socket was opened to.
    pub(crate) fn dialed(&self) -> Vec<SocketAddr> {
        self.dialed.lock().unwrap().clone()
    }
}

impl Dial for FakeDialer {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Dialed>> {
        Box::pin(async move {
            self.dialed.lock().unwrap().push(address);
            let manner = *self.manner.lock().unwrap();
            if matches!(manner, DialManner::Dead) || !classify(address.ip()).is_public() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let stream = TcpStream::connect(self.upstream).await?;
            let peer = if let DialManner::Lying(peer) = manner { peer } else { address };
            Ok(Dialed { stream, peer })
        })
    }
}
