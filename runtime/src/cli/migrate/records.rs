//! Records: the whole store as one snapshot, with revisions and sequence, read into the empty target.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write};
use std::sync::{Arc, Mutex};

use portcullis_core::hex;
use portcullis_core::sync::lock;
use portcullis_store::{SnapshotReport, Store};
use sha2::{Digest as _, Sha256};

use super::progress::Progress;

/// What was copied.
pub(super) struct Copied {
    pub(super) report: SnapshotReport,
    /// SHA-256 over all records with their revisions, the same on both sides.
    pub(super) digest: String,
}

/// Copies all records, unless they are there already, and compares.
///
/// # Errors
/// A sentence.
pub(super) async fn copy(from: &dyn Store, to: &dyn Store) -> Result<Copied, String> {
    // Unnamed, and gone with the process; what it holds is sealed like the store.
    let spool = tempfile::tempfile().map_err(|error| format!("a temporary file: {error}"))?;
    let (report, digest) = snapshot(from, Some(&spool)).await?;
    if to.stats().await.map_err(|error| error.to_string())?.seq == 0 {
        let mut reading = spool.try_clone().map_err(|error| error.to_string())?;
        reading.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
        to.restore(Box::new(io::BufReader::new(reading))).await.map_err(|error| error.to_string())?;
    }
    let (there, digest_there) = snapshot(to, None).await?;
    if (there, &digest_there) != (report, &digest) {
        return Err(format!(
            "the records differ: {} as of commit {} in the source, {} as of commit {} in the target",
            report.records, report.seq, there.records, there.seq
        ));
    }
    let mut progress = Progress::of("records");
    progress.add(report.records);
    progress.end();
    Ok(Copied { report, digest })
}

async fn snapshot(store: &dyn Store, spool: Option<&File>) -> Result<(SnapshotReport, String), String> {
    let hash: Arc<Mutex<Sha256>> = Arc::default();
    let spool = spool.map(File::try_clone).transpose().map_err(|error| error.to_string())?;
    let writer = Hashing { hash: Arc::clone(&hash), to: spool.map(io::BufWriter::new) };
    let report = store.snapshot(Box::new(writer)).await.map_err(|error| error.to_string())?;
    let digest = lock(&hash).clone().finalize();
    Ok((report, hex::encode(&digest)))
}

/// Counts what is written into a digest, and passes it on.
struct Hashing {
    hash: Arc<Mutex<Sha256>>,
    to: Option<io::BufWriter<File>>,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(to) = &mut self.to {
            to.write_all(bytes)?;
        }
        lock(&self.hash).update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.as_mut().map_or(Ok(()), Write::flush)
    }
}
