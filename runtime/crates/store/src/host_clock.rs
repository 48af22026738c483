//! The time for which a host has run, with that for which it was suspended.
//!
//! [`std::time::Instant`] stands still while a host is suspended: what was known before would count as new after it, though
//! the other nodes went on. Used where the age of what is known decides what may be done.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The clock: the one that goes on where the system has it.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

/// A moment of this host, since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostInstant(Duration);

impl HostInstant {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let time = clock_gettime(CLOCK);
        // Why zero for what is negative: there is no time before the start.
        let (secs, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
        Self(Duration::new(secs.unwrap_or_default(), nanos.unwrap_or_default()))
    }

    /// How long ago this was.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// The time from an earlier moment; zero if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment after this time.
    #[must_use]
    pub const fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    /// The moment this long before; at least the host's start.
    #[must_use]
    pub const fn minus(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_apart_by_what_passed_between_them() {
        let (hour, start) = (Duration::from_secs(3600), HostInstant::now());
        assert!(HostInstant::now() >= start);
        assert_eq!(start.plus(hour).since(start), hour);
        assert_eq!(start.since(start.plus(hour)), Duration::ZERO);
        assert_eq!(start.plus(hour).minus(hour), start);
        assert_eq!(start.plus(hour).elapsed(), Duration::ZERO);
    }

    /// The kernel's own number, in which the time of a suspended host is.
    #[cfg(target_os = "linux")]
    #[test]
    fn it_is_the_time_since_the_host_s_start() {
        let uptime = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            Duration::from_secs_f64(text.split(' ').next().unwrap().parse().unwrap())
        };
        let (before, now, after) = (uptime(), HostInstant::now(), uptime());
        // The file has hundredths of a second.
        let least = Duration::from_millis(20);
        assert!(now.0 + least >= before && now.0 <= after + least, "{before:?} {now:?} {after:?}");
    }
}
