//! The memory and table limits of one instance. wasmtime asks before every growth.

use wasmtime::ResourceLimiter;

use crate::guest_limits::GuestLimits;

/// Memory and table limits of one call, and the highest memory it reached.
pub(crate) struct Bounds {
    memory_bytes_max: usize,
    table_elements_max: usize,
    instances_max: usize,
    memories_max: usize,
    /// Linear memory of all memories together, bytes.
    memory_bytes: usize,
    pub(crate) memory_peak_bytes: usize,
    /// Whether the instance asked for more memory than it may have.
    pub(crate) memory_denied: bool,
}

impl Bounds {
    pub(crate) fn new(limits: &GuestLimits) -> Self {
        Self {
            memory_bytes_max: usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX),
            table_elements_max: usize::try_from(limits.table_elements).unwrap_or(usize::MAX),
            instances_max: limits.instances,
            memories_max: limits.memories,
            memory_bytes: 0,
            memory_peak_bytes: 0,
            memory_denied: false,
        }
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Why together: a guest with several memories has no more than one with one.
        let all = self.memory_bytes.saturating_sub(current).saturating_add(desired);
        let allowed = all <= self.memory_bytes_max;
        if allowed {
            self.memory_bytes = all;
            self.memory_peak_bytes = self.memory_peak_bytes.max(all);
        } else {
            self.memory_denied = true;
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_elements_max)
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn memories(&self) -> usize {
        self.memories_max
    }

    fn tables(&self) -> usize {
        16
    }
}
