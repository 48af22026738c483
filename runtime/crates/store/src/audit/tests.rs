//! What an audit log must do, run over each backend of records.

use std::sync::Arc;

use super::*;
use crate::backend::{Batch, MemoryStore, SledStore, Store};
use crate::{OrgRecord, StoreError};

const DAY: u64 = 24 * 3600 * 1000;

fn acme() -> AuditScope {
    AuditScope::Org(OrgId::parse("acme").unwrap())
}

fn event(at_ms: u64, action: &str, target: &str) -> AuditEvent {
    let token_id =
        Some(TokenId::parse(if at_ms.is_multiple_of(2) { "tok_even" } else { "tok_odd" }).unwrap());
    AuditEvent {
        at_ms,
        actor: AuditActor { token_id, role: "org".to_owned(), ..AuditActor::default() },
        address: Some("192.0.2.1".to_owned()),
        action: action.to_owned(),
        target: target.to_owned(),
        before: None,
        after: Some("00".repeat(32)),
        request_id: Some(format!("req_{at_ms}")),
        count: None,
    }
}

async fn add(records: &Records, scope: &AuditScope, event: AuditEvent) {
    let chain = AuditChain::load(records, scope.clone()).await.unwrap();
    let begins = event.action == "createOrg";
    records.commit(chain.append(Writes::new(), vec![event], begins).unwrap()).await.unwrap();
}

async fn many(records: &Records, scope: &AuditScope, times: impl IntoIterator<Item = u64>) {
    for at_ms in times {
        add(records, scope, event(at_ms, "setIntegrations", "integrations/acme")).await;
    }
}

fn wanted(scope: Option<AuditScope>) -> AuditQuery {
    AuditQuery { scope, limit: AUDIT_PAGE_ENTRIES_MAX, ..AuditQuery::default() }
}

async fn times(records: &Records, query: &AuditQuery) -> Vec<u64> {
    let page = read_audit(records, query).await.unwrap();
    page.entries.iter().map(|record| record.event.at_ms).collect()
}

async fn is_intact(records: &Records, scope: &AuditScope) -> bool {
    verify_audit(records, scope).await.unwrap().is_intact()
}

async fn check_all(fresh: impl Fn() -> Arc<dyn Store>) {
    let fresh = || Records::new(fresh());
    a_change_and_its_record_are_one_batch(&fresh()).await;
    writers_at_the_same_time_make_one_chain(&fresh()).await;
    lists_are_newest_first_and_filtered(&fresh()).await;
    an_org_made_again_begins_anew(&fresh()).await;
    changed_and_missing_records_are_found(&fresh()).await;
    what_is_old_goes_and_the_rest_verifies(&fresh()).await;
}

