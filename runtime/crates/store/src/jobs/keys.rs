//! Keys of jobs in a store, in its form `<kind>/<part>/<part>`. Made of identifiers, so no part has a separator.
//!
//! | key | what |
//! |---|---|
//! | `job/<org>/<ws>/<run>` | the job |
//! | `job_input/<org>/<ws>/<run>/<part>` | its input |
//! | `job_bytes/<org>/<ws>/<part>` | a part of the number of bytes of the inputs that are kept |
//! | `job_open/<org>/<ws>/<run>` | that it has not ended |
//! | `job_given_up/<org>/<ws>/<run>` | that it can be taken up again |
//! | `job_newest/<org>/<time left>/<ws>/<run>`, `job_oldest/<org>/<time>/<ws>/<run>` | of each org, in the order in which they were accepted: jobs that have not ended for good |
//! | `job_unrecorded/<org>/<ws>/<run>` | that it has ended for good, and nobody said that its run has a record |
//! | `job_end/<org>/<ws>/<run>` | the document with which it ended |
//! | `job_due/<org>/<ws>/<time>/<run>` | of each workspace, in order: jobs that are due |
//! | `job_later/<time>/<org>/<ws>/<run>` | in order of time: jobs that become due, and leases that run out |
//! | `job_kept/<time>/<org>/<ws>/<run>` | in order of time: jobs that have ended |
//! | `job_held/<org>/<ws>/<line>/<turn>` | of each line, in order: the run of a job that waits until those ahead have ended |
//! | `job_line/<org>/<ws>/<line>` | who is first in a line, and what is ahead of those that come |
//!
//! The time left is what the latest time has more. A job has one of the orders by time, at the time that it holds itself,
//! or its turn in a line.

use portcullis_core::id::{OrgId, RunId, WorkspaceId};

use super::{JobName, JobOrder, LineName, LinePlace};

/// After every key part: all characters of parts are below it.
pub(super) const AFTER_ALL: char = '~';

/// Digits of a time in milliseconds, enough until the year 5138.
const TIME_DIGITS: usize = 14;

/// Digits of a turn: as many as its type has.
const TURN_DIGITS: usize = 20;

const DUE: &str = "job_due";
const LATER: &str = "job_later";
const KEPT: &str = "job_kept";

/// Prefix of the jobs that become due, in order of time.
pub(super) const ALL_LATER: &str = "job_later/";
/// Prefix of the jobs that have ended, in order of time.
pub(super) const ALL_KEPT: &str = "job_kept/";
/// Prefix of the jobs whose runs may have no record.
pub(super) const ALL_UNRECORDED: &str = "job_unrecorded/";
/// Prefix of the due jobs of all workspaces.
pub(super) const ALL_DUE: &str = "job_due/";

/// Prefix of the jobs that have not ended.
pub(super) const ALL_OPEN: &str = "job_open/";
/// Prefix of the jobs that can be taken up again.
pub(super) const ALL_GIVEN_UP: &str = "job_given_up/";

/// The latest time of an order.
const LATEST_MS: u64 = 99_999_999_999_999;

fn time(ms: u64) -> String {
    let digits = format!("{ms:0TIME_DIGITS$}");
    // Why cut to the latest time: a longer number would sort before all.
    if digits.len() > TIME_DIGITS { "9".repeat(TIME_DIGITS) } else { digits }
}

impl JobName {
    fn path(&self) -> String {
        format!("{}/{}/{}", self.org, self.workspace, self.run_id)
    }

    pub(super) fn key(&self) -> String {
        format!("job/{}", self.path())
    }

    pub(super) fn end_key(&self) -> String {
        format!("job_end/{}", self.path())
    }

    pub(super) fn open_key(&self) -> String {
        format!("job_open/{}", self.path())
    }

