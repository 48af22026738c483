//! What one call of a guest may take, and under which names people know these limits.

use portcullis_core::limits::Limits;

/// What one call of a guest may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestLimits {
    /// Linear memory, bytes.
    pub memory_bytes: u64,
    /// Elements of a table.
    pub table_elements: u64,
    /// Time it may compute, milliseconds.
    pub cpu_ms: u64,
    /// Instructions.
    pub fuel: u64,
    /// Core instances of the component.
    pub(crate) instances: usize,
    /// Linear memories of the component.
    pub(crate) memories: usize,
    pub(crate) names: Names,
    /// Whether somebody else made the guest.
    pub(crate) is_module: bool,
}

/// The names of the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) memory: &'static str,
    pub(crate) cpu: &'static str,
    pub(crate) fuel: &'static str,
}

/// Limits of a definition below the platform's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnLimits {
    pub memory_bytes: Option<u64>,
    pub cpu_ms: Option<u64>,
}

impl GuestLimits {
    /// Those of the handler that serves every HTTP connector.
    #[must_use]
    pub const fn handler(limits: &Limits) -> Self {
        Self {
            memory_bytes: limits.guest_memory_bytes,
            table_elements: limits.guest_table_elements,
            cpu_ms: limits.guest_cpu_ms,
            fuel: limits.guest_fuel,
            instances: 16,
            memories: 1,
            names: Names { memory: "guest_memory_bytes", cpu: "guest_cpu_ms", fuel: "guest_fuel" },
            is_module: false,
        }
    }

    /// Those of modules.
    #[must_use]
    pub const fn module(limits: &Limits) -> Self {
        Self {
            memory_bytes: limits.module_memory_bytes,
            table_elements: limits.module_table_elements,
            cpu_ms: limits.module_cpu_ms,
            fuel: limits.module_fuel,
            // Why more: language runtimes are composed of several core modules, adapters included.
            instances: 50,
            memories: 4,
            names: Names { memory: "module_memory_bytes", cpu: "module_cpu_ms", fuel: "module_fuel" },
            is_module: true,
        }
    }

    /// The same, lowered.
    #[must_use]
    pub fn lowered(self, own: OwnLimits) -> Self {
        Self {
            memory_bytes: own.memory_bytes.unwrap_or(u64::MAX).min(self.memory_bytes),
            cpu_ms: own.cpu_ms.unwrap_or(u64::MAX).min(self.cpu_ms),
            ..self
        }
    }
}
