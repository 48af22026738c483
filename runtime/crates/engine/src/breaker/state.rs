//! One circuit breaker as a state machine. Pure: time and chance come in as parameters.
//!
//! ```text
//! closed ──failures in a row, of enough orgs──► open ──its time is up──► half open: one probe
//!    ▲                                           ▲                         │ failed: longer than before
//!    │                                           └─────────────────────────┤
//!    └──────────────────────── a success of anybody ◄──────────────────────┘
//! ```
//!
//! **Whom it refuses.** Failures of three orgs speak for all. Where fewer orgs use it, all of those must have failed, and
//! then it refuses these alone: an org that fails on purpose stops itself and nobody else. A breaker of a connection is
//! used by one org.

use std::time::{Duration, Instant};

use portcullis_core::id::OrgId;
use portcullis_core::limits::Limits;

/// Orgs whose failures speak for all others.
const ORGS_NEEDED: usize = 3;
/// Doublings of the open period that are counted; more reach any longest period.
const DOUBLINGS_MAX: u32 = 20;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Failures without a success between them.
    pub(crate) failures: u32,
    /// How long a failure or a use counts.
    pub(crate) window: Duration,
    /// The shortest open period.
    pub(crate) open_min: Duration,
    /// The longest.
    pub(crate) open_max: Duration,
}

impl Rules {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            failures: u32::try_from(limits.breaker_failures).unwrap_or(u32::MAX).max(1),
            window: Duration::from_millis(limits.breaker_window_ms),
            open_min: Duration::from_millis(limits.breaker_open_ms),
            open_max: Duration::from_millis(limits.breaker_open_max_ms.max(limits.breaker_open_ms)),
        }
    }

    /// Orgs that are told apart: as many as may be needed to count the failures, one each.
    fn orgs_max(&self) -> usize {
        usize::try_from(self.failures).unwrap_or(usize::MAX).saturating_add(ORGS_NEEDED)
    }
}

/// What a request says of the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It answered.
    Answered,
    /// It failed.
    Failed,
    /// Nothing: it was not asked, or what failed is not known to be its fault.
    Unknown,
}

/// How a request was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    /// The state's number then: what was let through in an earlier state decides nothing.
    epoch: u64,
    is_probe: bool,
}

impl Pass {
    /// Past a breaker of which nothing is noted.
    pub(crate) const UNNOTED: Self = Self { epoch: 0, is_probe: false };

    /// Whether the state hangs on its end.
    pub(crate) const fn is_probe(self) -> bool {
        self.is_probe
    }
}

/// A request that is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// How long, at least.
    pub(crate) left: Duration,
    /// Over which time those who come back are to spread.
    pub(crate) spread: Duration,
}

/// A change of state, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It refuses from now on.
    Opened {
        /// For how long.
        period: Duration,
        /// Whether it refuses every org.
        for_all: bool,
    },
    /// It refuses nobody any more.
    Closed,
}

/// What can be seen of a breaker that is not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Glance {
    /// Whether a probe may go, or is under way.
    pub(crate) is_half_open: bool,
    /// When it opened.
    pub(crate) since: Instant,
    /// When a probe may go.
    pub(crate) until: Instant,
    /// Orgs whose failures opened it.
    pub(crate) failing_orgs: usize,
    /// Whether it refuses every org.
    pub(crate) for_all: bool,
}

/// An org that used it.
#[derive(Debug)]
struct Use {
    org: OrgId,
    at: Instant,
    /// Failures since the last success of anybody, and when the last one was.
    failures: u32,
    failed_at: Option<Instant>,
}

#[derive(Debug)]
struct Opened {
    since: Instant,
    until: Instant,
    period: Duration,
    /// Those that it refuses if it does not refuse all. Invariant: not empty.
    orgs: Vec<OrgId>,
    for_all: bool,
    probing: bool,
    /// The org of the last probe, and until when others come first: one that fails on purpose must not have every probe.
    last_probe: Option<(OrgId, Instant)>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Breaker {
    opened: Option<Opened>,
    // Invariant: at most `Rules::orgs_max`, each org once.
    uses: Vec<Use>,
    epoch: u64,
    /// How often it opened without being closed for a while between.
    openings: u32,
    closed_at: Option<Instant>,
    touched: Instant,
}

impl Breaker {
    /// A closed one.
    pub(crate) const fn new(now: Instant) -> Self {
        Self { opened: None, uses: Vec::new(), epoch: 0, openings: 0, closed_at: None, touched: now }
    }

