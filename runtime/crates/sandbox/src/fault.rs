//! How loading a component or running a call goes wrong. A guest's trap never becomes the host's.

use portcullis_core::fault::Code;

/// Why a component is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The engine itself could not be built.
    #[error("the sandbox cannot be built: {0}")]
    Engine(String),
    /// Larger than the limit.
    #[error("the component is {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: u64,
    },
    /// Not a component that the engine accepts.
    #[error("not a component this runtime can load: {0}")]
    Invalid(String),
    /// It wants more than the one way out.
    #[error("the component imports {0}; only portcullis:connector/outbound-http@0.1.0 exists here")]
    ForbiddenImport(String),
    /// It does not export the handler.
    #[error("the component does not export portcullis:connector/handler@0.1.0")]
    NoHandler,
}

/// How a call ended when the guest did not return.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SandboxFault {
    /// It trapped. The text is for the log.
    #[error("the guest trapped: {0}")]
    Trapped(String),
    /// It computed for longer than `guest_cpu_ms` or `guest_fuel` allow.
    #[error("the guest used up its time")]
    OutOfTime,
    /// Its output is larger than `guest_output_bytes`.
    #[error("the guest's output is larger than {0} bytes")]
    OutputTooLarge(u64),
    /// As many calls run as `concurrent_calls` allows.
    #[error("as many calls are running as may")]
    Full,
}

impl SandboxFault {
    /// The code for the run.
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
