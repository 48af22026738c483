//! What a step costs: CPU of its thread, and by how much it raises what is resident.

use std::fmt;
use std::fs;

/// What a step may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    /// CPU whatever the size, milliseconds.
    pub(crate) ms: u64,
    /// CPU for each byte that was supplied, nanoseconds.
    pub(crate) ns_per_byte: u64,
    /// Memory whatever the size, MiB.
    pub(crate) mib: usize,
    /// Memory for each byte that was supplied.
    pub(crate) times: usize,
}

/// A step that cost too much.
#[derive(Debug)]
pub(crate) struct TooDear(String);

impl fmt::Display for TooDear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs a step on so many supplied bytes, and holds its cost against the allowance.
pub(crate) fn step<T>(
    name: &str,
    supplied: usize,
    allowed: Allowance,
    work: impl FnOnce() -> T,
) -> Result<T, TooDear> {
    // proc(5): `5` sets the peak back to what is resident now.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let before = peak_kib();
    let started = cpu_ns();
    let result = work();
    let ns = cpu_ns().saturating_sub(started);
    let bytes = peak_kib().saturating_sub(before) << 10;
    let ns_max = allowed.ms * 1_000_000 + allowed.ns_per_byte * supplied as u64;
    let bytes_max = (allowed.mib << 20) + allowed.times * supplied;
    if ns > ns_max || bytes > bytes_max {
        return Err(TooDear(format!(
            "{name} of {supplied} bytes took {} ms of CPU (allowed {}) and {} KiB (allowed {})",
            ns / 1_000_000,
            ns_max / 1_000_000,
            bytes >> 10,
            bytes_max >> 10
        )));
    }
    Ok(result)
}

/// CPU of this thread so far, nanoseconds (proc(5), `schedstat`).
fn cpu_ns() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

/// Peak of what is resident, KiB (proc(5), `status`).
fn peak_kib() -> usize {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
