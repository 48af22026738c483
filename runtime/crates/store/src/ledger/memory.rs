//! The ledger in memory: the model that other backends are compared with, and the ledger of tests.
//!
//! Nothing survives a restart. Used as `dyn Ledger`.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use portcullis_core::hex;
use portcullis_core::id::OrgId;
use portcullis_core::ledger::LedgerEvent;
use tokio::sync::broadcast;

use super::error::{BadRecord, LedgerError};
use super::line::{self, LedgerLine, Link, Written, format_line, parse_only};
use super::query::{LedgerPage, LedgerQuery, PageBuilder};
use super::report::{LedgerCut, LedgerLeft, PruneReport, VerifyReport};
use super::subscribers::Subscribers;
use super::{Ledger, LedgerSink, SEGMENT_BYTES, blocking};
use crate::task::BoxFuture;
use portcullis_core::sync::lock;

/// Ledgers in memory.
pub struct MemoryLedger {
    segment_bytes_max: usize,
    chains: Mutex<HashMap<OrgId, Chain>>,
    subscribers: Subscribers,
}

struct Chain {
    /// The last record.
    end: Link,
    /// The last record that was dropped.
    anchor: Option<Link>,
    segments: VecDeque<Segment>,
}

struct Segment {
    bytes: usize,
    /// Its last record, or the one before the segment while it has none.
    end: Link,
    lines: Vec<Arc<LedgerLine>>,
}

impl Default for MemoryLedger {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryLedger {
    /// A ledger without records.
    #[must_use]
    pub fn new() -> Self {
        Self::with_segments(SEGMENT_BYTES)
    }

    /// The same, with segments of another length.
    #[doc(hidden)]
    #[must_use]
    pub fn with_segments(segment_bytes: u64) -> Self {
        let segment_bytes_max = usize::try_from(segment_bytes).unwrap_or(usize::MAX);
        Self { segment_bytes_max, chains: Mutex::default(), subscribers: Subscribers::default() }
    }

    /// The org's current records, oldest first.
    fn lines(&self, org: &OrgId) -> Vec<Arc<LedgerLine>> {
        let chains = lock(&self.chains);
        chains.get(org).map(|chain| chain.lines().cloned().collect()).unwrap_or_default()
    }
}

impl Ledger for MemoryLedger {
    fn append<'a>(&'a self, event: &'a LedgerEvent) -> BoxFuture<'a, Result<u64, LedgerError>> {
        Box::pin(async move {
            let text = line::serialise(event)?;
            let mut chains = lock(&self.chains);
            let chain = chains.entry(event.org.clone()).or_insert_with(|| Chain::new(&event.org));
            let line = chain.append(event, &text, self.segment_bytes_max);
            self.subscribers.publish(&event.org, || Arc::clone(&line));
            Ok(line.seq)
        })
    }

    fn read<'a>(
        &'a self,
        org: &'a OrgId,
        query: &'a LedgerQuery,
    ) -> BoxFuture<'a, Result<LedgerPage, LedgerError>> {
        Box::pin(async move {
            let mut page = PageBuilder::new(query);
            let lines = self.lines(org);
            let newest = page.newest().unwrap_or(u64::MAX);
            for line in lines.iter().rev().skip_while(|line| line.seq > newest) {
                if page.add(LedgerLine::clone(line)).is_break() {
                    break;
                }
            }
            page.finish()
        })
    }

    fn subscribe(&self, org: &OrgId) -> broadcast::Receiver<Arc<LedgerLine>> {
        self.subscribers.subscribe(org)
    }

    fn export<'a>(
        &'a self,
        org: &'a OrgId,
        query: &'a LedgerQuery,
        mut sink: LedgerSink,
    ) -> BoxFuture<'a, Result<u64, LedgerError>> {
        let (lines, query) = (self.lines(org), query.clone());
        Box::pin(blocking(move || {
            let mut given = 0_u64;
            for line in lines.iter().filter(|line| query.matches(&line.event)) {
                given = given.saturating_add(1);
                if sink(line).is_break() {
                    break;
                }
            }
            Ok(given)
        }))
    }

    fn verify<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<VerifyReport, LedgerError>> {
        Box::pin(async move {
            let chains = lock(&self.chains);
            Ok(chains.get(org).map_or_else(|| VerifyReport::empty(org), |chain| chain.verify(org)))
        })
    }

    fn prune<'a>(
        &'a self,
        org: &'a OrgId,
        keep_segments: usize,
    ) -> BoxFuture<'a, Result<PruneReport, LedgerError>> {
        Box::pin(async move {
            let mut chains = lock(&self.chains);
            Ok(chains.get_mut(org).map(|chain| chain.prune(keep_segments)).unwrap_or_default())
        })
    }

    fn orgs<'a>(&'a self) -> BoxFuture<'a, Result<BTreeSet<OrgId>, LedgerError>> {
        Box::pin(async move { Ok(lock(&self.chains).keys().cloned().collect()) })
    }

    fn bytes<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<u64, LedgerError>> {
        Box::pin(async move {
            let chains = lock(&self.chains);
            let segments = chains.get(org).into_iter().flat_map(|chain| &chain.segments);
            Ok(segments.map(|segment| segment.bytes as u64).sum())
        })
    }

    fn retain<'a>(
        &'a self,
        org: &'a OrgId,
        cut: &'a LedgerCut,
    ) -> BoxFuture<'a, Result<LedgerLeft, LedgerError>> {
        Box::pin(async move {
            let mut chains = lock(&self.chains);
            Ok(chains.get_mut(org).map(|chain| chain.retain(cut)).unwrap_or_default())
        })
    }
}

