//! Checks a chain from what is stored, from its head back to its beginning or to its cut.

use portcullis_core::hex;
use serde::Serialize;

use super::{AuditEntry, AuditHead, AuditOrder, AuditScope, link, place_of, reading};
use crate::error::StoreError;
use crate::head::Link;
use crate::lower_hex;
use crate::records::Records;

/// Keys read at a time.
const READ_AT_ONCE: usize = 500;
/// How often a chain is read again that changes while it is read.
const AGAIN_MAX: usize = 5;

/// The newest record that does not verify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditBad {
    /// Position that the record there should have.
    pub seq: u64,
    pub reason: String,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// The org; absent for the chains of the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// `org`, `platform` or `logins`.
    pub chain: &'static str,
    /// Records that verify, from the newest on.
    pub records: u64,
    /// Position of the first record that is kept.
    pub first_seq: Option<u64>,
    /// Position of the last record.
    pub last_seq: u64,
    /// Hash of that record, 64 hexadecimal digits.
    pub last_hash: String,
    /// Whether older records were dropped and the chain starts at its cut.
    pub anchored: bool,
    pub bad: Option<AuditBad>,
}

impl AuditReport {
    fn of(scope: &AuditScope, head: &AuditHead) -> Self {
        let chain = match scope {
            AuditScope::Org(_) => "org",
            AuditScope::Platform => "platform",
            AuditScope::Logins => "logins",
        };
        Self {
            org: scope.org().map(|org| org.as_str().to_owned()),
            chain,
            records: 0,
            first_seq: None,
            last_seq: head.seq,
            last_hash: head.hash.clone(),
            anchored: head.cut.is_some(),
            bad: None,
        }
    }

    /// Whether every record verifies.
    #[must_use]
    pub const fn is_intact(&self) -> bool {
        self.bad.is_none()
    }
}

/// The chains that there are: those with a head, and those of which a record is left without one.
///
/// # Errors
/// Those of the store.
pub async fn audit_scopes(records: &Records) -> Result<Vec<AuditScope>, StoreError> {
    let mut scopes = std::collections::BTreeSet::new();
    let mut after: Option<Vec<String>> = None;
    loop {
        let page = records.keys::<AuditHead>(&[], after.as_deref(), READ_AT_ONCE).await?;
        scopes.extend(page.iter().filter_map(|parts| AuditScope::parse(parts.first()?)));
        let Some(last) = page.last().filter(|_| page.len() == READ_AT_ONCE) else { break };
        after = Some(last.clone());
    }
    let mut after: Option<Vec<String>> = None;
    // One key of each chain: after it, the next look begins behind all keys of that chain.
    while let Some(parts) = records.keys::<AuditEntry>(&[], after.as_deref(), 1).await?.into_iter().next() {
        let Some(first) = parts.into_iter().next() else { break };
        scopes.extend(AuditScope::parse(&first));
        after = Some(vec![first, "~".to_owned()]);
    }
    Ok(scopes.into_iter().collect())
}

/// Checks a chain. What is wrong is in the report and is not an error.
///
/// # Errors
/// Those of the store, unless they are of a record of this chain.
pub async fn verify_audit(records: &Records, scope: &AuditScope) -> Result<AuditReport, StoreError> {
    let mut report = verify_once(records, scope).await?;
    // Why again: others may add records, and drop the oldest, while it is read. Then the head is another one.
    for _ in 0..AGAIN_MAX {
        if report.is_intact() {
            break;
        }
        let before = records.get::<AuditHead>(&[scope.part()]).await;
        let again = verify_once(records, scope).await?;
        let after = records.get::<AuditHead>(&[scope.part()]).await;
        let is_still = match (&before, &after) {
            (Ok(before), Ok(after)) => before.as_ref().map(|one| one.1) == after.as_ref().map(|one| one.1),
            _ => true,
        };
        report = again;
        if is_still {
            break;
        }
    }
    Ok(report)
}

