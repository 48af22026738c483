//! Files of the data directory that were changed, cut, deleted or swapped, disks that fail for a while, processes that
//! are killed and machines that lose power. The shipped binary on real files; large counts in `make prove`.

mod corruption;
mod disk;
mod kills;
mod ledger;
mod power;
mod product;
mod runs;
mod store;
