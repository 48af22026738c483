//! The record of a change beside the change itself, in memory.

use portcullis_store::{AuditPage, AuditQuery, ConnectorRecord, MemoryStore, read_audit, verify_audit};

use super::*;

fn records() -> Records {
    Records::new(Arc::new(MemoryStore::new()))
}

fn acting(operation: &'static str, kinds: &'static [&'static str]) -> Acting {
    let actor = AuditActor { role: "platform".to_owned(), ..AuditActor::default() };
    Acting { operation, kinds, actor, address: None, request_id: None }
}

fn org(name: &str, display_name: &str) -> OrgRecord {
    OrgRecord {
        org: OrgId::parse(name).unwrap(),
        display_name: Some(display_name.to_owned()),
        created_at: "2026-01-01T00:00:00Z".to_owned(),
    }
}

async fn all(records: &Records) -> AuditPage {
    read_audit(records, &AuditQuery { limit: 100, ..AuditQuery::default() }).await.unwrap()
}

#[tokio::test]
async fn what_was_there_before_is_what_the_record_before_says() {
    let records = records();
    let desk = AuditDesk::new(records.clone(), &[1; 32], &Limits::default());
    let of_org = acting("createOrg", &[OrgRecord::KIND]);
    for name in ["One", "Two"] {
        let writes = Writes::new().put(&["acme"], &org("acme", name));
        let (_, _, recorded) = desk.commit(writes, &of_org, of_org.kinds).await.unwrap();
        assert_eq!(recorded, [OrgRecord::KIND]);
    }
    let writes = Writes::new().delete::<OrgRecord>(&["acme"]).delete::<OrgRecord>(&["globex"]);
    desk.commit(writes, &of_org, of_org.kinds).await.unwrap();
    let page = all(&records).await;
    let [last, second, first] = page.entries.as_slice() else { panic!("{page:?}") };
    assert_eq!((&first.event.before, &last.event.after), (&None, &None));
    assert_eq!(second.event.before, first.event.after);
    assert_eq!(last.event.before, second.event.after);
    assert_ne!(first.event.after, second.event.after);
    assert_eq!(last.event.target, "org/acme", "nothing was there of the other");
    let writes = Writes::new().delete::<OrgRecord>(&["acme"]);
    let (_, _, recorded) = desk.commit(writes, &of_org, of_org.kinds).await.unwrap();
    assert!(recorded.is_empty() && all(&records).await.entries.len() == 3, "nothing changed");
    let of_other = acting("createConnector", &[ConnectorRecord::KIND]);
    let writes = Writes::new().put(&["acme"], &org("acme", "Three"));
    desk.commit(writes, &of_other, of_other.kinds).await.unwrap();
    assert_eq!(all(&records).await.entries.len(), 3, "it is no change of that operation");
}

#[tokio::test]
async fn a_digest_is_another_one_under_another_key() {
    let mut digests = BTreeSet::new();
    for key in [[1; 32], [2; 32]] {
        let records = records();
        let desk = AuditDesk::new(records.clone(), &key, &Limits::default());
        let of_org = acting("createOrg", &[OrgRecord::KIND]);
        let writes = Writes::new().put(&["acme"], &org("acme", "Acme"));
        desk.commit(writes, &of_org, of_org.kinds).await.unwrap();
        digests.insert(all(&records).await.entries[0].event.after.clone());
    }
    assert_eq!(digests.len(), 2, "who has not the key cannot check a guess");
}

#[tokio::test]
async fn a_callers_own_condition_fails_for_the_caller_and_leaves_no_record() {
    let records = records();
    let desk = AuditDesk::new(records.clone(), &[1; 32], &Limits::default());
    let of_org = acting("createOrg", &[OrgRecord::KIND]);
    let make = || Writes::new().create(&["acme"], &org("acme", "Acme"));
    desk.commit(make(), &of_org, of_org.kinds).await.unwrap();
    let refused = [
        make(),
        Writes::new().replace(&["acme"], &org("acme", "Other"), 99),
        Writes::new().require_present::<OrgRecord>(&["globex"]).put(&["globex"], &org("globex", "Globex")),
    ];
    for writes in refused {
        let error = desk.commit(writes, &of_org, of_org.kinds).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    }
    assert_eq!(all(&records).await.entries.len(), 1);
}

#[tokio::test]
async fn changes_at_the_same_time_each_have_their_record_in_one_chain() {
    let records = records();
    // Two processes.
    let desks: Vec<_> =
        (0..2).map(|_| Arc::new(AuditDesk::new(records.clone(), &[1; 32], &Limits::default()))).collect();
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let desk = Arc::clone(&desks[number % 2]);
            tokio::spawn(async move {
                let of_org = acting("createOrg", &[OrgRecord::KIND]);
                let writes = Writes::new().put(&["acme"], &org("acme", &number.to_string()));
                desk.commit(writes, &of_org, of_org.kinds).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let scope = AuditScope::Org(OrgId::parse("acme").unwrap());
    let report = verify_audit(&records, &scope).await.unwrap();
    assert!(report.is_intact() && report.records == 16, "{report:?}");
    let entries = all(&records).await.entries;
    for pair in entries.windows(2) {
        assert_eq!(pair[0].event.before, pair[1].event.after, "each says what it replaced");
    }
}

#[tokio::test]
async fn whoever_changes_all_the_time_drops_its_oldest_records_before_the_sweep_comes() {
    let records = records();
    let limits = Limits { audit_records: 10, ..Limits::default() };
    let desk = AuditDesk::new(records.clone(), &[1; 32], &limits);
    let of_org = acting("setIntegrations", &[]);
    let org = OrgId::parse("acme").unwrap();
    for _ in 0..=EXCESS_MAX + 20 {
        desk.note(&of_org, Some(org.clone()), "integrations/acme".to_owned()).await.unwrap();
    }
    let report = verify_audit(&records, &AuditScope::Org(org)).await.unwrap();
    assert!(report.is_intact() && report.records < 30, "{report:?}");
}
