//! The gate: the only code of the product that opens outbound sockets.
//!
//! One function, [`Guard::send`](portcullis_core::outbound::Outbound::send), decides on every outbound
//! request and makes it. The order of the steps is a contract: parse → lists → action → headers → quotas →
//! credential bound → ledger `begin` → resolve → judge every address → connect → judge the peer → TLS → open
//! the credential and inject → send → cap → scrub → ledger `complete` → guest.
//!
//! Tests and the demo replace the last system calls only, by constructor: [`Resolve`], [`Dial`] and the
//! TLS roots. No switch turns a check off.

#![allow(missing_docs, reason = "an internal crate: comments stand where the name does not say it")]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests fail by panicking"
    )
)]

mod attempt;
mod credential;
mod decode;
mod dial;
mod dns;
mod dry_run;
mod error;
mod gate;
mod guard;
mod inject;
mod known_secrets;
mod pool;
mod redirect;
mod request;
mod response;
mod scrub;
mod sender;
mod signing;
mod tls;

pub use attempt::{OutboundAttempt, OutboundLog, OutboundLogError};
pub use credential::{BoundCredential, CredentialError, OpenCredential, sealed_for};
pub use decode::decode_body;
pub use dial::{Dial, Dialed, TcpDialer, own_addresses};
pub use dns::{DnsResolver, PinnedAddr, Resolve, ResolveError, pin};
pub use dry_run::DryRun;
pub use gate::{Gate, GateParts};
pub use guard::{Answers, Guard, GuardReport, GuardSpec};
pub use inject::try_injection;
pub use known_secrets::KnownSecrets;
pub use pool::PoolScope;
pub use scrub::Scrubber;
pub use tls::{TlsRoots, TlsRootsError};
