//! The memory and table limits of one instance. wasmtime asks before every growth.

use wasmtime::ResourceLimiter;

/// Memory and table limits of one call, and the highest memory it reached.
pub(crate) struct Bounds {
    memory_bytes_max: usize,
    table_elements_max: usize,
    pub(crate) memory_peak_bytes: usize,
    /// Whether the instance asked for more memory than it may have.
    pub(crate) memory_denied: bool,
}

impl Bounds {
    pub(crate) const fn new(memory_bytes_max: usize, table_elements_max: usize) -> Self {
        Self { memory_bytes_max, table_elements_max, memory_peak_bytes: 0, memory_denied: false }
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= self.memory_bytes_max;
        if allowed {
            self.memory_peak_bytes = self.memory_peak_bytes.max(desired);
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
        16
    }

    fn memories(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        4
    }
}
