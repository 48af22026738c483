//! Files of the data directory that were changed, cut, deleted or swapped, disks that fail for a while, processes that
//! are killed and machines that lose power. The shipped binary on real files; large counts in `make prove`.

mod corruption;
mod disk;
pub(crate) mod kills;
mod ledger;
mod power;
pub(crate) mod product;
mod runs;
mod store;
