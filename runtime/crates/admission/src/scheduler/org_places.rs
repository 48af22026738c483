//! The places of an org: how many of its calls run over all its workspaces, and which of them come next once there is
//! none left.
//!
//! A workspace that was refused at the org's limit queues: until it comes again, or does not for a while, others of the
//! org that have as many calls leave it a place. So one workspace cannot keep its siblings out by asking more often.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use slab::Slab;

/// How long a workspace that was refused is expected to come again: callers are told a second, and accepted runs are
/// tried again within one.
pub(super) const WANTED_FOR: Duration = Duration::from_secs(3);

/// Workspaces of an org that queue; of further ones nothing is remembered.
const WANTING_MAX: usize = 64;

/// Number of orgs above which those without calls are looked for.
const ORGS_KEPT: usize = 64;

/// A workspace that was refused.
struct Wanting {
    workspace: Box<str>,
    until: Instant,
}

#[derive(Default)]
struct OrgCalls {
    org: Box<str>,
    calls: usize,
    wanting: VecDeque<Wanting>,
}

/// The orgs that have calls, or workspaces that wait for one.
#[derive(Default)]
pub(super) struct OrgPlaces {
    by_org: HashMap<Box<str>, usize>,
    orgs: Slab<OrgCalls>,
    sweep_at: usize,
}

/// The org of a workspace's name.
fn org_of(workspace: &str) -> &str {
    workspace.split_once('/').map_or(workspace, |(org, _)| org)
}

impl OrgPlaces {
    fn get(&self, org: &str) -> Option<&OrgCalls> {
        self.by_org.get(org).and_then(|number| self.orgs.get(*number))
    }

    /// Number of an org's calls.
    pub(super) fn calls(&self, org: &str) -> usize {
        self.get(org).map_or(0, |org| org.calls)
    }

    /// Whether a workspace of the org may have one more call, of `most` of the org. `calls_of` tells how many calls a
    /// workspace has.
    pub(super) fn has_room(
        &self,
        workspace: &str,
        most: usize,
        now: Instant,
        calls_of: impl Fn(&str) -> usize,
    ) -> bool {
        let Some(org) = self.get(org_of(workspace)) else { return true };
        if org.calls >= most {
            return false;
        }
        if org.wanting.is_empty() {
            return true;
        }
        let own = calls_of(workspace);
        let before = org.wanting.iter().take_while(|wanting| *wanting.workspace != *workspace);
        let before = before.filter(|wanting| wanting.until > now && calls_of(&wanting.workspace) <= own);
        org.calls.saturating_add(before.count()) < most
    }

    /// A workspace was refused, and will come again.
    pub(super) fn wants(&mut self, workspace: &str, now: Instant) {
        let number = self.open(org_of(workspace), now);
        let Some(org) = self.orgs.get_mut(number) else { return };
        let until = now + WANTED_FOR;
        if let Some(known) = org.wanting.iter_mut().find(|wanting| *wanting.workspace == *workspace) {
            // Why its place in the queue stays, unless it was away: it has waited since it was refused first.
            if known.until > now {
                known.until = until;
                return;
            }
        }
        org.wanting.retain(|wanting| wanting.until > now);
        if org.wanting.len() < WANTING_MAX {
            org.wanting.push_back(Wanting { workspace: workspace.into(), until });
        }
    }

    /// One more call of a workspace. Returns the number of its org.
    pub(super) fn enter(&mut self, workspace: &str, now: Instant) -> usize {
        let number = self.open(org_of(workspace), now);
        if let Some(org) = self.orgs.get_mut(number) {
            org.calls += 1;
            if !org.wanting.is_empty() {
                org.wanting.retain(|wanting| wanting.until > now && *wanting.workspace != *workspace);
            }
        }
        number
    }

    /// One call of an org fewer.
    pub(super) fn leave(&mut self, number: usize) {
        let Some(org) = self.orgs.get_mut(number) else { return };
        org.calls -= 1;
        if org.calls == 0 && org.wanting.is_empty() {
            self.close(number);
        }
    }

    fn close(&mut self, number: usize) {
        if let Some(gone) = self.orgs.try_remove(number) {
            self.by_org.remove(&gone.org);
        }
    }

    fn open(&mut self, org: &str, now: Instant) -> usize {
        if let Some(number) = self.by_org.get(org) {
            return *number;
        }
        if self.orgs.len() >= self.sweep_at.max(ORGS_KEPT) {
            self.sweep(now);
        }
        let number = self.orgs.insert(OrgCalls { org: org.into(), ..OrgCalls::default() });
        self.by_org.insert(org.into(), number);
        number
    }

    /// Forgets orgs without calls whose workspaces did not come again.
    fn sweep(&mut self, now: Instant) {
        let is_unused = |org: &OrgCalls| org.calls == 0 && org.wanting.iter().all(|one| one.until <= now);
        let unused: Vec<usize> =
            self.orgs.iter().filter(|(_, org)| is_unused(org)).map(|(number, _)| number).collect();
        for number in unused {
            self.close(number);
        }
        self.sweep_at = self.orgs.len().saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_that_was_refused_gets_the_next_place() {
        let (mut places, now) = (OrgPlaces::default(), Instant::now());
        let none = |_: &str| 0;
        let number = places.enter("acme/busy", now);
        assert!(!places.has_room("acme/quiet", 1, now, none));
        places.wants("acme/quiet", now);
        places.leave(number);
        assert!(!places.has_room("acme/busy", 1, now, none), "it had its turn");
        assert!(places.has_room("acme/quiet", 1, now, none));
        let number = places.enter("acme/quiet", now);
        places.leave(number);
        assert!(places.has_room("acme/busy", 1, now, none), "nobody waits any more");
        assert!(places.by_org.is_empty() && places.orgs.is_empty());
    }

    #[test]
    fn those_with_fewer_calls_come_first_and_who_stays_away_loses_its_place() {
        let (mut places, now) = (OrgPlaces::default(), Instant::now());
        for _ in 0..3 {
            places.enter("acme/busy", now);
        }
        places.wants("acme/quiet", now);
        let busy_has = |count: usize| move |name: &str| if name == "acme/busy" { count } else { 0 };
        assert!(!places.has_room("acme/busy", 4, now, busy_has(3)), "the fourth is for the other");
        assert!(places.has_room("acme/busy", 5, now, busy_has(3)));
        assert!(places.has_room("acme/quiet", 4, now, busy_has(3)));
        assert!(places.has_room("acme/new", 5, now, busy_has(3)), "there is one for each");
        let quiet_has_more = |name: &str| usize::from(name != "acme/busy") * 5;
        assert!(places.has_room("acme/busy", 4, now, quiet_has_more), "who has more waits behind");
        let later = now + WANTED_FOR;
        assert!(places.has_room("acme/busy", 4, later, busy_has(3)));
    }

    #[test]
    fn orgs_do_not_concern_each_other_and_are_forgotten() {
        let (mut places, now) = (OrgPlaces::default(), Instant::now());
        places.enter("acme/main", now);
        assert!(places.has_room("globex/main", 1, now, |_| 0));
        assert_eq!((places.calls("acme"), places.calls("globex")), (1, 0));
        for number in 0..10_000 {
            places.wants(&format!("org{number}/main"), now + WANTED_FOR * number);
        }
        assert!(places.orgs.len() < 200, "{}", places.orgs.len());
        assert_eq!(places.calls("acme"), 1);
    }
}
