//! A sliding window: at most this number of requests in any period, for each key, first come first served.
//!
//! A slot is reserved when it is requested, so waiting calls neither wake together nor overtake each other; a slot
//! whose call was dropped is released.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use portcullis_core::sync::lock;
use tokio::time::Instant;

/// Number of keys after which unused ones are dropped.
const KEYS_MAX: usize = 10_000;

/// The reserved slots of every key.
pub(super) struct Window {
    most: usize,
    per: Duration,
    // Invariant: the slots of a key are in order.
    turns: Mutex<HashMap<String, VecDeque<Instant>>>,
}

/// A reserved slot; released if it is dropped before its time.
pub(super) struct Turn<'w> {
    window: &'w Window,
    key: String,
    at: Instant,
    came: bool,
}

impl Window {
    /// `most` requests, at least one, in any period of `per`.
    pub(super) fn new(most: u32, per: Duration) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
        Self { most, per, turns: Mutex::default() }
    }

    /// Reserves the next slot of a key.
    ///
    /// # Errors
    /// The wait that would be needed, if it ends after `deadline`.
    pub(super) fn reserve(&self, key: &str, deadline: Instant) -> Result<Turn<'_>, Duration> {
        let now = Instant::now();
        let mut keys = self.turns();
        if keys.len() >= KEYS_MAX {
            keys.retain(|_, turns| turns.back().is_some_and(|last| *last + self.per > now));
        }
        let turns = keys.entry(key.to_owned()).or_default();
        while turns.front().is_some_and(|first| *first + self.per <= now) {
            turns.pop_front();
        }
        let before = turns.len().checked_sub(self.most).and_then(|index| turns.get(index));
        let at = before.map_or(now, |before| *before + self.per);
        if at > deadline {
            return Err(at - now);
        }
        turns.push_back(at);
        drop(keys);
        Ok(Turn { window: self, key: key.to_owned(), at, came: false })
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Instant>>> {
        lock(&self.turns)
    }
}

impl Turn<'_> {
    /// Waits for its time.
    pub(super) async fn come(mut self) {
        tokio::time::sleep_until(self.at).await;
        self.came = true;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.came {
            return;
        }
        let mut keys = self.window.turns();
        if let Some(turns) = keys.get_mut(&self.key)
            && let Some(index) = turns.iter().rposition(|at| *at == self.at)
        {
            turns.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds from now, to the nearest hundred.
    fn wait_ms(turn: &Turn<'_>) -> u128 {
        (turn.at.saturating_duration_since(Instant::now()).as_millis() + 50) / 100 * 100
    }

    fn within(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[test]
    fn no_stretch_of_time_has_more_than_its_requests() {
        let window = Window::new(3, Duration::from_secs(10));
        let turns: Vec<Turn<'_>> = (0..10).filter_map(|_| window.reserve("a", within(60)).ok()).collect();
        let waits: Vec<u128> = turns.iter().map(wait_ms).collect();
        assert_eq!(waits, [0, 0, 0, 10_000, 10_000, 10_000, 20_000, 20_000, 20_000, 30_000]);
        assert_eq!(wait_ms(&window.reserve("b", within(60)).ok().unwrap()), 0, "another key has its own");
    }

    #[test]
    fn a_wait_that_is_too_long_is_told_and_a_turn_that_was_left_is_given_back() {
        let window = Window::new(1, Duration::from_secs(10));
        let _first = window.reserve("a", within(60)).ok().unwrap();
        let waiting = window.reserve("a", within(60)).ok().unwrap();
        assert_eq!(wait_ms(&waiting), 10_000);
        assert_eq!(window.reserve("a", within(15)).err().unwrap().as_secs_f64().round(), 20.0);
        drop(waiting);
        assert_eq!(wait_ms(&window.reserve("a", within(15)).ok().unwrap()), 10_000);
    }
}
