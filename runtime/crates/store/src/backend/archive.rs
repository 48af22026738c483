//! The snapshot stream: a header, every record, and a SHA-256 of everything before it.
//!
//! One format for all engines, so that it also migrates between them. It does not compress and does
//! not encrypt: credentials inside are sealed already. Called by the engines, for snapshot and restore.

use std::io::{Read, Write};

use sha2::{Digest, Sha256};

use crate::backend::{KEY_BYTES_MAX, SnapshotReport, VALUE_BYTES_MAX, Versioned, check_key};
use crate::error::StoreError;

const MAGIC: &[u8; 8] = b"PCSTORE1";
const TAG_RECORD: u8 = 1;
const TAG_END: u8 = 0;

/// Writes one snapshot.
pub struct ArchiveWriter<'a> {
    to: &'a mut dyn Write,
    hash: Sha256,
    report: SnapshotReport,
}

impl<'a> ArchiveWriter<'a> {
    /// Writes the header.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub fn begin(to: &'a mut dyn Write, seq: u64) -> Result<Self, StoreError> {
        let mut writer = Self { to, hash: Sha256::new(), report: SnapshotReport { records: 0, seq } };
        writer.write(MAGIC)?;
        writer.write(&seq.to_be_bytes())?;
        Ok(writer)
    }

    /// Writes one record.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub fn record(&mut self, key: &str, revision: u64, value: &[u8]) -> Result<(), StoreError> {
        self.write(&[TAG_RECORD])?;
        self.write(&length(key.len())?)?;
        self.write(key.as_bytes())?;
        self.write(&revision.to_be_bytes())?;
        self.write(&length(value.len())?)?;
        self.write(value)?;
        self.report.records = self.report.records.saturating_add(1);
        Ok(())
    }

    /// Writes the count and the checksum, and flushes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub fn finish(mut self) -> Result<SnapshotReport, StoreError> {
        self.write(&[TAG_END])?;
        self.write(&self.report.records.to_be_bytes())?;
        let checksum = self.hash.finalize();
        self.to
            .write_all(&checksum)
            .and_then(|()| self.to.flush())
            .map_err(|error| StoreError::io("writing the snapshot", &error))?;
        Ok(self.report)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.hash.update(bytes);
        self.to.write_all(bytes).map_err(|error| StoreError::io("writing the snapshot", &error))
    }
}

fn length(bytes: usize) -> Result<[u8; 4], StoreError> {
    u32::try_from(bytes).map(u32::to_be_bytes).map_err(|_| StoreError::BadSnapshot("a record is too long"))
}

/// Reads one snapshot and passes on each record as it comes. If this returns an error, the caller must
/// discard the records: the checksum is known only at the end.
///
/// # Errors
/// [`StoreError::BadSnapshot`], and those of `each`.
pub fn read_archive(
    from: &mut dyn Read,
    each: &mut dyn FnMut(String, Versioned) -> Result<(), StoreError>,
) -> Result<SnapshotReport, StoreError> {
    let mut reader = ArchiveReader { from, hash: Sha256::new() };
    if reader.array::<8>()? != *MAGIC {
        return Err(StoreError::BadSnapshot("it does not start like one"));
    }
    let seq = u64::from_be_bytes(reader.array()?);
    let mut records = 0_u64;
    loop {
        let [tag] = reader.array::<1>()?;
        match tag {
            TAG_RECORD => {
                let key = String::from_utf8(reader.block(KEY_BYTES_MAX)?)
                    .map_err(|_| StoreError::BadSnapshot("a key is not text"))?;
                check_key(&key).map_err(|_| StoreError::BadSnapshot("a key is malformed"))?;
                let revision = u64::from_be_bytes(reader.array()?);
                if revision == 0 || revision > seq {
                    return Err(StoreError::BadSnapshot("a revision is out of range"));
                }
                let value = reader.block(VALUE_BYTES_MAX)?;
                each(key, Versioned { value, revision })?;
                records = records.saturating_add(1);
            }
            TAG_END => break,
            _ => return Err(StoreError::BadSnapshot("a record is malformed")),
        }
    }
    if u64::from_be_bytes(reader.array()?) != records {
        return Err(StoreError::BadSnapshot("the record count is wrong"));
    }
    let computed: [u8; 32] = reader.hash.clone().finalize().into();
    if reader.array::<32>()? != computed {
        return Err(StoreError::BadSnapshot("the checksum is wrong"));
    }
    Ok(SnapshotReport { records, seq })
}

struct ArchiveReader<'a> {
    from: &'a mut dyn Read,
    hash: Sha256,
}

impl ArchiveReader<'_> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), StoreError> {
        self.from.read_exact(bytes).map_err(|error| {
            if error.kind() == std::io::ErrorKind::UnexpectedEof {
                StoreError::BadSnapshot("it ends too early")
            } else {
                StoreError::io("reading the snapshot", &error)
            }
        })?;
        self.hash.update(&*bytes);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let mut bytes = [0_u8; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn block(&mut self, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        let bytes = usize::try_from(u32::from_be_bytes(self.array()?)).unwrap_or(usize::MAX);
        if bytes > bytes_max {
            return Err(StoreError::BadSnapshot("a length is over the limit"));
        }
        let mut block = vec![0_u8; bytes];
        self.fill(&mut block)?;
        Ok(block)
    }
}