async fn verify_once(records: &Records, scope: &AuditScope) -> Result<AuditReport, StoreError> {
    let head = match records.get::<AuditHead>(&[scope.part()]).await {
        Ok(Some((head, _))) => head,
        Ok(None) => {
            let hash = hex::encode(&link::genesis(scope).hash);
            let none = AuditHead { seq: 0, hash, at_ms: 0, begins: 0, cut: None };
            let mut report = AuditReport::of(scope, &none);
            if records.has_any::<AuditEntry>(&[scope.part()]).await? {
                report.bad = Some(AuditBad { seq: 0, reason: "the head of the chain is missing".to_owned() });
            }
            return Ok(report);
        }
        Err(StoreError::Unreadable { .. }) => {
            let none = AuditHead { seq: 0, hash: String::new(), at_ms: 0, begins: 0, cut: None };
            let mut report = AuditReport::of(scope, &none);
            report.bad = Some(AuditBad { seq: 0, reason: "the head of the chain is unreadable".to_owned() });
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    let mut report = AuditReport::of(scope, &head);
    let mut walk = match Walk::of(scope, &head) {
        Ok(walk) => walk,
        Err(bad) => {
            report.bad = Some(bad);
            return Ok(report);
        }
    };
    walk.all(records, &mut report).await?;
    Ok(report)
}

/// Where a check is.
struct Walk<'a> {
    scope: &'a AuditScope,
    /// The record that must come next.
    expected: Link,
    /// Where the chain starts.
    start: Link,
    /// The record that the head names.
    newest: u64,
    /// The last record that stands after that.
    later: u64,
}

fn bad(seq: u64, reason: &str) -> AuditBad {
    AuditBad { seq, reason: reason.to_owned() }
}

impl<'a> Walk<'a> {
    fn of(scope: &'a AuditScope, head: &AuditHead) -> Result<Self, AuditBad> {
        let decoded = |hash: &str, seq| {
            lower_hex::decode(hash).ok_or_else(|| bad(seq, "the head of the chain has no hash"))
        };
        let expected = Link { seq: head.seq, hash: decoded(&head.hash, head.seq)? };
        let start = match &head.cut {
            Some(cut) => Link { seq: cut.seq, hash: decoded(&cut.hash, cut.seq)? },
            None => link::genesis(scope),
        };
        Ok(Self { scope, expected, start, newest: head.seq, later: 0 })
    }

    async fn all(&mut self, records: &Records, report: &mut AuditReport) -> Result<(), StoreError> {
        let mut after: Option<Vec<String>> = None;
        loop {
            let page =
                records.keys::<AuditEntry>(&[self.scope.part()], after.as_deref(), READ_AT_ONCE).await?;
            for parts in &page {
                match self.one(records, parts).await? {
                    Step::Dropped => {}
                    Step::Good(seq) => {
                        report.records = report.records.saturating_add(1);
                        report.first_seq = Some(seq);
                    }
                    Step::Bad(found) => {
                        report.bad = Some(found);
                        return Ok(());
                    }
                }
            }
            let Some(last) = page.last().filter(|_| page.len() == READ_AT_ONCE) else { break };
            after = Some(last.clone());
        }
        if self.expected != self.start {
            report.bad = Some(bad(self.expected.seq, "the record is missing, or the chain starts elsewhere"));
        } else if self.later > 0 {
            let head = records.get::<AuditHead>(&[self.scope.part()]).await?;
            if head.is_none_or(|(head, _)| head.seq < self.later) {
                report.bad = Some(bad(self.later, "it stands after the last record of the chain"));
            }
        }
        Ok(())
    }

    async fn one(&mut self, records: &Records, parts: &[String]) -> Result<Step, StoreError> {
        let expected = self.expected;
        let wrong = |reason: &str| Ok(Step::Bad(bad(expected.seq, reason)));
        let [ms, seq] = parts else { return wrong("its key is not one of a record") };
        let Some((at_ms, seq_of_key)) = place_of(ms, seq) else {
            return wrong("its key is not one of a record");
        };
        if seq_of_key <= self.start.seq {
            // Why passed over: a deletion that was interrupted leaves some of what it dropped.
            return Ok(Step::Dropped);
        }
        if seq_of_key > self.newest {
            // Why passed over: it may have been added since the head was read, which is looked at in the end.
            self.later = self.later.max(seq_of_key);
            return Ok(Step::Dropped);
        }
        if seq_of_key != expected.seq {
            return wrong("the record is missing, or others stand before it");
        }
        let scope = self.scope.part();
        let entry = match records.get::<AuditEntry>(&[scope, ms, seq]).await {
            Ok(Some((entry, _))) => entry,
            Ok(None) => return wrong("the record is missing"),
            Err(StoreError::Unreadable { .. }) => return wrong("it does not have the form of a record"),
            Err(error) => return Err(error),
        };
        let Some(prev) = lower_hex::decode(&entry.prev) else { return wrong("it names no record before it") };
        let hash = link::record_hash(self.scope, entry.seq, &prev, entry.event.get());
        if entry.seq != expected.seq || hash != expected.hash || entry.hash != hex::encode(&hash) {
            return wrong("its hash does not match its content and the record after it");
        }
        if !reading::event_of(&entry).is_ok_and(|event| event.at_ms == at_ms) {
            return wrong("its key says another time than the record");
        }
        if records.get::<AuditOrder>(&[ms, scope, seq]).await?.is_none() {
            return wrong("it is missing in the order of all records");
        }
        self.expected = Link { seq: expected.seq.saturating_sub(1), hash: prev };
        Ok(Step::Good(entry.seq))
    }
}

/// What a look at a key shows.
enum Step {
    /// It is before the cut.
    Dropped,
    Good(u64),
    Bad(AuditBad),
}