    /// Lets a request through, perhaps as the probe, or refuses it.
    ///
    /// # Errors
    /// [`Refused`] while it is open for this org.
    pub(crate) fn admit(&mut self, org: &OrgId, now: Instant, rules: &Rules) -> Result<Pass, Refused> {
        let pass = Pass { epoch: self.epoch, is_probe: false };
        self.refusal(org, now, rules).map_or(Ok(()), Err)?;
        let Some(opened) = self.opened.as_mut().filter(|opened| opened.refuses(org)) else { return Ok(pass) };
        opened.probing = true;
        self.touched = now;
        Ok(Pass { is_probe: true, ..pass })
    }

    /// Why a request of this org would be refused.
    pub(crate) fn refusal(&self, org: &OrgId, now: Instant, rules: &Rules) -> Option<Refused> {
        let opened = self.opened.as_ref().filter(|opened| opened.refuses(org))?;
        let until = match &opened.last_probe {
            Some((last, until)) if last == org => opened.until.max(*until),
            _ => opened.until,
        };
        let left = until.saturating_duration_since(now);
        // Why the shortest period: when a probe ends is not known.
        let left = if left.is_zero() && opened.probing { rules.open_min } else { left };
        (!left.is_zero()).then_some(Refused { left, spread: opened.period })
    }

    /// The pass of a request that goes whatever the state is: it is no probe, and its success counts.
    pub(crate) const fn pass(&self) -> Pass {
        Pass { epoch: self.epoch, is_probe: false }
    }

    /// Takes up how a request ended. `chance` is a number from 0 to 1.
    pub(crate) fn settle(
        &mut self,
        org: &OrgId,
        pass: Pass,
        outcome: Outcome,
        now: Instant,
        chance: f64,
        rules: &Rules,
    ) -> Option<Change> {
        self.touched = now;
        if pass.epoch != self.epoch {
            return None;
        }
        match (outcome, pass.is_probe) {
            (Outcome::Answered, _) => self.answered(org, now, rules),
            (Outcome::Failed, true) => self.probe_failed(org, now, chance, rules),
            (Outcome::Failed, false) => self.failed(org, now, chance, rules),
            (Outcome::Unknown, true) => {
                self.give_back(org, now);
                None
            }
            (Outcome::Unknown, false) => None,
        }
    }

    /// What can be seen of it; `None` while it is closed.
    pub(crate) fn glance(&self, now: Instant) -> Option<Glance> {
        let opened = self.opened.as_ref()?;
        Some(Glance {
            is_half_open: now >= opened.until,
            since: opened.since,
            until: opened.until,
            failing_orgs: opened.orgs.len(),
            for_all: opened.for_all,
        })
    }

    /// Whether it may be forgotten: nothing that it knows counts any more, or nobody has asked for a long time.
    pub(crate) fn is_idle(&self, now: Instant, rules: &Rules) -> bool {
        let (from, kept) = match &self.opened {
            Some(opened) => (opened.until.max(self.touched), rules.open_max.max(rules.window)),
            None => (self.touched, rules.window),
        };
        now.saturating_duration_since(from) > kept
    }

    /// What is forgotten first where there is no room: closed ones, then those that were not used for long.
    pub(crate) const fn rank(&self) -> (bool, Instant) {
        (self.opened.is_some(), self.touched)
    }

    fn answered(&mut self, org: &OrgId, now: Instant, rules: &Rules) -> Option<Change> {
        self.using(org, now, rules, |_| {});
        for used in &mut self.uses {
            (used.failures, used.failed_at) = (0, None);
        }
        self.opened.take()?;
        self.epoch += 1;
        self.closed_at = Some(now);
        Some(Change::Closed)
    }

    fn failed(&mut self, org: &OrgId, now: Instant, chance: f64, rules: &Rules) -> Option<Change> {
        self.note_failure(org, now, rules);
        let (mut failing, for_all) = self.speaking(now, rules)?;
        let Some(opened) = &mut self.opened else {
            let calm = self.closed_at.is_none_or(|at| now.saturating_duration_since(at) > rules.window);
            self.openings = if calm { 0 } else { self.openings.saturating_add(1) };
            let period = self.period(chance, rules);
            let until = now + period;
            let (since, probing, last_probe) = (now, false, None);
            self.opened = Some(Opened { since, until, period, orgs: failing, for_all, probing, last_probe });
            self.epoch += 1;
            return Some(Change::Opened { period, for_all });
        };
        // It was open for others: those that it did not refuse have failed as well.
        failing.retain(|org| !opened.orgs.contains(org));
        if opened.for_all || failing.is_empty() {
            return None;
        }
        opened.orgs.extend(failing);
        opened.for_all |= for_all || opened.orgs.len() >= ORGS_NEEDED;
        let (period, for_all) = (opened.period, opened.for_all);
        Some(Change::Opened { period, for_all })
    }

