//! Errors of loading a component and of running a call. A guest's trap never becomes a panic of the host.

use portcullis_core::fault::Code;

/// Why a component cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The engine itself could not be built.
    #[error("the sandbox cannot be built: {0}")]
    Engine(String),
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

/// Why a call ended without a result of the guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SandboxFault {
    /// The text is for the log.
    #[error("the guest trapped: {0}")]
    Trapped(String),
    /// It computed for longer than `guest_cpu_ms` or `guest_fuel` allow.
    #[error("the guest used up its time")]
    OutOfTime,
    /// Its output is larger than `guest_output_bytes`.
    #[error("the guest's output is larger than {0} bytes")]
    OutputTooLarge(u64),
    /// As many calls are running as `concurrent_calls` allows.
    #[error("the limit of concurrent calls is reached")]
    Full,
}

impl SandboxFault {
    /// The code of the run.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Trapped(_) => Code::GuestTrapped,
            Self::OutOfTime => Code::GuestTimeout,
            Self::OutputTooLarge(_) => Code::GuestOutputInvalid,
            Self::Full => Code::Overloaded,
        }
    }
}
