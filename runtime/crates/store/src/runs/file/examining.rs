//! A look at all run files that goes on after the first fault: every line, every link, every document.
//!
//! It changes nothing, not even an index. Called by the check of a data directory.

use std::path::Path;

use super::SEGMENT_BYTES;
use super::chain::Place;
use super::indexer::{orgs, workspaces};
use super::log::Log;
use super::reading::{Look, Unit};
use super::segment::{self, Fault, name};
use crate::head::HeadFile;

/// What a look at run files found.
#[derive(Debug, Default)]
pub(crate) struct RunsSeen {
    /// Records that are as they were written.
    pub(crate) records: u64,
    /// Files that are not, from the data directory, each with what is wrong.
    pub(crate) bad: Vec<(String, String)>,
}

impl RunsSeen {
    fn add(&mut self, fault: Fault) {
        self.bad.push(match fault {
            Fault::Damaged(path, reason) => (name(&path), reason),
            Fault::Io(path, error) => (name(&path), format!("it cannot be read: {error}")),
        });
    }
}

/// Looks at the runs below a directory, to which no process writes. `each` is told how many records were read.
pub(crate) fn examine_runs(root: &Path, each: &mut dyn FnMut(u64)) -> RunsSeen {
    let mut seen = RunsSeen::default();
    for org in orgs(root) {
        for workspace in workspaces(root, &org) {
            let head = HeadFile::of(root, &[org.as_str(), workspace.as_str()]);
            if let Some(reason) = head.fault() {
                seen.bad.push((format!("runs/.heads/{org}/{workspace}"), reason));
            }
            let place = Place { org: org.clone(), workspace };
            let log = Log::new(root, place, SEGMENT_BYTES);
            match Look::new(&log) {
                Ok(look) => (0..look.units()).for_each(|unit| {
                    if let Err(fault) = examine(&look, unit, &mut seen.records) {
                        seen.add(fault);
                    }
                    each(seen.records);
                }),
                Err(fault) => seen.add(fault),
            }
        }
    }
    seen
}

fn examine(look: &Look<'_>, unit: usize, records: &mut u64) -> Result<(), Fault> {
    match look.unit(unit) {
        Some(Unit::Segment(index, file)) => {
            let checked = look.checked(index, file)?;
            for text in checked.texts() {
                segment::parse(&look.log.place, &file.path, text)?;
                *records = records.saturating_add(1);
            }
        }
        Some(Unit::Earlier(path)) => {
            *records = records.saturating_add(look.earlier_records(path)?.len() as u64);
        }
        None => {}
    }
    Ok(())
}