    fn probe_failed(&mut self, org: &OrgId, now: Instant, chance: f64, rules: &Rules) -> Option<Change> {
        self.note_failure(org, now, rules);
        self.openings = self.openings.saturating_add(1);
        let period = self.period(chance, rules);
        let opened = self.opened.as_mut()?;
        (opened.until, opened.period, opened.probing) = (now + period, period, false);
        opened.last_probe = opened.has_others(org).then(|| (org.clone(), opened.until + period));
        self.epoch += 1;
        Some(Change::Opened { period, for_all: opened.for_all })
    }

    /// The probe ended without saying anything: another may go at once.
    fn give_back(&mut self, org: &OrgId, now: Instant) {
        if let Some(opened) = &mut self.opened {
            opened.probing = false;
            opened.last_probe = opened.has_others(org).then(|| (org.clone(), now + opened.period));
        }
    }

    /// Any time between the shortest period and a bound that doubles with each opening.
    fn period(&self, chance: f64, rules: &Rules) -> Duration {
        let doublings = self.openings.saturating_add(1).min(DOUBLINGS_MAX);
        let bound = rules.open_min.saturating_mul(1 << doublings).min(rules.open_max);
        let chance = if chance.is_finite() { chance.clamp(0.0, 1.0) } else { 1.0 };
        rules.open_min + bound.saturating_sub(rules.open_min).mul_f64(chance)
    }

    /// The orgs whose failures are reason enough to open, and whether they speak for all.
    ///
    /// Of one org no more failures count than its part: some failures of others and many of one that fails on purpose
    /// are not enough.
    fn speaking(&self, now: Instant, rules: &Rules) -> Option<(Vec<OrgId>, bool)> {
        let recent = |at: Instant| now.saturating_duration_since(at) <= rules.window;
        let users = self.uses.iter().filter(|used| recent(used.at)).count();
        let needed = users.clamp(1, ORGS_NEEDED);
        let failing = || self.uses.iter().filter(|used| used.failed_at.is_some_and(recent));
        let part = rules.failures.div_ceil(u32::try_from(needed).unwrap_or(1));
        let counted = failing().fold(0_u32, |sum, used| sum.saturating_add(used.failures.min(part)));
        let orgs = failing().count();
        (orgs >= needed && counted >= rules.failures)
            .then(|| (failing().map(|used| used.org.clone()).collect(), orgs >= ORGS_NEEDED))
    }

    fn note_failure(&mut self, org: &OrgId, now: Instant, rules: &Rules) {
        self.using(org, now, rules, |used| {
            let counts = used.failed_at.is_some_and(|at| now.saturating_duration_since(at) <= rules.window);
            used.failures = if counts { used.failures.saturating_add(1) } else { 1 };
            used.failed_at = Some(now);
        });
    }

    /// Notes that an org uses it now. Where there is no room, the use of longest ago is forgotten.
    fn using(&mut self, org: &OrgId, now: Instant, rules: &Rules, change: impl FnOnce(&mut Use)) {
        let found = self.uses.iter().position(|used| used.org == *org);
        let mut used = match found {
            Some(index) => self.uses.swap_remove(index),
            None => Use { org: org.clone(), at: now, failures: 0, failed_at: None },
        };
        used.at = now;
        change(&mut used);
        if self.uses.len() >= rules.orgs_max()
            // Why failures last: they are what opens it.
            && let Some((oldest, _)) = self.uses.iter().enumerate().min_by_key(|(_, used)| (used.failures > 0, used.at))
        {
            self.uses.swap_remove(oldest);
        }
        self.uses.push(used);
    }
}

impl Opened {
    fn refuses(&self, org: &OrgId) -> bool {
        self.for_all || self.orgs.contains(org)
    }

    /// Whether it refuses others than this org, who may want the next probe.
    fn has_others(&self, org: &OrgId) -> bool {
        self.for_all || self.orgs.iter().any(|own| own != org)
    }
}

#[cfg(test)]
mod tests;
