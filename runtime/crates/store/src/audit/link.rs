//! The hashes that link the records of a chain. One covers the scope, the position, the hash before and the event's exact
//! bytes, as in the ledger.

use aws_lc_rs::digest::{Context, SHA256};

use super::AuditScope;
use crate::head::Link;
use crate::record_hash::{finish, length};

/// The start of a chain.
pub(super) fn genesis(scope: &AuditScope) -> Link {
    let mut hash = Context::new(&SHA256);
    hash.update(b"portcullis audit genesis v1");
    hash.update(&length(scope.part().len()));
    hash.update(scope.part().as_bytes());
    Link { seq: 0, hash: finish(hash) }
}

/// The link after this one, for that event.
pub(super) fn next(scope: &AuditScope, last: &Link, event: &str) -> Link {
    let seq = last.seq.saturating_add(1);
    Link { seq, hash: record_hash(scope, seq, &last.hash, event) }
}

/// Hash of a record: covers all its parts and the chain it belongs to.
pub(super) fn record_hash(scope: &AuditScope, seq: u64, prev: &[u8; 32], event: &str) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(b"portcullis audit record v1");
    hash.update(&length(scope.part().len()));
    hash.update(scope.part().as_bytes());
    hash.update(&seq.to_be_bytes());
    hash.update(prev);
    hash.update(&length(event.len()));
    hash.update(event.as_bytes());
    finish(hash)
}
