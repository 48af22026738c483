//! `portcullis compact`: gives back the space that the store keeps after deletions.

use clap::Args;
use portcullis_store::{CompactStep, Compacted, compact_store};
use serde_json::json;

use super::progress::mib;
use super::{block_on, load, told};
use crate::config::{Config, ConfigArgs, DataDirArgs};
use crate::data_dir::{COMPACTING, DataDir, Refusal};
use crate::output;
use crate::storage::directory_only;

/// Arguments of `compact`.
#[derive(Debug, Args)]
pub(super) struct CompactArgs {
    #[command(flatten)]
    data: DataDirArgs,
    /// The result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Compacts the store of a stopped directory.
pub(super) fn run(args: &CompactArgs) -> u8 {
    told(load(&ConfigArgs::from(&args.data)).and_then(|config| {
        directory_only(&config, "compact", "its autovacuum, or VACUUM FULL, gives space back")?;
        let _data_dir = DataDir::open(&config, "compact")?;
        let done = block_on(compact(&config)).and_then(|done| done).map_err(Refusal::failed)?;
        let Compacted { records, bytes_before, bytes_after } = done;
        let given_back = bytes_before.saturating_sub(bytes_after);
        if args.json {
            let told =
                json!({ "records": records, "bytes_before": bytes_before, "bytes_after": bytes_after });
            return Ok(told.to_string());
        }
        Ok(format!(
            "compacted {records} records: {given_back} bytes are free again ({} MiB before, {} MiB now)",
            mib(bytes_before),
            mib(bytes_after)
        ))
    }))
}

async fn compact(config: &Config) -> Result<Compacted, String> {
    let fresh = config.data_dir.join(COMPACTING);
    let mut tell = |step| {
        output::note(match step {
            CompactStep::Copying => "the store is whole; it is copied",
            CompactStep::Copied => "the copy is on disk, and was read again",
            CompactStep::Exchanged => "the copy is in the place of the store",
            CompactStep::Removed => "the old store is removed",
        });
    };
    let store = config.store_dir();
    let done = compact_store(&store, &fresh, config.anchor_file.as_deref(), &mut tell);
    done.await.map_err(|error| error.to_string())
}
