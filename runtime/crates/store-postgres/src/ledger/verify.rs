//! Verifies an org's chains from what is stored, all at one moment.

use portcullis_core::id::OrgId;
use portcullis_store::for_backends::ledger::{ChainsWalk, ROWS};
use portcullis_store::{LedgerError, VerifyReport};
use tokio_postgres::IsolationLevel;

use super::walking::{Reader, known, node_of};
use super::{Shared, failed, unsigned};

/// Segments that are kept, the ones that are written to with them.
const SEGMENTS: &str = "\
    SELECT (SELECT count(*) FROM ledger_segments WHERE org = $1) \
        + (SELECT count(*) FROM ledger_heads WHERE org = $1 AND bytes > 0)";

/// Damage is in the report. The moment is kept by a transaction, whose statements are short.
pub(super) async fn verify(shared: &Shared, org: &OrgId) -> Result<VerifyReport, LedgerError> {
    let mut client = shared.client().await?;
    let moment =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start();
    let moment = moment.await.map_err(|error| failed(&error))?;
    let segments = moment.query_one(SEGMENTS, &[&org.as_str()]).await.map_err(|error| failed(&error))?;
    let segments = segments.try_get(0).map_err(|error| failed(&error))?;
    let mut walk = ChainsWalk::new(org, ROWS);
    let chains = match known(&moment, shared, org).await {
        Err(LedgerError::Damaged { bad, .. }) => {
            return Ok(VerifyReport { bad: Some(bad), ..VerifyReport::empty(org) });
        }
        chains => chains?,
    };
    for chain in chains {
        walk.expect(chain.node.clone(), chain.ends);
        if let Some(reason) = chain.bad {
            walk.condemn(chain.node.as_ref(), reason);
        }
    }
    let mut reader = Reader::forward(i64::MAX);
    loop {
        let records = reader.next(&moment, org).await?;
        if records.is_empty() {
            return Ok(walk.finish(usize::try_from(unsigned(segments)).unwrap_or(usize::MAX)));
        }
        for record in &records {
            match node_of(&record.node) {
                Ok(node) => drop(walk.line(record.line.as_bytes(), Some((node.as_ref(), record.seq)))),
                Err(_) => walk.condemn(None, format!("a row names the node {:?}", record.node)),
            }
        }
    }
}
