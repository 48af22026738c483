//! What a job needs to be executed, sealed: the resolved input, and the source it was made of.

use portcullis_core::fault::Code;
use portcullis_core::id::{OrgId, RunId, WorkspaceId};
use portcullis_core::offload;
use portcullis_store::{JobName, VaultError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::input_of;
use crate::engine::Engine;
use crate::error::Error;

/// See the module's documentation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Payload {
    /// A value for each input of the action.
    pub(super) input: Map<String, Value>,
    /// The document that an automation's mapping read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<Map<String, Value>>,
}

/// Why there is no payload.
pub(super) enum Lost {
    /// It was erased, or does not open.
    Gone,
    /// The workspace's key is gone: the workspace was deleted.
    Shredded,
    /// It cannot be read now.
    Failed(Error),
}

impl Payload {
    /// Seals it for a run.
    ///
    /// # Errors
    /// `body_too_large`, and those of the vault.
    pub(super) async fn seal(
        &self,
        engine: &Engine,
        org: &OrgId,
        workspace: &WorkspaceId,
        run: &RunId,
    ) -> Result<Vec<u8>, Error> {
        let text = Zeroizing::new(serde_json::to_vec(self).map_err(|_| Error::plain(Code::Internal))?);
        let limit = engine.limits().job_input_bytes;
        if text.len() as u64 > limit {
            let bytes = text.len();
            let detail = format!(
                "input and source together are {bytes} bytes, the limit for a run that is executed later is {limit} \
                 (limits.job_input_bytes)"
            );
            return Err(Error::new(Code::BodyTooLarge, detail));
        }
        offload::over(text.len()).await;
        Ok(engine.resources.vault.seal_content(&input_of(org, workspace, run), &text).await?)
    }

    /// Opens the payload of a job.
    pub(super) async fn open(engine: &Engine, job: &JobName) -> Result<Self, Lost> {
        let read = engine.jobs.store.input(job).await.map_err(|error| Lost::Failed(error.into()))?;
        let sealed = read.ok_or(Lost::Gone)?;
        offload::over(sealed.len()).await;
        let binding = input_of(&job.org, &job.workspace, &job.run_id);
        match engine.resources.vault.open_content(&binding, &sealed).await {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                tracing::error!(run_id = %job.run_id, column = error.column(), "a run's input cannot be read");
                Lost::Gone
            }),
            Err(VaultError::NoWorkspaceKey { .. }) => Err(Lost::Shredded),
            Err(VaultError::Store(error)) => Err(Lost::Failed(error.into())),
            Err(error) => {
                tracing::error!(%error, run_id = %job.run_id, "a run's input cannot be opened");
                Err(Lost::Gone)
            }
        }
    }
}
