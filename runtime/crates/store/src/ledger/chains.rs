//! Walks the records of all chains of an org at once, in the order in which they stand in a table or in an export.
//!
//! It decides what is damage where an org has a chain for each node, as `file/chain_walk.rs` does for the files of one.
//! No I/O. Called by backends with several nodes, and by the check of an export.

use std::collections::BTreeMap;
use std::fmt;

use portcullis_core::hex;
use portcullis_core::id::{NodeId, OrgId};

use super::error::BadRecord;
use super::line::{Chain, Link, RawLine, parse};
use super::report::{ChainReport, VerifyReport};

/// A walk along an org's chains, oldest record first.
pub struct ChainsWalk<'a> {
    org: &'a OrgId,
    /// What the records are in, for messages.
    place: String,
    /// Whether a chain may begin in its middle, and end anywhere: an export has no heads and no anchors.
    is_export: bool,
    chains: BTreeMap<Option<NodeId>, Walk>,
    /// Records met, of all chains.
    met: u64,
}

/// What is known of a chain from outside its records.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// The last record that was dropped; `None` if none was.
    pub anchor: Option<Link>,
    /// The last record.
    pub head: Link,
}

#[derive(Default)]
struct Walk {
    ends: Option<Ends>,
    link: Option<Link>,
    records: u64,
    first_seq: Option<u64>,
    /// When it was last met.
    met: u64,
    bad: Option<BadRecord>,
}

impl<'a> ChainsWalk<'a> {
    /// A walk along chains of which heads and anchors are known: those that [`Self::expect`] names.
    #[must_use]
    pub fn new(org: &'a OrgId, place: &str) -> Self {
        Self { org, place: place.to_owned(), is_export: false, chains: BTreeMap::new(), met: 0 }
    }

    /// A walk along what an export holds: every chain is believed from its first record on.
    #[must_use]
    pub fn of_export(org: &'a OrgId, place: &str) -> Self {
        Self { is_export: true, ..Self::new(org, place) }
    }

    /// Names a chain that there is.
    pub fn expect(&mut self, node: Option<NodeId>, ends: Ends) {
        let start = ends.anchor.unwrap_or_else(|| Chain { org: self.org, node: node.as_ref() }.genesis());
        let walk = Walk { ends: Some(ends), link: Some(start), ..Walk::default() };
        self.chains.insert(node, walk);
    }

    /// Follows the next record; `None` if it, or one before it in its chain, does not verify.
    ///
    /// `said` is the chain and the sequence that the table has for the record beside its line.
    pub fn line<'b>(&mut self, line: &'b [u8], said: Option<(Option<&NodeId>, u64)>) -> Option<RawLine<'b>> {
        self.met = self.met.saturating_add(1);
        let parsed = parse(self.org, line);
        let node = match (&parsed, said) {
            (_, Some((node, _))) => node.cloned(),
            (Ok(raw), None) => raw.node.clone(),
            (Err(_), None) => node_of(line),
        };
        let (org, met, is_export) = (self.org, self.met, self.is_export);
        let mut walk = self.chains.remove(&node).unwrap_or_default();
        walk.met = met;
        let followed = if walk.bad.is_some() {
            None
        } else {
            let chain = Chain { org, node: node.as_ref() };
            match walk.follow(&chain, parsed, said, is_export) {
                Ok(raw) => Some(raw),
                Err(reason) => {
                    let reason = foreign(org, line).unwrap_or(reason);
                    walk.bad = Some(self.bad(node.as_ref(), &walk, 1, reason));
                    None
                }
            }
        };
        self.chains.insert(node, walk);
        followed
    }

    /// Notes what is wrong with a chain besides its records.
    pub fn condemn(&mut self, node: Option<&NodeId>, reason: String) {
        let mut walk = self.chains.remove(&node.cloned()).unwrap_or_default();
        if walk.bad.is_none() {
            walk.bad = Some(self.bad(node, &walk, 1, reason));
        }
        self.chains.insert(node.cloned(), walk);
    }

    /// The first record that does not verify so far.
    #[must_use]
    pub fn first_bad(&self) -> Option<&BadRecord> {
        self.chains.values().find_map(|walk| walk.bad.as_ref())
    }

    /// The report, when there are no more records; heads are compared with where the chains ended.
    #[must_use]
    pub fn finish(mut self, segments: usize) -> VerifyReport {
        let mut chains = std::mem::take(&mut self.chains);
        for (node, walk) in &mut chains {
            let reached = walk.link.map_or(0, |link| link.seq);
            if let (None, Some(Ends { head, .. })) = (&walk.bad, walk.ends)
                && walk.link != Some(head)
            {
                let reason = if head.seq > reached {
                    format!("the chain ends at {reached}, its head says {}", head.seq)
                } else {
                    format!("the chain ends at {reached}, its head says {} or another record", head.seq)
                };
                walk.bad = Some(self.bad(node.as_ref(), walk, 1, reason));
            }
        }
        let mut report = VerifyReport::empty(self.org);
        report.segments = segments;
        let last = chains.iter().max_by_key(|(_, walk)| walk.met).map(|(node, _)| node.clone());
        for (node, walk) in chains {
            let is_last = last.as_ref() == Some(&node);
            let chain = walk.report(self.org, node);
            report.records = report.records.saturating_add(chain.records);
            report.anchored |= chain.anchored;
            report.bad = report.bad.or_else(|| chain.bad.clone());
            if is_last {
                report.first_seq = chain.first_seq;
                report.last_seq = chain.last_seq;
                report.last_hash.clone_from(&chain.last_hash);
            }
            report.chains.push(chain);
        }
        if let [one] = report.chains.as_slice()
            && one.node.is_none()
        {
            report.chains.clear();
        }
        report
    }

    fn bad(&self, node: Option<&NodeId>, walk: &Walk, further: u64, reason: String) -> BadRecord {
        let of_node = node.map(|node| format!(" of node {node}")).unwrap_or_default();
        BadRecord {
            segment: format!("{}{of_node}", self.place),
            line: if self.is_export { self.met } else { walk.records.saturating_add(further) },
            seq: walk.link.map_or(0, |link| link.seq).saturating_add(1),
            reason,
        }
    }
}