    /// Of the order in which an org's jobs were accepted.
    pub(super) fn listed_key(&self, order: JobOrder, accepted_ms: u64) -> String {
        let at = match order {
            JobOrder::NewestFirst => LATEST_MS.saturating_sub(accepted_ms),
            JobOrder::OldestFirst => accepted_ms,
        };
        format!("{}{}/{}/{}", listed_of(Some(&self.org), order), time(at), self.workspace, self.run_id)
    }

    /// The time and the name in a key of [`Self::listed_key`].
    pub(super) fn by_listed(order: JobOrder, key: &str) -> Option<(u64, Self)> {
        let mut parts = key.split('/').skip(1);
        let (org, at) = (parts.next()?, parts.next()?.parse().ok()?);
        let accepted_ms = match order {
            JobOrder::NewestFirst => LATEST_MS.saturating_sub(at),
            JobOrder::OldestFirst => at,
        };
        Some((accepted_ms, Self::of(org, parts.next()?, parts.next()?)?))
    }

    pub(super) fn given_up_key(&self) -> String {
        format!("job_given_up/{}", self.path())
    }

    pub(super) fn unrecorded_key(&self) -> String {
        format!("{ALL_UNRECORDED}{}", self.path())
    }

    pub(crate) fn input_key(&self, part: u32) -> String {
        format!("job_input/{}/{part:05}", self.path())
    }

    pub(super) fn due_key(&self, at_ms: u64) -> String {
        format!("{DUE}/{}/{}/{}/{}", self.org, self.workspace, time(at_ms), self.run_id)
    }

    pub(super) fn later_key(&self, at_ms: u64) -> String {
        format!("{LATER}/{}/{}", time(at_ms), self.path())
    }

    pub(super) fn kept_key(&self, at_ms: u64) -> String {
        format!("{KEPT}/{}/{}", time(at_ms), self.path())
    }

    pub(super) fn held_key(&self, place: &LinePlace) -> String {
        format!("{}{:0TURN_DIGITS$}", held_of(&self.org, &self.workspace, &place.name), place.turn)
    }

    pub(super) fn line_key(&self, line: &LineName) -> String {
        format!("job_line/{}/{}/{}", self.org, self.workspace, line.as_str())
    }

    /// The name in a key that ends with it.
    pub(super) fn by_name(key: &str) -> Option<Self> {
        let mut parts = key.split('/').skip(1);
        Self::of(parts.next()?, parts.next()?, parts.next()?)
    }

    /// The time and the name in a key of the two orders by time.
    pub(super) fn by_time(key: &str) -> Option<(u64, Self)> {
        let mut parts = key.split('/').skip(1);
        let at = parts.next()?.parse().ok()?;
        let name = Self::of(parts.next()?, parts.next()?, parts.next()?)?;
        Some((at, name))
    }

    /// The time and the name in a key of the order of a workspace.
    pub(super) fn by_workspace(key: &str) -> Option<(u64, Self)> {
        let mut parts = key.split('/').skip(1);
        let (org, workspace) = (parts.next()?, parts.next()?);
        let at = parts.next()?.parse().ok()?;
        Some((at, Self::of(org, workspace, parts.next()?)?))
    }

    fn of(org: &str, workspace: &str, run: &str) -> Option<Self> {
        Some(Self {
            org: OrgId::parse(org).ok()?,
            workspace: WorkspaceId::parse(workspace).ok()?,
            run_id: RunId::parse(run).ok()?,
        })
    }
}

/// Prefix of the jobs of an org, or of one of its workspaces.
pub(super) fn jobs_of(org: &OrgId, workspace: Option<&WorkspaceId>) -> String {
    match workspace {
        Some(workspace) => format!("job/{org}/{workspace}/"),
        None => format!("job/{org}/"),
    }
}

