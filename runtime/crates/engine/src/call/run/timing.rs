//! Where the time of a call went: for its line and for the metrics, and in no record.

use portcullis_core::ledger::PhaseDurations;

use super::Progress;

/// The time of a call by phase, microseconds. Absent phases did not happen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timing {
    /// Until its turn, and until a worker had it.
    pub(crate) queue_us: Option<u64>,
    pub(crate) guest_us: Option<u64>,
    pub(crate) dns_us: Option<u64>,
    pub(crate) connect_us: Option<u64>,
    pub(crate) tls_us: Option<u64>,
    /// The rest of its requests.
    pub(crate) upstream_us: Option<u64>,
    /// From its turn to its end.
    pub(crate) total_us: u64,
}

impl Progress {
    /// Where its time went.
    pub(crate) fn timing(&self) -> Timing {
        let PhaseDurations { dns_us, connect_us, tls_us, .. } = self.phases;
        let connecting = [dns_us, connect_us, tls_us].into_iter().flatten().fold(0, u64::saturating_add);
        let has_run = !self.timeline.attempts().is_empty();
        Timing {
            queue_us: self.queue_us,
            guest_us: has_run.then_some(self.guest_us),
            dns_us,
            connect_us,
            tls_us,
            upstream_us: self.timeline.has_sent().then(|| self.usage.upstream_us.saturating_sub(connecting)),
            total_us: self.usage.total_us,
        }
    }
}
