//! What the operating system says of this process, from `/proc`. Where there is none, these figures are absent.

use std::fs;

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::{add, table};

/// Units of processor time in a second, as Linux tells it to programs on every architecture that this product is for.
const TICKS: f64 = 100.0;

/// What one look at the process found.
#[derive(Debug, Default, PartialEq)]
struct Look {
    cpu_s: Option<f64>,
    start_s: Option<f64>,
    virtual_bytes: Option<u64>,
    resident_bytes: Option<u64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

/// Adds the figures of this process. Blocks for the time of a few reads of `/proc`.
pub(super) fn register(registry: &mut Registry) {
    let read = |name: &str| fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
    let mut look = Look::of(&read("self/stat"), &read("self/status"), &read("self/limits"), &read("stat"));
    look.open_fds = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64);
    if let Some(seconds) = look.cpu_s {
        add(registry, &table::PROCESS_CPU, ConstCounter::new(seconds));
    }
    if let Some(seconds) = look.start_s {
        add(registry, &table::PROCESS_START, ConstGauge::new(seconds));
    }
    for (row, number) in [
        (&table::PROCESS_RSS, look.resident_bytes),
        (&table::PROCESS_VIRTUAL, look.virtual_bytes),
        (&table::PROCESS_FDS, look.open_fds),
        (&table::PROCESS_MAX_FDS, look.max_fds),
    ] {
        if let Some(number) = number {
            add(registry, row, ConstGauge::new(number));
        }
    }
}

impl Look {
    /// Reads the texts of `/proc/self/stat`, `/proc/self/status`, `/proc/self/limits` and `/proc/stat`.
    fn of(stat: &str, status: &str, limits: &str, system: &str) -> Self {
        // Why from the last bracket: the name before it may hold anything.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| rest.split_whitespace().collect());
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        let named = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let kib = |name: &str| named(status, name).map(|kib| kib.saturating_mul(1024));
        let booted = named(system, "btime ");
        Self {
            // Fields 14, 15 and 22 of proc(5), of which the first two are before the bracket.
            cpu_s: ticks(11).zip(ticks(12)).map(|(user, system)| (user + system) / TICKS),
            start_s: booted.zip(ticks(19)).map(|(booted, after)| booted as f64 + after / TICKS),
            virtual_bytes: kib("VmSize:"),
            resident_bytes: kib("VmRSS:"),
            open_fds: None,
            max_fds: named(limits, "Max open files"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read_whatever_the_process_is_called() {
        let stat = "7 (a) b ) R 1 7 7 0 -1 4194304 9 0 0 0 250 50 0 0 20 0 9 0 1000 12 3";
        let status = "Name:\ta\nVmSize:\t  4096 kB\nVmRSS:\t      2 kB\n";
        let limits = "Limit   Soft Limit\nMax open files            1024                 4096   files\n";
        let look = Look::of(stat, status, limits, "cpu 1 2\nbtime 1700000000\n");
        let wanted = Look {
            cpu_s: Some(3.0),
            start_s: Some(1_700_000_010.0),
            virtual_bytes: Some(4096 * 1024),
            resident_bytes: Some(2048),
            open_fds: None,
            max_fds: Some(1024),
        };
        assert_eq!(look, wanted);
        assert_eq!(Look::of("", "", "", ""), Look::default());
    }
}
