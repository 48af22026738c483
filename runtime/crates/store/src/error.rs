//! What can go wrong while storing records.
//!
//! One closed set for all engines, so that callers match on variants and never on text. It does not
//! map to HTTP (the API does) and never carries a stored value.

/// The repair that the error about a damaged store names.
pub const REPAIR_RESTORE: &str = "run `portcullis restore` with the newest snapshot";

/// Why a storage call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A precondition of a batch did not hold; nothing was written.
    #[error("record {key} is not in the state the write expects")]
    Conflict {
        /// The key whose precondition failed.
        key: String,
    },
    /// Stored bytes are not what was written, or the store is older than it was.
    #[error("{what}; {repair}")]
    Damaged {
        what: String,
        /// What the operator can do about it.
        repair: &'static str,
    },
    /// A file of run records is not what was written, or is not there any more.
    #[error(
        "{file}: {reason}; put the file back from a backup, or, with the process stopped, move the workspace's \
         directory and its file below runs/.heads aside to go on without its runs"
    )]
    DamagedFile {
        /// The file, from the data directory.
        file: String,
        reason: String,
    },
    /// A row of a database is not what was written, or one that should be there is not.
    #[error(
        "{row}: {reason}; put the row back from a backup of the database, or delete it to go on without it"
    )]
    DamagedRow {
        /// The table and the row.
        row: String,
        reason: String,
    },
    /// The store is older than what was acknowledged, or another one, by its anchor.
    #[error(
        "the store ends at commit {seq}{}, and {anchor} says that commit {anchored} was acknowledged: an older copy of \
         the store, or another one, was put in its place; put the newest one back, or run `portcullis restore` with \
         the newest backup and --accept-older, which gives up what came after it",
        if *other { " of another history" } else { "" }
    )]
    OlderThanAnchor {
        /// The anchor's file.
        anchor: String,
        /// The commit that was acknowledged.
        anchored: u64,
        /// The store's last commit.
        seq: u64,
        /// Whether it is as new as the anchor, with other content.
        other: bool,
    },
    /// The anchor cannot be read, so that nobody knows whether the store is older than it was.
    #[error(
        "anchor_file {anchor}: {reason}; put it back, or delete it if you are sure that the store is the newest"
    )]
    Anchor {
        /// The anchor's file.
        anchor: String,
        reason: String,
    },
    /// A value is over the limit.
    #[error("record {key} has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// The key of the value.
        key: String,
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Another has the job by now, or it is not leased any more; nothing was written.
    #[error("run {run} is leased to another, or not any more")]
    LeaseLost {
        /// The run.
        run: String,
    },
    /// A batch has too many operations.
    #[error("batch has {operations} operations, the limit is {limit}")]
    BatchTooLarge {
        /// Preconditions and writes of the batch.
        operations: usize,
        /// The limit.
        limit: usize,
    },
    /// A key, or a part of one, is not well formed.
    #[error("storage key {key:?} is not well formed")]
    InvalidKey {
        /// The refused text, cut to 80 characters.
        key: String,
    },
    /// A record exists but is not a document of the expected shape.
    #[error("record {key} is not readable as {kind}: {reason}")]
    Unreadable {
        /// The key of the record.
        key: String,
        /// The document kind that was asked for.
        kind: &'static str,
        /// The parser's description; names fields, never values of sealed ones.
        reason: String,
    },
    /// The change feed no longer reaches back that far: read everything again.
    #[error("changes since {since} are gone, the feed starts after {floor}")]
    ChangesTruncated {
        /// The sequence that was asked for.
        since: u64,
        /// The oldest sequence that can be asked for.
        floor: u64,
    },
    /// Another process, or another handle of this one, has the directory open.
    #[error("{dir} is already open in another process")]
    AlreadyOpen {
        /// The directory.
        dir: String,
    },
    /// A snapshot can be restored into an empty store only.
    #[error("the store is not empty; restore into a new directory")]
    NotEmpty,
    /// A snapshot stream is invalid or incomplete.
    #[error("snapshot is not usable: {0}")]
    BadSnapshot(&'static str),
    /// The storage cannot be reached or written; the effect of the call is unknown.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
}

impl StoreError {
    /// Damage whose repair is a restore.
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), repair: REPAIR_RESTORE }
    }

    /// An operating system error, with what was being done.
    pub(crate) fn io(doing: &str, error: &std::io::Error) -> Self {
        Self::Unavailable(format!("{doing}: {error}"))
    }
}
