//! The turns of a budget that several nodes share, as they stand in its record: at most so many in any period, first come
//! first served. No I/O, and time is an argument.
//!
//! The same sliding window as that of one process, with times in steps of a 64th of the period. A turn is counted at the
//! end of its step, so a record has few entries and grants never more than the budget: a little less.

use portcullis_store::RateRecord;

/// Steps of a period.
const STEPS: u64 = 64;

/// How many requests in which period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// At least one.
    most: u64,
    /// Milliseconds; a multiple of the step.
    per: u64,
    step: u64,
}

impl Rate {
    /// `most` requests in any period of `per_ms`.
    pub(super) fn new(most: u32, per_ms: u32) -> Self {
        let step = (u64::from(per_ms) / STEPS).max(1);
        let per = u64::from(per_ms.max(1)).div_ceil(step) * step;
        Self { most: u64::from(most).max(1), per, step }
    }

    /// Notes the time, and forgets what is over.
    pub(super) fn begin(self, record: &mut RateRecord, now_ms: u64) {
        record.at_ms = record.at_ms.max(now_ms);
        let now = record.at_ms;
        record.turns.retain(|(at, count)| *count > 0 && at.saturating_add(self.per) > now);
    }

    /// Grants the next turn: its time, and how long after the record's time that is.
    ///
    /// # Errors
    /// The wait that would be needed, if it is longer than `patience_ms`.
    pub(super) fn grant(self, record: &mut RateRecord, patience_ms: u64) -> Result<Granted, u64> {
        let now = record.at_ms;
        let held: u64 = record.turns.iter().map(|(_, count)| u64::from(*count)).sum();
        let (at, wait) = match held.checked_sub(self.most) {
            None => (now.div_ceil(self.step).saturating_mul(self.step), 0),
            Some(before) => {
                let at = nth(record, before).unwrap_or(now).saturating_add(self.per);
                (at, at.saturating_sub(now))
            }
        };
        if wait > patience_ms {
            return Err(wait);
        }
        let place = record.turns.partition_point(|(other, _)| *other < at);
        match record.turns.get_mut(place) {
            Some((other, count)) if *other == at => *count = count.saturating_add(1),
            _ => record.turns.insert(place, (at, 1)),
        }
        let last = record.turns.last().map_or(at, |(last, _)| *last);
        record.over_ms = last.saturating_add(self.per);
        Ok(Granted { at, wait })
    }

    /// Takes a turn back whose time has not come.
    pub(super) fn give_back(self, record: &mut RateRecord, at: u64) {
        let found = record.turns.iter_mut().find(|(other, _)| *other == at && at > record.at_ms);
        if let Some((_, count)) = found {
            *count = count.saturating_sub(1);
        }
    }
}

/// A turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Granted {
    /// The time that it is counted at, by the record.
    pub(super) at: u64,
    /// Milliseconds until then; 0 for a turn that is now.
    pub(super) wait: u64,
}

/// The time of a turn, counted from the oldest.
fn nth(record: &RateRecord, index: u64) -> Option<u64> {
    let mut seen = 0_u64;
    record.turns.iter().find_map(|(at, count)| {
        seen = seen.saturating_add(u64::from(*count));
        (seen > index).then_some(*at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENT: u64 = 3_600_000;

    /// The waits of this many turns that are asked for now.
    fn waits(rate: Rate, record: &mut RateRecord, now_ms: u64, count: usize) -> Vec<u64> {
        rate.begin(record, now_ms);
        (0..count).filter_map(|_| rate.grant(record, PATIENT).ok()).map(|granted| granted.wait).collect()
    }

    #[test]
    fn no_stretch_of_time_has_more_than_its_requests() {
        let (rate, mut record) = (Rate::new(3, 6400), RateRecord::default());
        assert_eq!(waits(rate, &mut record, 100_000, 8), [0, 0, 0, 6400, 6400, 6400, 12_800, 12_800]);
        assert_eq!(waits(rate, &mut record, 106_400, 1), [6400], "the third of the second period is taken");
        assert_eq!(waits(rate, &mut record, 900_000, 4), [0, 0, 0, 6400], "nothing of it counts any more");
    }

    #[test]
    fn any_order_of_times_grants_at_most_the_budget_in_any_period() {
        let (rate, mut record, mut granted) = (Rate::new(7, 1000), RateRecord::default(), Vec::new());
        let (mut now, mut seed) = (1_000_000_u64, 7_u64);
        for _ in 0..3000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            now += (seed >> 33) % 90;
            // Why back at times: another node's clock.
            rate.begin(&mut record, now - (seed >> 40) % 50);
            if let Ok(one) = rate.grant(&mut record, 300) {
                granted.push(record.at_ms + one.wait);
            }
        }
        granted.sort_unstable();
        assert!(granted.len() > 500, "{}", granted.len());
        for stretch in granted.windows(8) {
            assert!(stretch[7] - stretch[0] >= 1000, "eight within {} ms", stretch[7] - stretch[0]);
        }
        assert!(record.turns.len() < 200, "{}", record.turns.len());
    }

    #[test]
    fn a_wait_that_is_too_long_is_told_and_a_turn_that_was_left_is_given_back() {
        let (rate, mut record) = (Rate::new(1, 6400), RateRecord::default());
        rate.begin(&mut record, 64_000);
        rate.grant(&mut record, 0).unwrap();
        let waiting = rate.grant(&mut record, PATIENT).unwrap();
        assert_eq!(rate.grant(&mut record, 10_000), Err(12_800));
        rate.give_back(&mut record, waiting.at);
        rate.begin(&mut record, 64_000);
        assert_eq!(rate.grant(&mut record, 10_000).unwrap().wait, 6400);
        rate.give_back(&mut record, 64_000);
        assert_eq!(rate.grant(&mut record, 10_000), Err(12_800), "a turn that has come stays counted");
    }
}
