//! `/admin/storage`: what is stored.

use portcullis_engine::Error;
use portcullis_engine::storage::{self, StorageUse};
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Json;
use crate::request::{Context, NoParameters};

/// What of one kind is stored.
#[derive(Serialize, JsonSchema)]
pub(crate) struct StorageKind {
    /// `store`, `ledger`, `runs`, `modules` or `compiled`.
    kind: &'static str,
    /// Bytes on disk.
    bytes: u64,
    /// Number of records, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
}

/// What is stored.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Storage")]
pub(crate) struct StorageDocument {
    kinds: Vec<StorageKind>,
    /// Bytes that `portcullis compact` would give back, estimated; absent where the store gives them back itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    reclaimable_bytes: Option<u64>,
    /// Whether that is worth the stop that it needs.
    compact_pays: bool,
    /// How old the figures are, besides those of the store: seconds.
    age_s: u64,
}

impl From<StorageUse> for StorageDocument {
    fn from(used: StorageUse) -> Self {
        let kinds = used.kinds.into_iter();
        let kinds = kinds.map(|one| StorageKind { kind: one.kind, bytes: one.bytes, records: one.records });
        Self {
            kinds: kinds.collect(),
            reclaimable_bytes: used.reclaimable_bytes,
            compact_pays: used.compact_pays,
            age_s: used.age_s,
        }
    }
}

/// Reads what is stored.
pub(crate) async fn show(context: Context, _: NoParameters, (): ()) -> Result<Json<StorageDocument>, Error> {
    let used = storage::show(context.engine(), context.caller()?).await?;
    Ok(Json(used.into()))
}
