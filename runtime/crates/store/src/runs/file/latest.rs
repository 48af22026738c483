//! The latest end of a run in each file, by which lists of several workspaces are merged.
//!
//! A closed file never changes, so what was learnt of it holds while the process lives. Called by lists and by the
//! indexer.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_core::sync::lock;

use super::chain::Place;
use super::listing::Spent;
use super::outline::Outline;
use super::reading::{Look, Unit};
use super::segment::Fault;
use crate::runs::query::ended_us;

/// What is known of a file.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Its length then, if it was the last file of its workspace, which may have grown since.
    bytes: Option<u64>,
    latest_us: u64,
}

/// A last file that was read: its number, its outline and its length.
struct Tail {
    number: u64,
    outline: Arc<Outline>,
    bytes: u64,
}

/// Last files that are kept; each has up to 5 KiB.
const TAILS_MAX: usize = 2000;

type Files = BTreeMap<u64, Known>;

/// What is known of the files of all workspaces.
#[derive(Default)]
pub(super) struct Latest {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    logs: HashMap<(OrgId, WorkspaceId), Files>,
    /// The last file of workspaces whose runs were read and not written.
    tails: HashMap<(OrgId, WorkspaceId), Tail>,
    /// How often something was forgotten: what was learnt before that may be of files that are gone.
    forgotten: u64,
}

impl Latest {
    /// The latest end before each file of a workspace, and after the last. The files are read as far as they are not
    /// known yet.
    pub(super) fn before_each(&self, look: &Look<'_>, spent: &mut Spent) -> Result<Vec<u64>, Fault> {
        let name = (look.log.place.org.clone(), look.log.place.workspace.clone());
        let (mut files, forgotten) = {
            let state = lock(&self.state);
            (state.logs.get(&name).cloned().unwrap_or_default(), state.forgotten)
        };
        let mut learnt = false;
        let (mut latest, mut before) = (0_u64, Vec::with_capacity(look.units().saturating_add(1)));
        for unit in 0..look.units() {
            before.push(latest);
            let number = look.unit_number(unit);
            let known = files.get(&number).copied().filter(|known| holds(look, unit, *known));
            let known = match known {
                Some(known) => known,
                None => {
                    let known = learn(look, unit, spent)?;
                    learnt = true;
                    files.insert(number, known);
                    known
                }
            };
            latest = latest.max(known.latest_us);
            if spent.is_enough() {
                break;
            }
        }
        before.push(latest);
        let mut state = lock(&self.state);
        if learnt && state.forgotten == forgotten {
            state.logs.insert(name, files);
        }
        drop(state);
        Ok(before)
    }

    /// The last file of a workspace as it was read before, with its length then.
    pub(super) fn tail(&self, place: &Place, number: u64) -> Option<(Arc<Outline>, u64)> {
        let state = lock(&self.state);
        let tail = state.tails.get(&(place.org.clone(), place.workspace.clone()))?;
        (tail.number == number).then(|| (Arc::clone(&tail.outline), tail.bytes))
    }

    pub(super) fn keep_tail(&self, place: &Place, number: u64, (outline, bytes): &(Arc<Outline>, u64)) {
        let mut state = lock(&self.state);
        if state.tails.len() >= TAILS_MAX {
            state.tails.clear();
        }
        let tail = Tail { number, outline: Arc::clone(outline), bytes: *bytes };
        state.tails.insert((place.org.clone(), place.workspace.clone()), tail);
    }

    /// Forgets a workspace that was removed: another may begin under its name.
    pub(super) fn forget(&self, org: &OrgId, workspace: &WorkspaceId) {
        let mut state = lock(&self.state);
        state.forgotten = state.forgotten.wrapping_add(1);
        let name = (org.clone(), workspace.clone());
        state.logs.remove(&name);
        state.tails.remove(&name);
    }
}

fn holds(look: &Look<'_>, unit: usize, known: Known) -> bool {
    let Some(bytes) = known.bytes else { return true };
    match look.unit(unit) {
        Some(Unit::Segment(index, segment)) if look.is_last(index) && !look.is_open(segment) => {
            std::fs::metadata(&segment.path).is_ok_and(|file| file.len() == bytes)
        }
        _ => false,
    }
}

fn learn(look: &Look<'_>, unit: usize, spent: &mut Spent) -> Result<Known, Fault> {
    match look.unit(unit) {
        Some(Unit::Segment(index, segment)) => {
            let (outline, _) = look.outlined(index, segment, &mut spent.bytes)?;
            let bytes = look.is_last(index).then(|| look.cold_bytes().unwrap_or(outline.bytes));
            Ok(Known { bytes, latest_us: outline.to_us })
        }
        Some(Unit::Earlier(path)) => {
            let records = look.earlier_records(path)?;
            let ends = records.iter().map(|record| ended_us(&record.created_at, record.run_id.as_str()));
            spent.bytes = spent.bytes.saturating_add(std::fs::metadata(path).map_or(0, |file| file.len()));
            Ok(Known { bytes: None, latest_us: ends.max().unwrap_or_default() })
        }
        None => Ok(Known { bytes: None, latest_us: 0 }),
    }
}