/// Prefix of the jobs of an org, or of all, that have not ended for good, in the order in which they were accepted.
pub(super) fn listed_of(org: Option<&OrgId>, order: JobOrder) -> String {
    let kind = match order {
        JobOrder::NewestFirst => "job_newest",
        JobOrder::OldestFirst => "job_oldest",
    };
    org.map_or_else(|| format!("{kind}/"), |org| format!("{kind}/{org}/"))
}

/// Prefix of the jobs of an org that can be taken up again, or of one of its workspaces.
pub(super) fn given_up_of(org: &OrgId, workspace: Option<&WorkspaceId>) -> String {
    match workspace {
        Some(workspace) => format!("job_given_up/{org}/{workspace}/"),
        None => format!("job_given_up/{org}/"),
    }
}

/// Prefix of the number of bytes of a workspace's inputs.
pub(super) fn bytes_of(org: &OrgId, workspace: &WorkspaceId) -> String {
    format!("job_bytes/{org}/{workspace}/")
}

/// Prefix of the numbers of bytes of the inputs of an org's workspaces.
pub(super) fn bytes_of_org(org: &OrgId) -> String {
    format!("job_bytes/{org}/")
}

/// Prefix of the jobs of a workspace that have not ended.
pub(super) fn open_of(org: &OrgId, workspace: &WorkspaceId) -> String {
    format!("job_open/{org}/{workspace}/")
}

/// Prefix of the jobs of a line that wait until those ahead have ended.
pub(super) fn held_of(org: &OrgId, workspace: &WorkspaceId, line: &LineName) -> String {
    format!("job_held/{org}/{workspace}/{}/", line.as_str())
}

/// Prefix of the due jobs of a workspace.
pub(super) fn due_of(org: &OrgId, workspace: &WorkspaceId) -> String {
    format!("{DUE}/{org}/{workspace}/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    #[test]
    fn keys_sort_by_time_and_are_read_as_they_were_written() {
        let name = JobName::of("acme", "main", "run_1").unwrap();
        let times = [0, 9, 10, 1_800_000_000_000, 99_999_999_999_999];
        let later: Vec<String> = times.iter().map(|at| name.later_key(*at)).collect();
        assert!(later.is_sorted());
        for (at, key) in times.iter().zip(&later) {
            assert_eq!(JobName::by_time(key), Some((*at, name.clone())));
            assert_eq!(JobName::by_time(&name.kept_key(*at)), Some((*at, name.clone())));
            assert_eq!(JobName::by_workspace(&name.due_key(*at)), Some((*at, name.clone())));
            assert!(Key::parse(key).is_some() && Key::parse(&name.due_key(*at)).is_some());
        }
        assert!(name.later_key(u64::MAX) >= name.later_key(99_999_999_999_999), "and none before its time");
        assert!(Key::parse(&name.key()).is_some() && Key::parse(&name.input_key(3)).is_some());
        for order in [JobOrder::NewestFirst, JobOrder::OldestFirst] {
            let mut listed: Vec<_> = times.iter().map(|at| name.listed_key(order, *at)).collect();
            for (at, key) in times.iter().zip(&listed) {
                assert_eq!(JobName::by_listed(order, key), Some((*at, name.clone())));
                assert!(Key::parse(key).is_some());
            }
            if order == JobOrder::NewestFirst {
                listed.reverse();
            }
            assert!(listed.is_sorted());
        }
        let line = LineName::of([0xab; 16]);
        let place = |turn| LinePlace { name: line.clone(), turn, held: true, out_of_order: false };
        let held: Vec<_> = [0, 9, 10, u64::MAX].map(|turn| name.held_key(&place(turn))).to_vec();
        assert!(held.is_sorted() && held.iter().all(|key| Key::parse(key).is_some()));
        assert!(Key::parse(&name.line_key(&line)).is_some());
        for key in [name.unrecorded_key(), name.given_up_key()] {
            assert_eq!(JobName::by_name(&key), Some(name.clone()));
        }
        assert_eq!(JobName::by_time("job_later/x/acme/main/run_1"), None);
    }
}