impl Walk {
    fn follow<'b>(
        &mut self,
        chain: &Chain<'_>,
        parsed: Result<RawLine<'b>, &'static str>,
        said: Option<(Option<&NodeId>, u64)>,
        is_export: bool,
    ) -> Result<RawLine<'b>, String> {
        let raw = parsed?;
        if raw.node.as_ref() != chain.node {
            return Err("it is a record of another chain".to_owned());
        }
        if let Some((_, seq)) = said.filter(|(_, seq)| *seq != raw.seq) {
            return Err(format!("its row says seq {seq}, its line {}", raw.seq));
        }
        let before = match self.link {
            Some(link) => link,
            None if !is_export => return Err("no head knows its chain".to_owned()),
            None if raw.seq == 1 => chain.genesis(),
            None => Link { seq: raw.seq.saturating_sub(1), hash: raw.prev },
        };
        if raw.seq != before.seq.saturating_add(1) {
            return Err(format!("its seq is {}", raw.seq));
        }
        if raw.prev != before.hash {
            return Err("it does not continue the record before".to_owned());
        }
        self.link = Some(raw.link());
        self.records = self.records.saturating_add(1);
        self.first_seq = self.first_seq.or(Some(raw.seq));
        Ok(raw)
    }

    fn report(self, org: &OrgId, node: Option<NodeId>) -> ChainReport {
        let link = self.link.unwrap_or_else(|| Chain { org, node: node.as_ref() }.genesis());
        let anchored = match self.ends {
            Some(ends) => ends.anchor.is_some(),
            None => self.first_seq.is_some_and(|first| first > 1),
        };
        ChainReport {
            node,
            records: self.records,
            first_seq: self.first_seq,
            last_seq: link.seq,
            last_hash: hex::encode(&link.hash),
            anchored,
            bad: self.bad,
        }
    }
}

impl fmt::Debug for ChainsWalk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainsWalk").field("org", self.org).field("met", &self.met).finish_non_exhaustive()
    }
}

/// The node that a line names, whether or not the line verifies.
fn node_of(line: &[u8]) -> Option<NodeId> {
    let text = std::str::from_utf8(line).ok()?;
    let (_, rest) = text.strip_prefix("{\"seq\":")?.split_once(',')?;
    NodeId::parse(rest.strip_prefix("\"node\":\"")?.split_once('"')?.0).ok()
}

/// What is to be said of a record that is sound, but another org's.
fn foreign(own: &OrgId, line: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(line).ok()?;
    let (_, rest) = text.split_once(",\"org\":\"")?;
    let org = OrgId::parse(rest.split_once('"')?.0).ok().filter(|org| org != own)?;
    parse(&org, line).is_ok().then(|| format!("it is a record of org {org}"))
}

#[cfg(test)]
mod tests;
