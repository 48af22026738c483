//! What becomes of a call whose caller disconnects: one that has begun an outbound request goes on to its end and is
//! recorded, because the third party may have acted on it; any other is dropped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use portcullis_store::{BoxFuture, StoreError};

/// It can still be dropped, and its caller is there.
const OPEN: u8 = 0;
/// It has begun an outbound request.
const COMMITTED: u8 = 1;
/// Its caller disconnected before that.
const ABANDONED: u8 = 2;
/// What it was to do may have been done, though no run says so.
const UNKNOWN: u8 = 3;

/// Notes that a call is about to send something, before it does.
pub(crate) trait NoteSending: Send + Sync {
    /// Called before every request of the call.
    fn note(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// Whether a call has begun an outbound request, and whether its caller left before that: the first of the two
/// decides. Shared by a call and by the connection that waits for it.
#[derive(Clone, Default)]
pub struct Commitment(Arc<AtomicU8>, Option<Arc<dyn NoteSending>>);

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Commitment").field(&self.0).finish_non_exhaustive()
    }
}

impl Commitment {
    /// Of a call for which it is noted what it begins.
    pub(crate) fn noting(note: Arc<dyn NoteSending>) -> Self {
        Self(Arc::default(), Some(note))
    }

    /// Notes that a request is about to be sent, where that is wanted.
    ///
    /// # Errors
    /// If it could not be noted: nothing may be sent then.
    pub(crate) async fn note(&self) -> Result<(), StoreError> {
        match &self.1 {
            Some(note) => note.note().await,
            None => Ok(()),
        }
    }

    /// Notes that an outbound request begins; false if the caller has left, and none may.
    #[must_use]
    pub(crate) fn commit(&self) -> bool {
        let before = self.0.compare_exchange(OPEN, COMMITTED, Ordering::SeqCst, Ordering::SeqCst);
        before.is_ok() || matches!(before, Err(COMMITTED | UNKNOWN))
    }

    /// Notes that a call was committed and ends without anybody knowing what became of it.
    pub(crate) fn lose(&self) {
        // Why ignored: what was not committed has done nothing.
        let _ = self.0.compare_exchange(COMMITTED, UNKNOWN, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Whether it is not known what became of the call.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.load(Ordering::SeqCst) == UNKNOWN
    }

    /// Notes that the caller has left; true if the call is to be dropped.
    #[must_use]
    pub fn abandon(&self) -> bool {
        let before = self.0.compare_exchange(OPEN, ABANDONED, Ordering::SeqCst, Ordering::SeqCst);
        before.is_ok() || before == Err(ABANDONED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_first_decides() {
        let call = Commitment::default();
        assert!(call.clone().commit() && call.commit(), "a call has several requests");
        assert!(!call.abandon(), "it goes on");
        call.lose();
        assert!(call.is_lost() && call.commit() && !call.abandon());
        let other = Commitment::default();
        other.lose();
        assert!(!other.is_lost(), "it had begun nothing");
        assert!(other.abandon() && other.abandon());
        assert!(!other.commit(), "it begins nothing any more");
    }
}