#[tokio::test]
async fn audit_logs_in_memory_conform() {
    check_all(|| Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn audit_logs_in_sled_conform() {
    let dir = tempfile::tempdir().unwrap();
    check_all(|| {
        let own = tempfile::tempdir_in(dir.path()).unwrap().keep();
        Arc::new(SledStore::open(&own).unwrap()) as Arc<dyn Store>
    })
    .await;
}

async fn a_change_and_its_record_are_one_batch(records: &Records) {
    let org = OrgRecord {
        org: OrgId::parse("acme").unwrap(),
        display_name: None,
        created_at: "2026-01-01T00:00:00Z".to_owned(),
    };
    let chain = AuditChain::load(records, acme()).await.unwrap();
    let with = |writes| chain.append(writes, vec![event(1, "createOrg", "org/acme")], true).unwrap();
    records.commit(with(Writes::new().create(&["acme"], &org))).await.unwrap();
    let again = records.commit(with(Writes::new().put(&["globex"], &org))).await.unwrap_err();
    let head = chain.head_key().unwrap();
    assert!(matches!(again, StoreError::Conflict { key } if key == head || key.starts_with("audit")));
    assert!(records.get::<OrgRecord>(&["globex"]).await.unwrap().is_none(), "no change without its record");
    let chain = AuditChain::load(records, acme()).await.unwrap();
    let twice = chain.append(Writes::new().create(&["acme"], &org), vec![event(2, "x", "y")], false).unwrap();
    assert!(records.commit(twice).await.is_err());
    assert_eq!(times(records, &wanted(Some(acme()))).await, [1], "no record without its change");
    assert!(is_intact(records, &acme()).await);
}

async fn writers_at_the_same_time_make_one_chain(records: &Records) {
    let tasks: Vec<_> = (0..8_u64)
        .map(|writer| {
            let records = records.clone();
            tokio::spawn(async move {
                for number in 0..5 {
                    loop {
                        let chain = AuditChain::load(&records, acme()).await.unwrap();
                        let events = vec![event(writer * 10 + number, "setRetention", "retention/acme")];
                        match records.commit(chain.append(Writes::new(), events, false).unwrap()).await {
                            Ok(_) => break,
                            Err(StoreError::Conflict { .. }) => tokio::task::yield_now().await,
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let report = verify_audit(records, &acme()).await.unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.records, report.first_seq, report.last_seq), (40, Some(1), 40));
    let times = times(records, &wanted(Some(acme()))).await;
    assert!(times.is_sorted_by(|a, b| a >= b), "no record is before the one that precedes it: {times:?}");
}

async fn lists_are_newest_first_and_filtered(records: &Records) {
    many(records, &acme(), [10, 20, 31]).await;
    add(records, &AuditScope::Platform, event(15, "createConnector", "connector/crm")).await;
    add(records, &AuditScope::Platform, event(25, "deleteConnector", "connector/crm2")).await;
    add(records, &AuditScope::Logins, event(40, "failedLogin", "login")).await;
    assert_eq!(times(records, &wanted(None)).await, [40, 31, 25, 20, 15, 10]);
    assert_eq!(times(records, &wanted(Some(acme()))).await, [31, 20, 10]);
    assert_eq!(times(records, &wanted(Some(AuditScope::Platform))).await, [25, 15]);
    let between = AuditQuery { since_ms: Some(15), until_ms: Some(31), ..wanted(None) };
    assert_eq!(times(records, &between).await, [25, 20, 15]);
    let own = AuditQuery { since_ms: Some(20), until_ms: Some(31), ..wanted(Some(acme())) };
    assert_eq!(times(records, &own).await, [20]);
    let target = |target: &str| AuditQuery { target: Some(target.to_owned()), ..wanted(None) };
    assert_eq!(times(records, &target("connector/crm")).await, [15], "whole segments");
    assert_eq!(times(records, &target("connector")).await, [25, 15]);
    let action = AuditQuery { action: Some("deleteConnector".to_owned()), ..wanted(None) };
    assert_eq!(times(records, &action).await, [25]);
    let token = AuditQuery { token_id: Some(TokenId::parse("tok_odd").unwrap()), ..wanted(None) };
    assert_eq!(times(records, &token).await, [31, 25, 15]);
    for scope in [None, Some(acme())] {
        let (mut paged, mut query) = (Vec::new(), AuditQuery { limit: 2, ..wanted(scope.clone()) });
        loop {
            let page = read_audit(records, &query).await.unwrap();
            paged.extend(page.entries.iter().map(|record| record.event.at_ms));
            let Some(next) = page.next else { break };
            let text = next.to_string();
            query.after = Some(AuditCursor::parse(&text).unwrap());
        }
        assert_eq!(paged, times(records, &wanted(scope)).await);
    }
    for wrong in ["", "1", "1.acme", "x.acme.1", "1.Acme.1", "1.acme.-1", "+1.acme.1"] {
        assert_eq!(AuditCursor::parse(wrong), None, "{wrong:?}");
    }
}

async fn an_org_made_again_begins_anew(records: &Records) {
    add(records, &acme(), event(1, "createOrg", "org/acme")).await;
    add(records, &acme(), event(2, "deleteOrg", "org/acme")).await;
    add(records, &acme(), event(3, "createOrg", "org/acme")).await;
    add(records, &acme(), event(4, "setRetention", "retention/acme")).await;
    let own = AuditQuery { of_this_life: true, ..wanted(Some(acme())) };
    assert_eq!(times(records, &own).await, [4, 3]);
    assert_eq!(times(records, &wanted(Some(acme()))).await, [4, 3, 2, 1]);
}

/// Puts these bytes in the place of a record, as whoever writes to the disk could.
async fn put(records: &Records, key: &str, value: Option<Vec<u8>>) {
    let batch = match value {
        Some(value) => Batch::new().put(key, value),
        None => Batch::new().delete(key),
    };
    records.store().commit(batch).await.unwrap();
}

async fn changed_and_missing_records_are_found(records: &Records) {
    many(records, &acme(), 1..=5).await;
    many(records, &AuditScope::Platform, 1..=2).await;
    let key = |seq: u64| format!("audit/acme/{}/{}", ms_back(seq), seq_back(seq));
    let order = |seq: u64| format!("audit_order/{}/acme/{}", ms_back(seq), seq_back(seq));
    for seq in 1..=5 {
        for key in [key(seq), order(seq)] {
            let kept = records.store().get(&key).await.unwrap().unwrap().value;
            put(records, &key, None).await;
            let report = verify_audit(records, &acme()).await.unwrap();
            assert_eq!(report.bad.as_ref().map(|bad| bad.seq), Some(seq), "{key}: {report:?}");
            put(records, &key, Some(kept)).await;
        }
        let kept = records.store().get(&key(seq)).await.unwrap().unwrap().value;
        let changed = String::from_utf8(kept.clone()).unwrap().replace("192.0.2.1", "192.0.2.2");
        put(records, &key(seq), Some(changed.into_bytes())).await;
        let report = verify_audit(records, &acme()).await.unwrap();
        assert_eq!(report.bad.as_ref().map(|bad| bad.seq), Some(seq), "{report:?}");
        put(records, &key(seq), Some(b"{}".to_vec())).await;
        assert!(!is_intact(records, &acme()).await);
        put(records, &key(seq), Some(kept)).await;
        assert!(is_intact(records, &acme()).await);
    }
    let head = records.store().get("audit_head/acme").await.unwrap().unwrap().value;
    put(records, "audit_head/acme", None).await;
    assert!(!is_intact(records, &acme()).await);
    let scopes = audit_scopes(records).await.unwrap();
    assert!(scopes.contains(&acme()) && scopes.contains(&AuditScope::Platform) && scopes.len() == 2);
    let other = records.store().get("audit_head/PLATFORM").await.unwrap().unwrap().value;
    put(records, "audit_head/acme", Some(other)).await;
    assert!(!is_intact(records, &acme()).await);
    put(records, "audit_head/acme", Some(head)).await;
    assert!(is_intact(records, &acme()).await && is_intact(records, &AuditScope::Platform).await);
    assert!(is_intact(records, &AuditScope::Logins).await, "an empty one is intact");
}

async fn what_is_old_goes_and_the_rest_verifies(records: &Records) {
    many(records, &acme(), (1..=250).map(|day| day * DAY)).await;
    many(records, &AuditScope::Platform, [DAY, 2 * DAY]).await;
    let cut = AuditCut { before_ms: 201 * DAY, entries: 1000 };
    assert_eq!(trim_audit(records, &acme(), cut).await.unwrap(), 200);
    assert_eq!(trim_audit(records, &acme(), cut).await.unwrap(), 0);
    let report = verify_audit(records, &acme()).await.unwrap();
    assert!(report.is_intact() && report.anchored, "{report:?}");
    assert_eq!((report.records, report.first_seq, report.last_seq), (50, Some(201), 250));
    let cut = AuditCut { before_ms: 0, entries: 20 };
    assert_eq!(trim_audit(records, &acme(), cut).await.unwrap(), 30);
    let left = times(records, &wanted(Some(acme()))).await;
    assert_eq!((left.len(), left.last()), (20, Some(&(231 * DAY))));
    assert_eq!(times(records, &wanted(None)).await.len(), 22, "their places in the order go as well");
    add(records, &acme(), event(251 * DAY, "setRetention", "retention/acme")).await;
    assert!(is_intact(records, &acme()).await && is_intact(records, &AuditScope::Platform).await);
    let all = AuditCut { before_ms: 1000 * DAY, entries: 1000 };
    assert_eq!(trim_audit(records, &acme(), all).await.unwrap(), 21);
    let report = verify_audit(records, &acme()).await.unwrap();
    assert!(report.is_intact() && report.records == 0 && report.last_seq == 251, "{report:?}");
    add(records, &acme(), event(252 * DAY, "setRetention", "retention/acme")).await;
    assert_eq!(verify_audit(records, &acme()).await.unwrap().records, 1);
    // A deletion that was interrupted: what is before the cut is passed over, and goes with the next one.
    let (ms, seq) = (ms_back(10 * DAY), seq_back(10));
    put(records, &format!("audit/acme/{ms}/{seq}"), Some(b"{}".to_vec())).await;
    assert!(is_intact(records, &acme()).await);
    assert_eq!(trim_audit(records, &acme(), AuditCut { before_ms: 0, entries: 1000 }).await.unwrap(), 1);
}
