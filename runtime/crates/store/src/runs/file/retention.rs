//! Dropping old files of runs: which they are, over all workspaces of an org. Called by the backend, on a thread that
//! may block.

use std::path::Path;
use std::sync::Arc;

use super::latest::Latest;
use super::listing::Spent;
use super::log::Log;
use super::reading::{Look, Unit};
use super::segment::Fault;
use crate::error::StoreError;
use crate::runs::{RunCut, RunsLeft};

/// A closed file, and how old its youngest run or one before it is.
struct Old {
    log: usize,
    unit: usize,
    /// The first segment that would be left.
    next: u64,
    bytes: u64,
    latest_us: u64,
}

/// Drops what a cut allows, of these logs together.
pub(super) fn retain(logs: &[Arc<Log>], latest: &Latest, cut: &RunCut) -> Result<RunsLeft, StoreError> {
    let (mut files, mut left) = (Vec::new(), RunsLeft::default());
    for (index, log) in logs.iter().enumerate() {
        let bytes = super::reading::looked(|| {
            close(log, latest, cut)?;
            closed_files(index, log, latest)
        });
        let (mut closed, bytes) = bytes?;
        left.bytes = left.bytes.saturating_add(bytes);
        files.append(&mut closed);
    }
    // Oldest first; in each log this is the order of its files.
    files.sort_by_key(|file| (file.latest_us, file.log, file.unit));
    let mut firsts = vec![None; logs.len()];
    for file in files {
        let is_old = cut.before_us.is_some_and(|before| file.latest_us < before);
        if !is_old && cut.bytes.is_none_or(|most| left.bytes <= most) {
            continue;
        }
        left.bytes = left.bytes.saturating_sub(file.bytes);
        if let Some(first) = firsts.get_mut(file.log) {
            *first = Some(file.next);
        }
    }
    for (log, first) in logs.iter().zip(firsts) {
        if let Some(first) = first {
            left.dropped = left.dropped.saturating_add(log.drop_before(first)? as u64);
            latest.forget(&log.place.org, &log.place.workspace);
        }
    }
    Ok(left)
}

/// Begins a next file if the current one has an old run: at once if all are old, else if it is written to.
fn close(log: &Log, latest: &Latest, cut: &RunCut) -> Result<(), Fault> {
    let look = Look::knowing(log, latest)?;
    let ends = before_each(&look, latest)?;
    let all_old =
        ends.last().is_some_and(|end| *end > 0 && cut.before_us.is_some_and(|before| *end < before));
    let has_old = log.earliest_us().is_some_and(|us| cut.close_before_us.is_some_and(|before| us < before));
    if all_old || has_old { log.close_file() } else { Ok(()) }
}

/// The files that could be dropped, and the bytes of all. The last one stays, and so do files of the first format
/// until all of them can go.
fn closed_files(index: usize, log: &Log, latest: &Latest) -> Result<(Vec<Old>, u64), Fault> {
    let look = Look::knowing(log, latest)?;
    let ends = before_each(&look, latest)?;
    let (mut files, mut all, mut held) = (Vec::new(), 0_u64, 0_u64);
    for unit in 0..look.units() {
        let path = match look.unit(unit) {
            Some(Unit::Earlier(path)) => path,
            Some(Unit::Segment(_, segment)) => &segment.path,
            None => continue,
        };
        let bytes = length(path);
        all = all.saturating_add(bytes);
        held = held.saturating_add(bytes);
        if let Some(Unit::Segment(_, next)) = look.unit(unit.saturating_add(1)) {
            let latest_us = ends.get(unit.saturating_add(1)).copied().unwrap_or(u64::MAX);
            files.push(Old { log: index, unit, next: next.number, bytes: held, latest_us });
            held = 0;
        }
    }
    Ok((files, all))
}

fn before_each(look: &Look<'_>, latest: &Latest) -> Result<Vec<u64>, Fault> {
    loop {
        let mut spent = Spent::default();
        let ends = latest.before_each(look, &mut spent)?;
        if !spent.is_enough() {
            return Ok(ends);
        }
    }
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

/// Bytes of a workspace's files, by their lengths alone: none is opened, and one that goes meanwhile counts nothing.
pub(super) fn bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.metadata().map_or(0, |file| file.len())).sum()
}
