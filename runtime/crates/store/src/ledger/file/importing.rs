//! Takes over a chain that another backend wrote, record by record and as it was written.
//!
//! Only records that continue the chain here are taken, so that an interrupted import goes on where it stopped, and a
//! wrong one changes nothing. Not for serving: `portcullis migrate` calls it on a directory of its own.

use std::path::Path;

use portcullis_core::id::OrgId;

use super::checkpoint::{Anchor, HeadWriter, read_anchor};
use super::log_handle::LogHandle;
use super::segment::list;
use crate::disk_sync::sync_directory;
use crate::ledger::error::LedgerError;
use crate::ledger::line::{Link, RawLine, parse_only};

/// Number of the first segment of a chain.
const FIRST_SEGMENT: u64 = 1;

/// Makes the directory of a chain whose older records were dropped elsewhere, if the org has none here.
pub(super) fn begin(org: &OrgId, dir: &Path, line: &str) -> Result<(), LedgerError> {
    let failed = |error: std::io::Error| LedgerError::io("beginning an imported ledger", &error);
    let first = raw(org, line)?;
    let has_records = || list(dir, 0).map(|segments| !segments.is_empty());
    if first.seq <= 1 || (dir.is_dir() && has_records().map_err(failed)?) {
        return Ok(());
    }
    std::fs::create_dir_all(dir).map_err(failed)?;
    dir.parent().map_or(Ok(()), sync_directory).map_err(failed)?;
    let dropped = Link { seq: first.seq.saturating_sub(1), hash: first.prev };
    let anchor = Anchor { first_segment: FIRST_SEGMENT, dropped };
    if matches!(read_anchor(dir), Ok(Some(found)) if found == anchor) {
        return Ok(());
    }
    // The head first, as in any cut: an anchor that no head knows is damage.
    let head = HeadWriter::new(org, dir, None, None);
    head.cut(anchor, dropped, FIRST_SEGMENT)
        .and_then(|()| super::checkpoint::write_anchor(dir, &anchor))
        .map_err(failed)
}

/// Appends lines to an open log.
pub(super) fn append(org: &OrgId, handle: &LogHandle, lines: &[String]) -> Result<(), LedgerError> {
    for line in lines {
        let raw = raw(org, line)?;
        let last = handle.link()?;
        if raw.seq != last.seq.saturating_add(1) || raw.prev != last.hash {
            return Err(refused(org, &format!("record {} does not continue the ledger here", raw.seq)));
        }
        // There is one way to write a line, so what is written is what came.
        handle.append(raw.event, |_| ())?;
    }
    Ok(())
}

fn raw<'a>(org: &OrgId, line: &'a str) -> Result<RawLine<'a>, LedgerError> {
    parse_only(org, line.as_bytes()).map_err(|reason| refused(org, reason))
}

fn refused(org: &OrgId, reason: &str) -> LedgerError {
    LedgerError::Unavailable(format!("a record of {org} is not imported: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::{Arc, Mutex};

    use crate::ledger::tests::refused;
    use crate::ledger::{FileLedger, Ledger, LedgerError, LedgerQuery, LedgerSync};
    use portcullis_core::id::OrgId;

    async fn lines(ledger: &FileLedger, org: &OrgId) -> Vec<String> {
        let kept: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = Arc::clone(&kept);
        let keep = Box::new(move |line: &crate::LedgerLine| {
            sink.lock().unwrap().push(line.as_text().to_owned());
            ControlFlow::Continue(())
        });
        ledger.export(org, &LedgerQuery::default(), keep).await.unwrap();
        std::mem::take(&mut *kept.lock().unwrap())
    }

    #[tokio::test]
    async fn a_chain_is_taken_over_as_it_is_and_goes_on_where_an_import_stopped() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let org = OrgId::parse("acme").unwrap();
        let source = FileLedger::open_with_segments(from.path(), LedgerSync::Group, 2000).unwrap();
        for n in 0..40 {
            source.append(&refused(n)).await.unwrap();
        }
        for (name, keep) in [("whole", 1000), ("cut", 2)] {
            source.prune(&org, keep).await.unwrap();
            let all = lines(&source, &org).await;
            let target = to.path().join(name);
            let half = all.len() / 2;
            FileLedger::open(&target, LedgerSync::Group)
                .unwrap()
                .import(&org, all[..half].to_vec())
                .await
                .unwrap();
            let target = FileLedger::open(&target, LedgerSync::Group).unwrap();
            let again = target.import(&org, all[..1].to_vec()).await.unwrap_err();
            assert!(matches!(again, LedgerError::Unavailable(_)), "{again}");
            target.import(&org, all[half..].to_vec()).await.unwrap();
            assert_eq!(lines(&target, &org).await, all, "{name}");
            let (there, here) = (source.verify(&org).await.unwrap(), target.verify(&org).await.unwrap());
            assert!(here.is_intact(), "{here:?}");
            assert_eq!((here.records, here.last_hash), (there.records, there.last_hash), "{name}");
            target.append(&refused(99)).await.unwrap();
            assert!(target.verify(&org).await.unwrap().is_intact());
        }
    }

    #[tokio::test]
    async fn a_line_that_was_changed_is_refused_and_its_neighbour_is_taken() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let org = OrgId::parse("acme").unwrap();
        let source = FileLedger::open(from.path(), LedgerSync::Group).unwrap();
        for n in 0..2 {
            source.append(&refused(n)).await.unwrap();
        }
        let all = lines(&source, &org).await;
        let target = FileLedger::open(to.path(), LedgerSync::Group).unwrap();
        let (start, end) = all[0].split_at(all[0].len() - 3);
        let changed = format!("{start}{}{}", if end.starts_with('0') { '1' } else { '0' }, &end[1..]);
        target.import(&org, vec![changed]).await.unwrap_err();
        target.import(&org, vec![all[0].clone()]).await.unwrap();
        target.import(&org, vec![all[0].clone()]).await.unwrap_err();
        target.import(&org, vec![all[1].clone()]).await.unwrap();
        assert_eq!(target.verify(&org).await.unwrap().records, 2);
    }
}
