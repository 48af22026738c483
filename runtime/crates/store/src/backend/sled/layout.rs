//! How records are laid out in sled: keys, record heads, chunks, the meta row and the change rows.
//!
//! Values are cut into chunks of 4 KiB because sled writes a whole leaf (up to 17 rows) as one
//! message, and messages over 128 KiB go to files that sled never syncs. It encodes and decodes
//! only; nothing here reads or writes the tree. Called by reading, transaction and recovery.

use sha2::{Digest, Sha256};

use crate::backend::{Change, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::error::StoreError;
use crate::record_hash::length;

const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 1 + 8 + 4 + 32;
const META_BYTES: usize = 1 + 8 + 8 + 8 + 32 + 32;

/// Bytes of a value in one sled row. 20 rows of it, with heads and keys, stay under 128 KiB.
pub(super) const CHUNK_BYTES: usize = 4096;

const _: () = assert!(20 * (CHUNK_BYTES + HEAD_BYTES + KEY_BYTES_MAX + 32) < 128 * 1024);

/// Prefix of record heads.
pub(super) const RECORDS: &[u8] = b"d/";
/// Prefix of change rows.
pub(super) const CHANGES: &[u8] = b"c/";
/// The one meta row.
pub(super) const META: &[u8] = b"m";

/// Key of a record's head.
pub(super) fn record_key(key: &str) -> Vec<u8> {
    [RECORDS, key.as_bytes()].concat()
}

/// Key of one further chunk of a value; the revision separates old and new chunks for readers.
pub(super) fn chunk_key(key: &str, revision: u64, index: u32) -> Vec<u8> {
    let (revision, index) = (revision.to_be_bytes(), index.to_be_bytes());
    [b"x/", key.as_bytes(), b"\0", &revision, &index].concat()
}

/// Key of one piece of a commit's change list.
pub(super) fn change_key(seq: u64, piece: u32) -> Vec<u8> {
    [CHANGES, &seq.to_be_bytes(), &piece.to_be_bytes()].concat()
}

/// The commit that a change row belongs to.
pub(super) fn change_seq(key: &[u8]) -> Option<u64> {
    let seq = key.strip_prefix(CHANGES)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*seq))
}

/// The first row of a record: its envelope and the start of its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) revision: u64,
    pub(super) value_bytes: usize,
    pub(super) checksum: [u8; 32],
    pub(super) start: Vec<u8>,
}

impl Head {
    pub(super) fn new(key: &str, revision: u64, value: &[u8]) -> Self {
        Self {
            revision,
            value_bytes: value.len(),
            checksum: checksum(key, revision, value),
            start: value.chunks(CHUNK_BYTES).next().unwrap_or_default().to_vec(),
        }
    }

    /// Number of rows after this one.
    pub(super) fn further_chunks(&self) -> u32 {
        let rows = self.value_bytes.div_ceil(CHUNK_BYTES).saturating_sub(1);
        u32::try_from(rows).unwrap_or(u32::MAX)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(HEAD_BYTES.saturating_add(self.start.len()));
        row.push(FORMAT);
        row.extend_from_slice(&self.revision.to_be_bytes());
        let value_bytes = u32::try_from(self.value_bytes).unwrap_or(u32::MAX);
        row.extend_from_slice(&value_bytes.to_be_bytes());
        row.extend_from_slice(&self.checksum);
        row.extend_from_slice(&self.start);
        row
    }

    /// `None` if the row is not a head.
    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let (&format, rest) = row.split_first()?;
        let (revision, rest) = rest.split_first_chunk::<8>()?;
        let (value_bytes, rest) = rest.split_first_chunk::<4>()?;
        let (checksum, start) = rest.split_first_chunk::<32>()?;
        let value_bytes = usize::try_from(u32::from_be_bytes(*value_bytes)).ok()?;
        if format != FORMAT || value_bytes > VALUE_BYTES_MAX || start.len() != value_bytes.min(CHUNK_BYTES) {
            return None;
        }
        Some(Self {
            revision: u64::from_be_bytes(*revision),
            value_bytes,
            checksum: *checksum,
            start: start.to_vec(),
        })
    }
}

/// SHA-256 over key, revision and value, length-prefixed so that no two records share an input.
pub(super) fn checksum(key: &str, revision: u64, value: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"portcullis record v1");
    hash.update(length(key.len()));
    hash.update(key.as_bytes());
    hash.update(revision.to_be_bytes());
    hash.update(length(value.len()));
    hash.update(value);
    hash.finalize().into()
}