impl Chain {
    /// Drops the oldest segments in which every record is old.
    fn retain(&mut self, cut: &LedgerCut) -> LedgerLeft {
        let mut bytes: usize = self.segments.iter().map(|segment| segment.bytes).sum();
        let mut dropped = 0_usize;
        for segment in self.segments.iter().take(self.segments.len().saturating_sub(1)) {
            let Some(before) = cut.before_for(bytes as u64) else { break };
            if segment.lines.iter().any(|line| *line.event.at >= *before) {
                break;
            }
            bytes = bytes.saturating_sub(segment.bytes);
            dropped = dropped.saturating_add(1);
        }
        self.prune(self.segments.len().saturating_sub(dropped));
        LedgerLeft { segments_dropped: dropped, bytes: bytes as u64 }
    }

    fn new(org: &OrgId) -> Self {
        let end = Link::genesis(org);
        Self { end, anchor: None, segments: VecDeque::from([Segment::after(end)]) }
    }

    fn append(&mut self, event: &LedgerEvent, text: &str, segment_bytes_max: usize) -> Arc<LedgerLine> {
        if self.segments.back().is_none_or(|segment| segment.bytes >= segment_bytes_max) {
            self.segments.push_back(Segment::after(self.end));
        }
        let link = self.end.next(&event.org, text);
        let line = format_line(&event.org, &link, &self.end.hash, text);
        let (seq, prev, hash) = (link.seq, self.end.hash, link.hash);
        let written = Written { seq, node: None, prev, hash, line: &line };
        let kept = Arc::new(LedgerLine::from_written(&written, event.clone()));
        self.end = link;
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes = segment.bytes.saturating_add(line.len());
            segment.end = link;
            segment.lines.push(Arc::clone(&kept));
        }
        kept
    }

    fn lines(&self) -> impl Iterator<Item = &Arc<LedgerLine>> {
        self.segments.iter().flat_map(|segment| &segment.lines)
    }

    /// Walks the chain as it would be exported.
    fn verify(&self, org: &OrgId) -> VerifyReport {
        let mut report = VerifyReport::empty(org);
        report.segments = self.segments.len();
        report.anchored = self.anchor.is_some();
        let mut last = self.anchor.unwrap_or_else(|| Link::genesis(org));
        for line in self.lines() {
            match follow(org, last, line.as_text()) {
                Ok(link) => last = link,
                Err(reason) => {
                    let seq = last.seq.saturating_add(1);
                    let segment = "memory".to_owned();
                    report.bad = Some(BadRecord { segment, line: seq, seq, reason: reason.to_owned() });
                    break;
                }
            }
            report.records = report.records.saturating_add(1);
            report.first_seq = report.first_seq.or(Some(last.seq));
        }
        report.last_seq = last.seq;
        report.last_hash = hex::encode(&last.hash);
        report
    }

    fn prune(&mut self, keep_segments: usize) -> PruneReport {
        let segments_dropped = self.segments.len().saturating_sub(keep_segments.max(1));
        if let Some(last) = self.segments.drain(..segments_dropped).next_back() {
            self.anchor = Some(last.end);
        }
        PruneReport { segments_dropped, dropped_to_seq: self.anchor.map_or(0, |anchor| anchor.seq) }
    }
}

impl Segment {
    fn after(end: Link) -> Self {
        Self { bytes: 0, end, lines: Vec::new() }
    }
}

/// The link of a line that continues `last`, or why it does not continue it.
fn follow(org: &OrgId, last: Link, text: &str) -> Result<Link, &'static str> {
    let raw = parse_only(org, text.as_bytes())?;
    if raw.seq != last.seq.saturating_add(1) || raw.prev != last.hash {
        return Err("it does not continue the record before");
    }
    Ok(Link { seq: raw.seq, hash: raw.hash })
}
