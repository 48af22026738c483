//! Errors of loading a component and of running a call. A guest's trap never becomes a panic of the host.

use portcullis_core::fault::Code;

/// Why a component cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The engine itself could not be built.
    #[error("the sandbox cannot be built: {0}")]
    Engine(String),
    /// The process may use less address space than its calls would reserve.
    #[error(
        "limits.concurrent_calls is {calls}, which reserves {} GiB of address space, and the process has {} GiB left \
         for that (ulimit -v; LimitAS of systemd): raise it{}",
        tenths(*needed), tenths(*left), or_fewer(*fit)
    )]
    AddressSpace { calls: u64, needed: u64, left: u64, fit: u64 },
    #[error("the component is {bytes} bytes, the limit is {limit}")]
    TooLarge { bytes: usize, limit: u64 },
    #[error("not a component this runtime can load: {0}")]
    Invalid(String),
    /// It imports another interface than the one that exists.
    #[error("the component imports {0}; only portcullis:connector/outbound-http@0.1.0 exists here")]
    ForbiddenImport(String),
    #[error("the component does not export portcullis:connector/handler@0.1.0")]
    NoHandler,
}

/// GiB with one decimal.
fn tenths(bytes: u64) -> String {
    let tenths = bytes / (1024 * 1024 * 1024 / 10);
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn or_fewer(fit: u64) -> String {
    if fit == 0 { String::new() } else { format!(", or set limits.concurrent_calls to {fit} or less") }
}

/// Why a call ended without a result of the guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SandboxFault {
    /// The text is for the log.
    #[error("the guest trapped: {0}")]
    Trapped(String),
    /// It computed for longer than `guest_cpu_ms` allows.
    #[error("the guest computed for longer than limits.guest_cpu_ms allows")]
    OutOfTime,
    /// It executed more instructions than `guest_fuel` allows.
    #[error("the guest executed more instructions than limits.guest_fuel allows")]
    OutOfFuel,
    /// It asked for more memory than it may have.
    #[error("the module needs more memory than it may have (limits.{limit} is {max})")]
    OutOfMemory { limit: &'static str, max: u64 },
    /// What the guest was given, or the request that it makes of it, is too large for it. Nothing was sent.
    #[error(
        "the input, {bytes} bytes with the action, or the request made from it, is too large \
         (limits.{limit} is {max}); nothing was sent"
    )]
    InputTooLarge { bytes: u64, limit: &'static str, max: u64 },
    /// An upstream's answer, or the output that the guest makes of it, is too large for it.
    #[error(
        "the third party answered, but its answer, {bytes} bytes in all, or the output made from it, is too large \
         (limits.{limit} is {max})"
    )]
    AnswerTooLarge { bytes: u64, limit: &'static str, max: u64 },
    /// Its output is larger than `guest_output_bytes`, or it sends more than that at once.
    #[error("the action's output, or a request, is larger than {0} bytes (limits.guest_output_bytes)")]
    OutputTooLarge(u64),
    /// As many calls are running as `concurrent_calls` allows.
    #[error("the limit of concurrent calls is reached")]
    Full,
}

impl SandboxFault {
    /// The sentence for the caller, where the code's own is not enough.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            // Why not: the text is the engine's, for the log.
            Self::Trapped(_) | Self::Full => None,
            other => Some(other.to_string()),
        }
    }

    /// The code of the run.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Trapped(_) | Self::OutOfMemory { .. } => Code::GuestTrapped,
            Self::OutOfTime | Self::OutOfFuel => Code::GuestTimeout,
            Self::InputTooLarge { .. } => Code::RequestTooLarge,
            Self::AnswerTooLarge { .. } | Self::OutputTooLarge(_) => Code::ResponseTooLarge,
            Self::Full => Code::Overloaded,
        }
    }
}