/// The state of the whole store, written with every commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// Sequence of the last commit.
    pub(super) seq: u64,
    /// The oldest sequence that the change feed accepts.
    pub(super) floor: u64,
    /// Number of records.
    pub(super) records: u64,
    /// Exclusive or of all record checksums: reveals a record that is missing, old or extra.
    pub(super) digest: [u8; 32],
    /// Bytes by which the records grew since the row was read; not stored.
    pub(super) grown: i64,
}

/// Bytes that a record takes: its value, its key and its envelope.
pub(super) fn live_bytes(key: &str, value_bytes: usize) -> u64 {
    let bytes = HEAD_BYTES.saturating_add(key.len()).saturating_add(value_bytes);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl Meta {
    /// Adds a record's checksum to the digest, or removes it.
    pub(super) fn toggle(&mut self, checksum: &[u8; 32]) {
        for (byte, other) in self.digest.iter_mut().zip(checksum) {
            *byte ^= other;
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(META_BYTES);
        row.push(FORMAT);
        row.extend_from_slice(&self.seq.to_be_bytes());
        row.extend_from_slice(&self.floor.to_be_bytes());
        row.extend_from_slice(&self.records.to_be_bytes());
        row.extend_from_slice(&self.digest);
        let sum = Sha256::digest(&row);
        row.extend_from_slice(&sum);
        row
    }

    /// A store without a meta row has never committed.
    pub(super) fn decode(row: Option<&[u8]>) -> Result<Self, StoreError> {
        let Some(row) = row else {
            return Ok(Self::default());
        };
        Self::decode_row(row).ok_or_else(|| StoreError::damaged("the store's own state is damaged"))
    }

    fn decode_row(row: &[u8]) -> Option<Self> {
        let (body, sum) = row.split_last_chunk::<32>()?;
        let computed: [u8; 32] = Sha256::digest(body).into();
        let (&format, rest) = body.split_first()?;
        let (seq, rest) = rest.split_first_chunk::<8>()?;
        let (floor, rest) = rest.split_first_chunk::<8>()?;
        let (records, rest) = rest.split_first_chunk::<8>()?;
        let digest = rest.first_chunk::<32>()?;
        (row.len() == META_BYTES && format == FORMAT && computed == *sum).then_some(Self {
            seq: u64::from_be_bytes(*seq),
            floor: u64::from_be_bytes(*floor),
            records: u64::from_be_bytes(*records),
            digest: *digest,
            grown: 0,
        })
    }
}

/// Encodes a commit's changes as rows of at most one chunk each (the last entry may exceed it).
pub(super) fn encode_changes(changes: &[(String, bool)]) -> Vec<Vec<u8>> {
    let mut pieces = vec![Vec::new()];
    for (key, deleted) in changes {
        if pieces.last().is_some_and(|piece| piece.len() >= CHUNK_BYTES - KEY_BYTES_MAX - 3) {
            pieces.push(Vec::new());
        }
        if let Some(piece) = pieces.last_mut() {
            let key_bytes = u16::try_from(key.len()).unwrap_or(u16::MAX);
            piece.push(u8::from(*deleted));
            piece.extend_from_slice(&key_bytes.to_be_bytes());
            piece.extend_from_slice(key.as_bytes());
        }
    }
    for piece in &mut pieces {
        let sum = Sha256::digest(&*piece);
        piece.extend_from_slice(&sum);
    }
    pieces
}

/// The changes in one row; `None` if the row is damaged.
pub(super) fn decode_changes(seq: u64, row: &[u8]) -> Option<Vec<Change>> {
    let (mut rest, sum) = row.split_last_chunk::<32>()?;
    let computed: [u8; 32] = Sha256::digest(rest).into();
    if computed != *sum {
        return None;
    }
    let mut changes = Vec::new();
    while let Some((&deleted, after)) = rest.split_first() {
        let (key_bytes, after) = after.split_first_chunk::<2>()?;
        let (key, after) = after.split_at_checked(u16::from_be_bytes(*key_bytes).into())?;
        changes.push(Change { seq, key: String::from_utf8(key.to_vec()).ok()?, deleted: deleted == 1 });
        rest = after;
    }
    Some(changes)
}
