//! How many may go through whole ledgers at once: in the process, and of one org.
//!
//! Each takes a thread or a connection to the database, and computes a hash of every record, for as long as the ledger is
//! long. What a call needs is kept apart from that; this keeps one org from taking what others would check theirs with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_core::fault::Code;
use portcullis_core::id::OrgId;
use portcullis_core::sync::lock;
use portcullis_store::LedgerError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::Error;

/// Checks at once in the process: half of the connections that PostgreSQL's backend has for reading ledgers and runs, and
/// few enough threads that lists are still read.
const CHECKS: usize = 4;

/// Of them, those of one org: a person's and a program's.
const CHECKS_OF_ORG: usize = 2;

/// Exports at once in the process. One that waits for a slow reader holds a thread of those that may block, of which the
/// runtime has 512.
const EXPORTS: usize = 32;

/// Of them, those of one org.
const EXPORTS_OF_ORG: usize = 4;

/// How long one waits for a place: the check of a ledger of usual length takes less.
const WAIT: Duration = Duration::from_secs(2);

/// The places of a process.
pub(crate) struct Walks {
    checks: Places,
    exports: Places,
}

impl Default for Walks {
    fn default() -> Self {
        Self {
            checks: Places::new(CHECKS, CHECKS_OF_ORG, WAIT),
            exports: Places::new(EXPORTS, EXPORTS_OF_ORG, WAIT),
        }
    }
}

impl Walks {
    /// A place to go through an org's ledger once, without waiting for anybody on the way.
    ///
    /// # Errors
    /// `overloaded`.
    pub(super) async fn check(&self, org: &OrgId) -> Result<Place, Error> {
        self.checks.take(org).await
    }

    /// A place to pass an org's ledger on to a reader, who may be slow.
    ///
    /// # Errors
    /// `overloaded`.
    pub(super) async fn export(&self, org: &OrgId) -> Result<Place, Error> {
        self.exports.take(org).await
    }
}

struct Places {
    all: Arc<Semaphore>,
    of_org: usize,
    wait: Duration,
    /// Of the orgs that have a place or wait for one.
    orgs: Mutex<HashMap<OrgId, Arc<Semaphore>>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    _of_org: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Places {
    fn new(all: usize, of_org: usize, wait: Duration) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), of_org, wait, orgs: Mutex::default() }
    }

    async fn take(&self, org: &OrgId) -> Result<Place, Error> {
        let own = self.own(org);
        let all = Arc::clone(&self.all);
        // Why the org's first: whoever waits for that must not stand in the way of other orgs.
        let both = async {
            let of_org = own.acquire_owned().await?;
            Ok::<_, tokio::sync::AcquireError>(Place { _of_org: of_org, _of_all: all.acquire_owned().await? })
        };
        match timeout(self.wait, both).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => {
                let detail = "as many checks and exports of ledgers run as may at once; try again soon";
                Err(Error::new(Code::Overloaded, detail))
            }
        }
    }

    fn own(&self, org: &OrgId) -> Arc<Semaphore> {
        let mut orgs = lock(&self.orgs);
        // Places and those who wait hold it, too.
        orgs.retain(|_, places| Arc::strong_count(places) > 1);
        Arc::clone(orgs.entry(org.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.of_org))))
    }
}

/// Goes through a ledger to the end, also when whoever asked has gone: a thread cannot be called back, and its place is
/// taken as long as it runs.
pub(super) async fn through<T: Send + 'static>(
    place: Place,
    walk: impl Future<Output = Result<T, LedgerError>> + Send + 'static,
) -> Result<T, Error> {
    let walked = tokio::spawn(async move {
        let walked = walk.await;
        drop(place);
        walked
    });
    let panicked = |_| Error::new(Code::Internal, "going through the ledger ended early");
    Ok(walked.await.map_err(panicked)??)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    fn org(name: &str) -> OrgId {
        OrgId::parse(name).unwrap()
    }

    #[tokio::test]
    async fn an_org_has_its_places_and_no_more_and_another_org_goes_on() {
        let places = Places::new(3, 2, SHORT);
        let (acme, globex, initech) = (org("acme"), org("globex"), org("initech"));
        let one = places.take(&acme).await.unwrap();
        let two = places.take(&acme).await.unwrap();
        let refused = async { places.take(&acme).await.unwrap_err().code };
        let other = async { places.take(&globex).await.unwrap() };
        // The org that waits for its own place stands in nobody's way.
        let (code, other) = tokio::join!(refused, other);
        assert_eq!(code, Code::Overloaded);
        assert_eq!(places.take(&initech).await.unwrap_err().code, Code::Overloaded, "all are taken");
        drop(one);
        let third = places.take(&initech).await.unwrap();
        assert_eq!(places.take(&acme).await.unwrap_err().code, Code::Overloaded);
        drop((two, other, third));
        places.take(&acme).await.map(drop).unwrap();
        assert_eq!(lock(&places.orgs).len(), 1, "orgs that have none are forgotten");
    }

    #[tokio::test]
    async fn who_waits_gets_the_place_that_becomes_free() {
        let places = Arc::new(Places::new(1, 1, WAIT * 10));
        let held = places.take(&org("acme")).await.unwrap();
        let waiting = Arc::clone(&places);
        let waits = tokio::spawn(async move { waiting.take(&org("globex")).await.map(drop) });
        while lock(&places.orgs).len() < 2 {
            tokio::task::yield_now().await;
        }
        drop(held);
        waits.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_place_is_taken_until_the_walk_has_ended_although_its_caller_went() {
        let places = Places::new(1, 1, WAIT * 10);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let place = places.take(&org("acme")).await.unwrap();
        let walk = async move {
            let _ = ended.await;
            Ok(())
        };
        assert!(timeout(Duration::from_millis(10), through(place, walk)).await.is_err(), "the caller goes");
        assert_eq!(places.all.available_permits(), 0);
        end.send(()).unwrap();
        places.take(&org("acme")).await.map(drop).unwrap();
    }
}
