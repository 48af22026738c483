//! What every use case works with: the stores, the vault, the gate and the caches above them. One of each per process.
//!
//! [`Resources::commit`] is the only way in which the engine writes records, so that every change is followed by
//! [`crate::invalidation`].

use std::sync::Arc;

use portcullis_core::id::{NodeId, OrgId};
use portcullis_core::limits::Limits;
use portcullis_egress::Gate;
use portcullis_store::{Change, Document, Ledger, Records, StoreError, Vault, Writes};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::api_token::TokenUses;
use crate::audit_log::AuditDesk;
use crate::automations::CompiledAutomations;
use crate::breaker::Breakers;
use crate::cache::Cache;
use crate::call::active_calls::ActiveCalls;
use crate::clock::WallClock;
use crate::connection::HealthNotes;
use crate::events::Events;
use crate::invalidation;
use crate::metrics::Metrics;
use crate::nodes::Freshness;
use crate::request_mark::RequestMark;
use crate::webhooks::WebhookDesk;
use crate::workers::Workers;

/// Records deleted in one batch; below the store's limit of a batch.
const DELETED_AT_ONCE: usize = 100;

/// See the module's documentation.
pub(crate) struct Resources {
    pub(crate) limits: Arc<Limits>,
    /// The name of this node.
    pub(crate) node: NodeId,
    /// The name of this process in leases: no other one has it, and no later one will.
    pub(crate) holder: String,
    /// How old is what is known here of other nodes' changes.
    pub(crate) freshness: Arc<Freshness>,
    pub(crate) records: Records,
    pub(crate) vault: Arc<Vault>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) cache: Cache,
    /// Automations that were fired, compiled.
    pub(crate) automations: CompiledAutomations,
    pub(crate) events: Events,
    pub(crate) active_calls: ActiveCalls,
    /// Which vendors are not asked for a while.
    pub(crate) breakers: Arc<Breakers>,
    /// The ledgers of calls whose last record is not written yet.
    pub(crate) open_ledgers: TaskTracker,
    /// Threads for what takes long.
    pub(crate) workers: Workers,
    /// The clock of schedules.
    pub(crate) clock: WallClock,
    /// Wakes whoever fires schedules: one may be due earlier than before.
    pub(crate) schedules_changed: Notify,
    pub(crate) metrics: Arc<Metrics>,
    /// Connections that are known to be healthy.
    pub(crate) health: HealthNotes,
    pub(crate) webhooks: Arc<WebhookDesk>,
    /// Who changed what.
    pub(crate) audit: AuditDesk,
    /// When API tokens were used.
    pub(crate) token_uses: TokenUses,
    /// Public URL of this product, without a slash at its end.
    pub(crate) public_url: String,
}

impl Resources {
    /// Commits writes, and applies their effects before it returns: on caches, pooled connections and running
    /// calls. What a person changes has its record in the audit log by the same commit. Returns the sequence of the
    /// commit.
    ///
    /// # Errors
    /// Those of the store; nothing is written or ended then.
    pub(crate) async fn commit(&self, writes: Writes) -> Result<u64, StoreError> {
        let mark = RequestMark::current();
        let (sequence, changes) = match &mark {
            Some(mark) => self.commit_recorded(mark, writes).await?,
            None => self.records.commit_changes(writes).await?,
        };
        if let Some(mark) = mark {
            mark.note(&changes);
        }
        invalidation::apply(self, &changes).await;
        Ok(sequence)
    }

    async fn commit_recorded(
        &self,
        mark: &RequestMark,
        writes: Writes,
    ) -> Result<(u64, Vec<Change>), StoreError> {
        let Some(acting) = mark.acting() else { return self.records.commit_changes(writes).await };
        let (sequence, changes, recorded) = self.audit.commit(writes, &acting, &mark.unrecorded()).await?;
        mark.note_recorded(recorded);
        Ok((sequence, changes))
    }

    /// Writes the record of what a person is about to do, where no commit of records does it: it must not be done if this
    /// fails. Without a request, or by one that is not recorded, nothing is written.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn record_act(&self, org: &OrgId, target: String) -> Result<(), StoreError> {
        let mark = RequestMark::current();
        match mark.as_ref().and_then(|mark| mark.acting()) {
            Some(acting) => self.audit.note(&acting, Some(org.clone()), target).await,
            None => Ok(()),
        }
    }

    /// The same, for what concerns the platform and no org.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn record_act_of_platform(&self, target: &str) -> Result<(), StoreError> {
        let mark = RequestMark::current();
        match mark.as_ref().and_then(|mark| mark.acting()) {
            Some(acting) => self.audit.note(&acting, None, target.to_owned()).await,
            None => Ok(()),
        }
    }

    /// Deletes the records of a kind with these keys, each given as its parts, in batches.
    ///
    /// # Errors
    /// Those of the store; some may be deleted already.
    pub(crate) async fn delete_each<T: Document>(&self, keys: &[Vec<String>]) -> Result<(), StoreError> {
        for chunk in keys.chunks(DELETED_AT_ONCE) {
            let writes = chunk.iter().fold(Writes::new(), |writes, parts| {
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                writes.delete::<T>(&parts)
            });
            self.commit(writes).await?;
        }
        Ok(())
    }

    /// Deletes everything of a kind below these parts, in batches. A deletion that is interrupted leaves some records
    /// behind: calling it again completes it, and code that creates something under the same name calls it first.
    ///
    /// # Errors
    /// Those of the store; some may be deleted already.
    pub(crate) async fn delete_below<T: Document>(&self, parts: &[&str]) -> Result<(), StoreError> {
        let above = |rest: &Vec<String>| {
            parts.iter().map(|part| (*part).to_owned()).chain(rest.iter().cloned()).collect()
        };
        let mut after: Option<Vec<String>> = None;
        loop {
            // Why by keys and in pages: there may be more than memory has room for.
            let mut page = self.records.keys::<T>(parts, after.as_deref(), DELETED_AT_ONCE).await?;
            let keys: Vec<Vec<String>> = page.iter().map(above).collect();
            self.delete_each::<T>(&keys).await?;
            let Some(last) = page.pop().filter(|_| keys.len() == DELETED_AT_ONCE) else { return Ok(()) };
            after = Some(last);
        }
    }
}
