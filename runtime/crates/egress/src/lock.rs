//! How this crate takes a lock. Called by the pool, the TLS roots and the guard; none of them holds a lock
//! across an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The value behind a lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Why a poisoned lock is taken too: a panic in one call must not fail every later call.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
