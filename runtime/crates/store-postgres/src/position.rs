//! Positions: numbers that order the records of all nodes, roughly by time, and exactly those of one writer.
//!
//! A position is a time in microseconds, times 2048, and the number of the process that wrote. Two writers never take the
//! same one, and no writer takes one that is not after its last, whatever the clock says.

use std::time::{SystemTime, UNIX_EPOCH};

/// Bits below the time.
const WRITER_BITS: u32 = 11;

/// Latest time that a position can have: the year 2112.
const US_MAX: i64 = i64::MAX >> WRITER_BITS;

/// Gives out positions of one process.
#[derive(Debug)]
pub(crate) struct Positions {
    writer: i64,
    last_us: i64,
}

impl Positions {
    /// For the process with this number.
    pub(crate) const fn new(number: i64) -> Self {
        Self { writer: number.rem_euclid(1 << WRITER_BITS), last_us: 0 }
    }

    /// A position at this time, or right after `before` and the last one given out.
    pub(crate) fn next(&mut self, us: i64, before: i64) -> i64 {
        let least = self.last_us.max(before >> WRITER_BITS).saturating_add(1);
        self.last_us = us.max(least).min(US_MAX);
        (self.last_us << WRITER_BITS) | self.writer
    }
}

/// The first position of a time in microseconds since 1970.
pub(crate) fn first_at(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(US_MAX).min(US_MAX) << WRITER_BITS
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(US_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_grow_whatever_the_clock_says_and_differ_between_writers() {
        let (mut one, mut two) = (Positions::new(1), Positions::new(2));
        let (first, second) = (one.next(1_000, 0), two.next(1_000, 0));
        assert_ne!(first, second);
        let mut last = first;
        for us in [1_000, 999, 0, 5_000, 5_000, 4_000] {
            let next = one.next(us, 0);
            assert!(next > last, "{us}");
            last = next;
        }
        assert!(two.next(1, last) > last, "after what another wrote");
        assert!(first >= first_at(1_000) && first < first_at(1_001));
        assert_eq!(Positions::new(2049).next(7, 0), Positions::new(1).next(7, 0));
        assert!(Positions::new(3).next(i64::MAX, 0) > 0);
    }
}
