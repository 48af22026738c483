//! What every outbox must do, over any engine of records.

use std::sync::Arc;

use portcullis_core::id::{ActionId, ConnectorId, OrgId, RunId, WorkspaceId};
use portcullis_store::for_backends::records::entries_of;
use portcullis_store::{
    Batch, Outbox as _, OutboxCut, OutboxKind, OutboxPage, OutboxRecord, RecordOutbox, Store,
};

pub fn org(name: &str) -> OrgId {
    OrgId::parse(name).unwrap()
}

fn record(name: &str, number: u64) -> OutboxRecord {
    OutboxRecord {
        kind: OutboxKind::RunEnded,
        at_ms: number,
        org: org(name),
        workspace: WorkspaceId::parse("main").unwrap(),
        run_id: RunId::parse(&format!("run_{number}")).unwrap(),
        status: "succeeded".to_owned(),
        code: None,
        reason: None,
        connector_id: ConnectorId::parse("crm").unwrap(),
        connection: None,
        action_id: ActionId::parse("create").unwrap(),
        automation_id: None,
        event_id: Some("evt-1".to_owned()),
    }
}

pub async fn write(store: &Arc<dyn Store>, name: &str, number: u64) {
    let value = serde_json::to_vec(&record(name, number)).unwrap();
    // With another write, as the end of a job has them.
    let batch = Batch::new().put(format!("job/{name}/{number}"), b"{}".to_vec());
    store.commit(batch.append(entries_of(&org(name)), value)).await.unwrap();
}

pub fn numbers(page: &OutboxPage) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.record.at_ms).collect()
}

/// Runs everything, each check on a fresh store.
pub async fn check_all(fresh: impl Fn() -> Arc<dyn Store>) {
    entries_are_read_in_order_from_any_number(&fresh()).await;
    writers_at_the_same_time_lose_nothing_for_a_reader(&fresh()).await;
    what_is_too_old_or_too_many_is_dropped_and_told(&fresh()).await;
    what_was_read_is_removed_and_not_counted_as_dropped(&fresh()).await;
    orgs_are_apart_and_removed_as_a_whole(&fresh()).await;
}

async fn entries_are_read_in_order_from_any_number(store: &Arc<dyn Store>) {
    let outbox = RecordOutbox::new(Arc::clone(store));
    let acme = org("acme");
    assert_eq!(outbox.read(&acme, 0, 10).await.unwrap(), OutboxPage::default());
    for number in 1..=25 {
        write(store, "acme", number).await;
    }
    let first = outbox.read(&acme, 0, 10).await.unwrap();
    assert_eq!(numbers(&first), (1..=10).collect::<Vec<_>>());
    assert!(first.has_more && !first.has_gap && first.dropped == 0);
    assert_eq!(first.entries[0].record, record("acme", 1));
    let (mut after, mut read) = (0, Vec::new());
    loop {
        let page = outbox.read(&acme, after, 7).await.unwrap();
        read.extend(numbers(&page));
        let Some(last) = page.entries.last() else { break };
        assert!(last.seq > after);
        after = last.seq;
    }
    assert_eq!(read, (1..=25).collect::<Vec<_>>());
    assert!(outbox.read(&acme, u64::MAX, 10).await.unwrap().entries.is_empty());
}

async fn writers_at_the_same_time_lose_nothing_for_a_reader(store: &Arc<dyn Store>) {
    let writing: Vec<_> = (0..4_u64)
        .map(|writer| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                for number in 0..50 {
                    write(&store, "acme", writer * 50 + number).await;
                }
            })
        })
        .collect();
    let outbox = RecordOutbox::new(Arc::clone(store));
    let (mut after, mut read) = (0, Vec::new());
    while read.len() < 200 {
        let page = outbox.read(&org("acme"), after, 20).await.unwrap();
        read.extend(numbers(&page));
        after = page.entries.last().map_or(after, |last| last.seq);
        tokio::task::yield_now().await;
    }
    for one in writing {
        one.await.unwrap();
    }
    read.sort_unstable();
    assert_eq!(read, (0..200).collect::<Vec<_>>());
}

async fn what_is_too_old_or_too_many_is_dropped_and_told(store: &Arc<dyn Store>) {
    let outbox = RecordOutbox::new(Arc::clone(store));
    let acme = org("acme");
    for number in 1..=250 {
        write(store, "acme", number).await;
    }
    let all = outbox.read(&acme, 0, 300).await.unwrap();
    let seq_of = |number: usize| all.entries[number - 1].seq;
    assert_eq!(outbox.trim(&acme, OutboxCut { before_ms: 121, entries: 1000 }).await.unwrap(), 130);
    let page = outbox.read(&acme, 0, 5).await.unwrap();
    assert_eq!((numbers(&page), page.has_gap, page.dropped), ((121..=125).collect(), false, 120));
    assert!(outbox.read(&acme, seq_of(119), 5).await.unwrap().has_gap, "the one after it is gone");
    assert!(!outbox.read(&acme, seq_of(120), 5).await.unwrap().has_gap, "nothing is missing");
    write(store, "acme", 251).await;
    let other = RecordOutbox::new(Arc::clone(store));
    assert_eq!(other.trim(&acme, OutboxCut { before_ms: 0, entries: 20 }).await.unwrap(), 20);
    // The first one has counted more than there are by now.
    assert_eq!(outbox.trim(&acme, OutboxCut { before_ms: 0, entries: 20 }).await.unwrap(), 20);
    let left = outbox.read(&acme, 0, 300).await.unwrap();
    assert_eq!((numbers(&left), left.dropped), ((232..=251).collect(), 231));
}

async fn what_was_read_is_removed_and_not_counted_as_dropped(store: &Arc<dyn Store>) {
    let outbox = RecordOutbox::new(Arc::clone(store));
    let acme = org("acme");
    for number in 1..=150 {
        write(store, "acme", number).await;
    }
    let all = outbox.read(&acme, 0, 200).await.unwrap();
    outbox.remove_through(&acme, all.entries[119].seq).await.unwrap();
    outbox.remove_through(&acme, 0).await.unwrap();
    let left = outbox.read(&acme, 0, 200).await.unwrap();
    assert_eq!((numbers(&left), left.dropped), ((121..=150).collect(), 0));
    assert!(outbox.read(&acme, all.entries[5].seq, 1).await.unwrap().has_gap);
}

async fn orgs_are_apart_and_removed_as_a_whole(store: &Arc<dyn Store>) {
    let outbox = RecordOutbox::new(Arc::clone(store));
    for number in 1..=120 {
        write(store, "acme", number).await;
    }
    write(store, "acme-2", 7).await;
    // In the order of their keys.
    assert_eq!(outbox.orgs().await.unwrap(), [org("acme-2"), org("acme")]);
    outbox.trim(&org("acme"), OutboxCut { before_ms: 3, entries: 1000 }).await.unwrap();
    outbox.remove(&org("acme")).await.unwrap();
    assert_eq!(outbox.read(&org("acme"), 0, 10).await.unwrap(), OutboxPage::default());
    assert_eq!(numbers(&outbox.read(&org("acme-2"), 0, 10).await.unwrap()), [7]);
    assert_eq!(outbox.orgs().await.unwrap(), [org("acme-2")]);
}
