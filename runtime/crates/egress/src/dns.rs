//! DNS: from a permitted target to addresses that may be connected to. Connects nowhere; called by the gate.
//!
//! Each decision makes one lookup: absolute names only, no search list, no hosts file, no cache. One
//! forbidden address in the answer refuses the whole answer. Only [`pin`] makes a [`PinnedAddr`], and the
//! dialer takes nothing else:
//!
//! ```compile_fail
//! use portcullis_egress::PinnedAddr;
//! let forged = PinnedAddr { addresses: vec![] };
//! ```
//!
//! The passing twin goes through the grant and the lookup:
//!
//! ```
//! use portcullis_egress::PinnedAddr;
//! fn host(pinned: &PinnedAddr) -> &str { pinned.target().target().host() }
//! ```

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use portcullis_core::fault::Code;
use portcullis_core::grant::PermittedTarget;
use portcullis_core::ip_class::classify;
use portcullis_core::limits::Limits;
use portcullis_core::outbound::BoxFuture;

/// The lookup has no usable result. The reason goes to the log, not to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("name lookup failed: {0}")]
pub struct ResolveError(pub String);

/// The last system call of a name lookup; replaced in tests and in the demo.
pub trait Resolve: Send + Sync {
    /// Every address of an absolute host name, both families.
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>>;
}

/// Addresses of a permitted target, each of them judged. Only [`pin`] makes one.
#[derive(Debug, Clone)]
pub struct PinnedAddr {
    // Invariant: every address is public and none belongs to this machine.
    target: PermittedTarget,
    addresses: Vec<SocketAddr>,
}

impl PinnedAddr {
    #[must_use]
    pub const fn target(&self) -> &PermittedTarget {
        &self.target
    }

    /// With the target's port.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

/// Looks the target's host up and judges every address. `seen` receives the addresses for the ledger.
///
/// # Errors
/// `dns_failed` without a usable answer or when the lookup takes too long, `address_forbidden` when any
/// address may not be reached.
pub async fn pin(
    resolver: &dyn Resolve,
    target: PermittedTarget,
    limits: &Limits,
    own: &[IpAddr],
    seen: &mut Vec<String>,
) -> Result<PinnedAddr, Code> {
    let answers = judge_host(resolver, target.target().host(), limits, own, seen).await?;
    let port = target.target().port();
    let addresses = answers.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    Ok(PinnedAddr { target, addresses })
}

/// Looks a host up and judges every address.
///
/// # Errors
/// As [`pin`].
pub(crate) async fn judge_host(
    resolver: &dyn Resolve,
    host: &str,
    limits: &Limits,
    own: &[IpAddr],
    seen: &mut Vec<String>,
) -> Result<Vec<IpAddr>, Code> {
    let lookup = tokio::time::timeout(Duration::from_millis(limits.dns_ms), resolver.lookup(host));
    let answers = match lookup.await {
        Ok(Ok(answers)) => answers,
        Ok(Err(error)) => {
            tracing::debug!(host, %error, "name lookup failed");
            return Err(Code::DnsFailed);
        }
        Err(_) => {
            tracing::debug!(host, "name lookup took too long");
            return Err(Code::DnsFailed);
        }
    };
    seen.extend(answers.iter().map(ToString::to_string));
    if answers.is_empty() || answers.len() as u64 > limits.dns_answers {
        return Err(Code::DnsFailed);
    }
    if answers.iter().all(|address| may_reach(*address, own)) {
        Ok(answers)
    } else {
        Err(Code::AddressForbidden)
    }
}

/// Whether an address may be connected to: it is public and not one of this machine's.
pub(crate) fn may_reach(address: IpAddr, own: &[IpAddr]) -> bool {
    classify(address).is_public() && !own.contains(&address)
}

/// The resolver of the product: DNS over UDP and TCP to the system's or the configured servers.
pub struct DnsResolver(TokioResolver);

impl DnsResolver {
    /// A resolver that asks these servers, or the system's when there are none.
    ///
    /// # Errors
    /// A message for the operator when the system's configuration cannot be read.
    pub fn new(servers: &[SocketAddr], limits: &Limits) -> Result<Self, String> {
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio()
                .map_err(|e| format!("the system's DNS configuration cannot be read: {e}"))?
        } else {
            let servers = servers.iter().map(|server| name_server(*server)).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Never;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.cache_size = 0;
        options.ndots = 0;
        options.attempts = 1;
        options.timeout = Duration::from_millis(limits.dns_ms);
        options.try_tcp_on_error = true;
        let resolver = builder.build().map_err(|e| format!("the resolver cannot be built: {e}"))?;
        Ok(Self(resolver))
    }
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
    udp.port = server.port();
    tcp.port = server.port();
    NameServerConfig::new(server.ip(), true, vec![udp, tcp])
}

impl Resolve for DnsResolver {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            // Why the dot: an absolute name is never completed from a search list.
            let name = Name::from_ascii(format!("{host}.")).map_err(|e| ResolveError(e.to_string()))?;
            let answer = self.0.lookup_ip(name).await.map_err(|e| ResolveError(e.to_string()))?;
            Ok(answer.iter().collect())
        })
    }
}

#[cfg(test)]
mod tests;
