//! Waits between tries, longer each time and with a random part, so that nodes do not come back all at once.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(500);

/// The waits of one series of tries.
pub(crate) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Pauses {
    /// Waits between half of the time whose turn it is and all of it.
    pub(crate) async fn wait(&mut self) {
        let most = self.0;
        self.0 = most.saturating_mul(2).min(LONGEST);
        let mut random = [0; 1];
        // Why ignored: without random bytes the wait is the shortest one.
        let _ = getrandom::fill(&mut random);
        let [random] = random;
        let part = most.mul_f64(0.5 + f64::from(random) / 512.0);
        tokio::time::sleep(part).await;
    }
}
