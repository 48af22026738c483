//! The test's script: names with their answers in order, and an upstream with its certificate.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use serde_json::Value;

use crate::Failure;

/// The whole script of one peer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    /// Address on which DNS is served over UDP and TCP, if at all.
    pub(crate) dns: Option<SocketAddr>,
    /// Names in lower case without the last dot. A name that is missing here does not exist.
    #[serde(default)]
    pub(crate) names: HashMap<String, Answers>,
    /// The TLS server.
    pub(crate) upstream: UpstreamScript,
}

/// Answers of one name. Each question takes the next one; the last one is repeated.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answers {
    /// For questions for IPv4 addresses.
    #[serde(default)]
    pub(crate) a: Vec<Answer>,
    /// For questions for IPv6 addresses.
    #[serde(default)]
    pub(crate) aaaa: Vec<Answer>,
}

/// One answer. The empty one means "the name exists, but has no such record".
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Answer {
    /// Response code: 2 is SERVFAIL, 3 is NXDOMAIN.
    pub(crate) rcode: u8,
    /// The chain of aliases in front of the addresses, in order.
    pub(crate) cname: Vec<String>,
    /// Addresses, owned by the last alias if there is one.
    pub(crate) addresses: Vec<IpAddr>,
    /// Seconds for which the answer may be kept.
    pub(crate) ttl: u32,
    /// Whether there is no answer at all.
    pub(crate) silent: bool,
    /// Whether the answer over UDP is truncated.
    pub(crate) tcp_only: bool,
}

/// The TLS server of one peer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpstreamScript {
    /// The addresses on which it listens.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Its certificate, PEM.
    pub(crate) certificate: String,
    /// The certificate's key, PEM.
    pub(crate) key: String,
    /// Whether a connection may carry more than one request.
    pub(crate) keep_alive: bool,
    /// Each answer waits for less than this, in milliseconds, one longer than the other.
    #[serde(default)]
    pub(crate) pause_ms: u64,
    /// The answers of a path: each request takes the next; the last one is repeated. Other paths answer 200
    /// with a small JSON object.
    #[serde(default)]
    pub(crate) answers: HashMap<String, Vec<Reply>>,
}

/// One answer of the TLS server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    /// Its status.
    pub(crate) status: u16,
    /// Its JSON body.
    pub(crate) body: Value,
    /// Whether it waits for a `release` line, after a `held` event.
    #[serde(default)]
    pub(crate) held: bool,
}

impl Script {
    /// Reads a script file.
    pub(crate) fn read(path: &str) -> Result<Self, Failure> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }
}
