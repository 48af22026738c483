//! Files of the data directory that were changed, cut, deleted or swapped, and disks that fail for a while.
