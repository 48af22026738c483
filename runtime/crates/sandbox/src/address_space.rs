//! How much address space the slots of guests reserve. Called once, when the engine is built.
//!
//! Reserving costs no memory. With 4 GiB for each guest, whatever address its code computes is its own or inaccessible,
//! so its machine code needs no checks. Where the process may not use that much, a slot is only as large as a guest's
//! memory may become, and the code checks every access.

use portcullis_core::limits::Limits;
use rustix::process::{Resource, getrlimit};

use crate::engine::{ASYNC_STACK_BYTES, TABLES_PER_COMPONENT};
use crate::fault::LoadError;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// What a process can address at most: 47 bits on x86-64, more elsewhere, less what is far apart.
const ADDRESSABLE: u64 = 120 * 1024 * GIB;
/// What the rest of the process is left: stacks of threads, the allocator's arenas, the store, machine code, and the
/// answers of calls.
const OTHERS: u64 = 4 * GIB;
/// Bytes of a table's element.
const ELEMENT_BYTES: u64 = 16;

/// How slots of guest memories are reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reservation {
    /// Everything that 32 bits can address.
    Whole,
    /// As much as a guest may use.
    Exact,
}

impl Reservation {
    /// Bytes of one memory.
    pub(crate) const fn memory_bytes(self, limits: &Limits) -> u64 {
        match self {
            Self::Whole => 4 * GIB,
            Self::Exact => limits.guest_memory_bytes,
        }
    }

    /// Inaccessible bytes behind it.
    pub(crate) const fn guard_bytes(self) -> u64 {
        match self {
            Self::Whole => 32 * MIB,
            Self::Exact => 64 * 1024,
        }
    }

    /// Address space of one call.
    const fn call_bytes(self, limits: &Limits) -> u64 {
        let tables = TABLES_PER_COMPONENT as u64 * limits.guest_table_elements * ELEMENT_BYTES;
        // With the stack's guard page, and what rounding to pages adds.
        let stack = ASYNC_STACK_BYTES as u64 + 64 * 1024;
        self.memory_bytes(limits).saturating_add(self.guard_bytes()).saturating_add(tables + stack)
    }

    const fn all_bytes(self, limits: &Limits) -> u64 {
        self.call_bytes(limits).saturating_mul(limits.concurrent_calls).saturating_add(self.guard_bytes())
    }
}

/// How to reserve, in the address space that the process has left.
///
/// # Errors
/// [`LoadError::AddressSpace`] if it fits in no way.
pub(crate) fn reservation(limits: &Limits) -> Result<Reservation, LoadError> {
    let reservation = fitting(limits, left())?;
    if reservation == Reservation::Exact {
        tracing::warn!(
            limit = limits.concurrent_calls,
            "the address space of this process (ulimit -v; LimitAS of systemd) is too small for 4 GiB for each of \
             limits.concurrent_calls: guests get exactly their memory and compute slower"
        );
    }
    Ok(reservation)
}

fn fitting(limits: &Limits, left: u64) -> Result<Reservation, LoadError> {
    let left = left.saturating_sub(OTHERS);
    for reservation in [Reservation::Whole, Reservation::Exact] {
        if reservation.all_bytes(limits) <= left {
            return Ok(reservation);
        }
    }
    let (calls, needed) = (limits.concurrent_calls, Reservation::Exact.all_bytes(limits));
    let guard = Reservation::Exact.guard_bytes();
    let fit = left.saturating_sub(guard) / Reservation::Exact.call_bytes(limits);
    // Why less than would fit: what else is reserved differs a little from start to start.
    let fit = fit - fit.div_ceil(20);
    Err(LoadError::AddressSpace { calls, needed, left, fit })
}

/// Bytes that the process may still reserve.
fn left() -> u64 {
    let allowed = getrlimit(Resource::As).current.unwrap_or(u64::MAX);
    allowed.min(ADDRESSABLE).saturating_sub(used())
}

/// Bytes that it has reserved already; 0 if the system does not say.
fn used() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').next().and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default();
    pages.saturating_mul(u64::try_from(rustix::param::page_size()).unwrap_or(4096))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_reserve_four_gib_for_each_call_where_there_is_room_and_their_memory_where_there_is_not() {
        let limits = Limits::default();
        assert_eq!(fitting(&limits, ADDRESSABLE).unwrap(), Reservation::Whole);
        let whole = Reservation::Whole.all_bytes(&limits) + OTHERS;
        assert_eq!(fitting(&limits, whole).unwrap(), Reservation::Whole);
        assert_eq!(fitting(&limits, whole - 1).unwrap(), Reservation::Exact);
        assert_eq!(fitting(&limits, 64 * GIB).unwrap(), Reservation::Exact);
        let exact = Reservation::Exact.all_bytes(&limits) + OTHERS;
        assert_eq!(fitting(&limits, exact).unwrap(), Reservation::Exact);
        assert!(fitting(&limits, exact - 1).is_err());
    }

    #[test]
    fn a_refusal_names_the_limit_and_the_number_that_fits() {
        let mut limits = Limits::default();
        let refused = fitting(&limits, 12 * GIB).unwrap_err();
        let LoadError::AddressSpace { fit, .. } = refused else { panic!("{refused:?}") };
        let text = refused.to_string();
        for part in
            ["limits.concurrent_calls is 1000", "ulimit -v", &format!("to {fit} or less"), "8.0 GiB left"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        limits.concurrent_calls = fit;
        assert_eq!(fitting(&limits, 12 * GIB).unwrap(), Reservation::Exact);
        limits.concurrent_calls = fit + fit / 10;
        assert!(fitting(&limits, 12 * GIB).is_err());
        let none = fitting(&limits, GIB).unwrap_err().to_string();
        assert!(none.contains("raise it") && !none.contains("set limits"), "{none}");
    }
}
