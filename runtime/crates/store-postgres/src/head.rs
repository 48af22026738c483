//! The head of the records: how far the commits are, and a digest over everything.
//!
//! Its row's lock is what orders commits. It is held from before the first read of a commit until its end, because the
//! revision of what is written is the commit's sequence.

use portcullis_store::StoreError;
use tokio_postgres::Row;

use crate::error::{damaged, unavailable};
use crate::seal::{Seal, Sealer, is_same, toggle};

/// The columns of the head, for queries.
pub(crate) const HEAD_COLUMNS: &str = "h.seq, h.floor, h.records, h.digest, h.nonce, h.seal";

/// The state of the whole store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Sequence of the last commit.
    pub(crate) seq: u64,
    /// The change log reaches back to the commits after this one.
    pub(crate) floor: u64,
    /// Number of records.
    pub(crate) records: u64,
    /// Over the seals of all records.
    digest: Seal,
}

/// The head as it is stored.
pub(crate) struct Stored {
    pub(crate) seq: i64,
    pub(crate) floor: i64,
    pub(crate) records: i64,
    pub(crate) digest: Vec<u8>,
    pub(crate) nonce: Vec<u8>,
    pub(crate) seal: Vec<u8>,
}

impl Head {
    /// The same records as a snapshot of this sequence has them, with a log that begins there.
    pub(crate) fn at(self, seq: u64) -> Self {
        Self { seq, floor: seq, ..self }
    }

    /// Reads the first six columns of a row, [`HEAD_COLUMNS`].
    pub(crate) fn read(row: &Row, sealer: &Sealer) -> Result<Self, StoreError> {
        let stored = Stored {
            seq: column(row, 0)?,
            floor: column(row, 1)?,
            records: column(row, 2)?,
            digest: column(row, 3)?,
            nonce: column(row, 4)?,
            seal: column(row, 5)?,
        };
        stored.open(sealer).ok_or_else(|| {
            damaged(
                "the head of the records is not what was written, or was written under another integrity key",
            )
        })
    }

    /// Notes that a record with this seal is there from now on.
    pub(crate) fn add(&mut self, sealer: &Sealer, seal: &Seal) {
        toggle(&mut self.digest, &sealer.element(seal));
        self.records = self.records.saturating_add(1);
    }

    /// Notes that it is not any more.
    pub(crate) fn take_away(&mut self, sealer: &Sealer, seal: &Seal) {
        toggle(&mut self.digest, &sealer.element(seal));
        self.records = self.records.saturating_sub(1);
    }

    /// Whether it is about the same records.
    pub(crate) fn has_records_of(&self, other: &Self) -> bool {
        self.records == other.records && self.digest == other.digest
    }

    pub(crate) fn store(&self, sealer: &Sealer) -> Result<Stored, StoreError> {
        let mut nonce: Seal = [0; 32];
        getrandom::fill(&mut nonce)
            .map_err(|error| StoreError::Unavailable(format!("the system has no random bytes: {error}")))?;
        let mut digest = self.digest;
        toggle(&mut digest, &sealer.blind(&nonce));
        let mut stored = Stored {
            seq: number(self.seq),
            floor: number(self.floor),
            records: number(self.records),
            digest: digest.to_vec(),
            nonce: nonce.to_vec(),
            seal: Vec::new(),
        };
        stored.seal = stored.seal_of(sealer).to_vec();
        Ok(stored)
    }
}

impl Stored {
    fn seal_of(&self, sealer: &Sealer) -> Seal {
        let numbers = [self.seq, self.floor, self.records].map(i64::to_be_bytes);
        let [seq, floor, records] = &numbers;
        sealer.head(&[seq, floor, records, &self.digest, &self.nonce])
    }

    fn open(&self, sealer: &Sealer) -> Option<Head> {
        if !is_same(&self.seal_of(sealer), &self.seal) {
            return None;
        }
        let nonce: Seal = self.nonce.as_slice().try_into().ok()?;
        let mut digest: Seal = self.digest.as_slice().try_into().ok()?;
        toggle(&mut digest, &sealer.blind(&nonce));
        let [seq, floor, records] = [self.seq, self.floor, self.records].map(|n| u64::try_from(n).ok());
        Some(Head { seq: seq?, floor: floor?, records: records?, digest })
    }
}

/// A number as the database has it. Commits and records do not reach 2^63.
pub(crate) fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A column of a row.
pub(crate) fn column<'r, T: tokio_postgres::types::FromSql<'r>>(
    row: &'r Row,
    index: usize,
) -> Result<T, StoreError> {
    row.try_get(index).map_err(|error| unavailable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_and_a_changed_one_or_one_of_another_key_does_not() {
        let sealer = Sealer::new(Some(&[1; 32]));
        let mut head = Head { seq: 9, floor: 2, ..Head::default() };
        head.add(&sealer, &[5; 32]);
        let stored = head.store(&sealer).unwrap();
        assert_eq!(stored.open(&sealer), Some(head));
        assert!(stored.open(&Sealer::new(None)).is_none());
        assert_ne!(stored.digest, head.store(&sealer).unwrap().digest, "it is hidden anew each time");
        for change in [
            |stored: &mut Stored| stored.seq += 1,
            |stored: &mut Stored| stored.floor += 1,
            |stored: &mut Stored| stored.records -= 1,
            |stored: &mut Stored| stored.digest[0] ^= 1,
            |stored: &mut Stored| stored.nonce[31] ^= 1,
            |stored: &mut Stored| stored.seal[7] ^= 1,
        ] {
            let mut changed = head.store(&sealer).unwrap();
            change(&mut changed);
            assert!(changed.open(&sealer).is_none());
        }
    }
}
