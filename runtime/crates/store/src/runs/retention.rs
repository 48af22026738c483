//! What of an org's runs is old, and what was dropped. Decides nothing; called by the backends and by the engine.

/// What may be dropped of an org's runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunCut {
    /// Runs that ended before this time, microseconds since 1970.
    pub before_us: Option<u64>,
    /// The oldest while all have more than this many bytes.
    pub bytes: Option<u64>,
    /// A file that is written to is closed if it has a run from before this time, so that it can be dropped when its
    /// turn comes.
    pub close_before_us: Option<u64>,
}

/// What a cut left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunsLeft {
    /// Files that were dropped.
    pub dropped: u64,
    /// Bytes that are left.
    pub bytes: u64,
}
