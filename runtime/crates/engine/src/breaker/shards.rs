//! The breakers of one kind by their keys, in parts with a lock each, and bounded.
//!
//! Of what nobody failed at, nothing is noted. Where there is no room, breakers that know nothing that still counts are
//! forgotten, then closed ones: a forgotten breaker begins closed, so that nobody is refused for want of room.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use portcullis_core::id::OrgId;
use portcullis_core::sync::lock;

use super::state::{Breaker, Change, Glance, Outcome, Pass, Refused, Rules};
use super::{Asking, CircuitOpen};
use crate::clock::jitter;

/// Parts: so many that the threads of a machine seldom wait for one another.
const SHARDS: usize = 16;
/// How often a full part is looked through for what may be forgotten, on the way of a success.
const LOOKED_THROUGH: Duration = Duration::from_secs(1);

/// See the module's documentation.
pub(super) struct Shards<K> {
    hasher: RandomState,
    shards: [Mutex<Shard<K>>; SHARDS],
    /// Breakers of one part.
    most: usize,
}

struct Shard<K> {
    breakers: HashMap<K, Breaker>,
    looked_at: Option<Instant>,
}

impl<K> Default for Shard<K> {
    fn default() -> Self {
        Self { breakers: HashMap::new(), looked_at: None }
    }
}

impl<K: Hash + Eq + Clone> Shards<K> {
    /// With room for this number.
    pub(super) fn new(most: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { hasher: RandomState::new(), shards, most: most.div_ceil(SHARDS) }
    }

    /// A pass of the breaker of this key.
    ///
    /// # Errors
    /// [`CircuitOpen`] if it refuses.
    pub(super) fn admit(
        &self,
        key: &K,
        org: &OrgId,
        asking: Asking,
        now: Instant,
        rules: &Rules,
    ) -> Result<Pass, CircuitOpen> {
        let pass = self.with(key, |shard| match (shard.breakers.get_mut(key), asking) {
            (None, _) => Ok(Pass::UNNOTED),
            (Some(breaker), Asking::Nothing) => Ok(breaker.pass()),
            (Some(breaker), Asking::Permission) => breaker.admit(org, now, rules),
        });
        pass.map_err(|refused: Refused| refused.into())
    }

    pub(super) fn would_refuse(&self, key: &K, org: &OrgId, now: Instant, rules: &Rules) -> bool {
        self.with(key, |shard| shard.breakers.get(key).is_some_and(|b| b.refusal(org, now, rules).is_some()))
    }

    /// Takes up how a request ended; with `noted`, also if nothing is known of its breaker yet.
    pub(super) fn settle(
        &self,
        key: &K,
        org: &OrgId,
        (pass, outcome, noted): (Pass, Outcome, bool),
        now: Instant,
        rules: &Rules,
    ) -> Option<Change> {
        // Why only for these: a random number is a system call.
        let chance = if outcome == Outcome::Failed { jitter() } else { 0.0 };
        self.with(key, |shard| {
            if !shard.breakers.contains_key(key) {
                if !noted || !shard.make_room(self.most, outcome, now, rules) {
                    return None;
                }
                shard.breakers.insert(key.clone(), Breaker::new(now));
            }
            shard.breakers.get_mut(key)?.settle(org, pass, outcome, now, chance, rules)
        })
    }

    /// What can be seen of one breaker.
    pub(super) fn glance(&self, key: &K, now: Instant) -> Option<Glance> {
        self.with(key, |shard| shard.breakers.get(key)?.glance(now))
    }

    /// Those that are not closed. Breakers of which nobody has heard for a long time are forgotten.
    pub(super) fn not_closed(&self, now: Instant, rules: &Rules) -> Vec<(K, Glance)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.breakers.retain(|_, breaker| !breaker.is_idle(now, rules));
            all.extend(shard.breakers.iter().filter_map(|(key, b)| Some((key.clone(), b.glance(now)?))));
        }
        all
    }

    /// How many are closed, open and half open.
    pub(super) fn counts(&self, now: Instant) -> [usize; 3] {
        let [mut closed, mut open, mut half_open] = [0; 3];
        for shard in &self.shards {
            for breaker in lock(shard).breakers.values() {
                match breaker.glance(now) {
                    None => closed += 1,
                    Some(Glance { is_half_open: false, .. }) => open += 1,
                    Some(_) => half_open += 1,
                }
            }
        }
        [closed, open, half_open]
    }

    fn with<T>(&self, key: &K, act: impl FnOnce(&mut Shard<K>) -> T) -> T {
        let [first, others @ ..] = &self.shards;
        let index = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default();
        let shard = index.checked_sub(1).and_then(|index| others.get(index)).unwrap_or(first);
        act(&mut lock(shard))
    }
}

impl<K: Hash + Eq + Clone> Shard<K> {
    /// Whether there is room for another. For a failure there always is: what is closed and was not used for longest is
    /// forgotten.
    fn make_room(&mut self, most: usize, outcome: Outcome, now: Instant, rules: &Rules) -> bool {
        if self.breakers.len() < most {
            return true;
        }
        let failed = outcome == Outcome::Failed;
        let looked = self.looked_at.is_some_and(|at| now.saturating_duration_since(at) < LOOKED_THROUGH);
        if failed || !looked {
            self.breakers.retain(|_, breaker| !breaker.is_idle(now, rules));
            self.looked_at = Some(now);
        }
        while failed && self.breakers.len() >= most {
            let last = self.breakers.iter().min_by_key(|(_, breaker)| breaker.rank());
            let Some(key) = last.map(|(key, _)| key.clone()) else { break };
            self.breakers.remove(&key);
        }
        self.breakers.len() < most
    }
}
