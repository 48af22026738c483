//! What went wrong in a use case: whose fault, which code, and what a person can do. No HTTP: the API renders it.
//!
//! The caller's message never quotes a secret, an address or a path of this machine; details for the operator go to
//! the log.

use portcullis_admission::Refused;
use portcullis_core::fault::{Code, Fault};
use portcullis_core::id::InvalidId;
use portcullis_core::violation::{MORE, Violation};
use portcullis_store::{LedgerError, StoreError, VaultError};

use crate::call::run::Run;
use crate::modules::ModuleReport;
use crate::modules::capability::Widening;

/// An error of a use case.
#[derive(Debug, Clone)]
pub struct Error {
    /// Its code, which also says whose fault it is.
    pub code: Code,
    /// What happened, for people.
    pub detail: String,
    /// JSON pointer to the member that is wrong.
    pub pointer: Option<String>,
    /// Every violation in a document.
    pub violations: Vec<Violation>,
    /// The run that was refused or failed.
    pub run: Option<Box<Run>>,
    /// The report of a module that was refused.
    pub module: Option<Box<ModuleReport>>,
    /// What a connector's module would be able to do besides.
    pub widening: Option<Box<Widening>>,
    /// Seconds after which a retry makes sense, if known.
    pub retry_after_s: Option<u64>,
}

impl Error {
    /// An error with a sentence that says what happened.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            pointer: None,
            violations: Vec::new(),
            run: None,
            module: None,
            widening: None,
            retry_after_s: None,
        }
    }

    /// An error for which the code's sentence is enough.
    #[must_use]
    pub fn plain(code: Code) -> Self {
        Self::new(code, code.title())
    }

    /// Violations of the rules of one document.
    #[must_use]
    pub fn violations(code: Code, violations: Vec<Violation>) -> Self {
        let detail = match violations.as_slice() {
            [one] => format!("{}: {}", one.pointer, one.message),
            [several @ .., last] if last.code == MORE => {
                format!("more than {} problems; see errors for the first of them", several.len())
            }
            several => format!("{} problems; see errors", several.len()),
        };
        let pointer = violations.first().map(|violation| violation.pointer.clone());
        Self { pointer, violations, ..Self::new(code, detail) }
    }

    /// One violation of a rule of a document.
    #[must_use]
    pub fn violation(pointer: impl Into<String>, rule: &'static str, message: impl Into<String>) -> Self {
        Self::violations(Code::ValidationFailed, vec![Violation::new(pointer, rule, message)])
    }

    /// Adds the pointer to the member that is wrong.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// Whether the operator should see it in the log.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.code.fault() == Fault::Internal
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::new(
                Code::RevisionMismatch,
                "the record changed while this request was handled; read it and try again",
            ),
            StoreError::TooLarge { bytes, limit, .. } => {
                Self::new(Code::BodyTooLarge, format!("the record is {bytes} bytes, the limit is {limit}"))
            }
            StoreError::DamagedFile { file, reason } | StoreError::DamagedRow { row: file, reason } => {
                tracing::error!(file, reason, "run records");
                Self::new(Code::StoreUnavailable, format!("records of runs are damaged: {file}: {reason}"))
            }
            other => {
                tracing::error!(error = %other, "store");
                Self::plain(Code::StoreUnavailable)
            }
        }
    }
}

impl From<VaultError> for Error {
    fn from(error: VaultError) -> Self {
        tracing::error!(%error, "vault");
        match error {
            // Why named: it tells nothing of the key, and the operator looks for the node that lacks it.
            VaultError::MasterKeyMissing { key_id } => {
                let detail =
                    format!("this node does not have master key {key_id}; its operator has to add it");
                Self::new(Code::KeyUnavailable, detail)
            }
            VaultError::Provider(_) => Self::plain(Code::KeyUnavailable),
            _ => Self::plain(Code::Internal),
        }
    }
}

impl From<LedgerError> for Error {
    fn from(error: LedgerError) -> Self {
        tracing::error!(%error, "ledger");
        match error {
            LedgerError::Damaged { org, bad } => {
                Self::new(Code::LedgerUnavailable, format!("the ledger of {org} is damaged: {bad}"))
            }
            _ => Self::plain(Code::LedgerUnavailable),
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::new(refused.code(), refused.to_string())
    }
}

impl From<InvalidId> for Error {
    fn from(error: InvalidId) -> Self {
        Self::new(Code::ValidationFailed, error.to_string())
    }
}
