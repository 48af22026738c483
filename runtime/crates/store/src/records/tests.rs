//! Tests of keys, shapes and typed commits.

use portcullis_core::id::{ConnectionName, ConnectorId, OrgId, WorkspaceId};

use super::*;
use crate::backend::Batch;
use crate::{ConnectorRevision, ConnectorSetting, MemoryStore, OrgRecord, WorkspaceRecord};

fn records() -> Records {
    Records::new(Arc::new(MemoryStore::new()))
}

fn org(name: &str) -> OrgRecord {
    OrgRecord {
        org: OrgId::parse(name).unwrap(),
        display_name: None,
        created_at: "2026-01-01T00:00:00Z".to_owned(),
    }
}

fn workspace(org: &str, name: &str) -> WorkspaceRecord {
    WorkspaceRecord {
        org: OrgId::parse(org).unwrap(),
        workspace: WorkspaceId::parse(name).unwrap(),
        display_name: Some("Main".to_owned()),
        created_at: "2026-01-01T00:00:00Z".to_owned(),
    }
}

#[test]
fn a_part_cannot_smuggle_a_separator() {
    assert_eq!(Key::of::<WorkspaceRecord>(&["acme", "main"]).unwrap(), "workspace/acme/main");
    for bad in ["", "a/b", "..", ".a", "a b", "a\0", "é", &"a".repeat(81)] {
        assert!(Key::of::<OrgRecord>(&[bad]).is_err(), "{bad:?}");
        assert!(Key::prefix::<OrgRecord>(&[bad]).is_err(), "{bad:?}");
    }
    assert!(Key::of::<OrgRecord>(&[]).is_err());
}

#[test]
fn a_key_is_taken_apart_as_it_was_made() {
    let key = Key::of::<WorkspaceRecord>(&["acme", "main"]).unwrap();
    assert_eq!(Key::parse(&key), Some((WorkspaceRecord::KIND, vec!["acme", "main"])));
    assert_eq!(Key::parse("org/acme"), Some(("org", vec!["acme"])));
    for other in ["", "org", "org/", "/acme", "org//acme", "org/acme/", "org/.acme", "org/a b", ".org/acme"] {
        assert_eq!(Key::parse(other), None, "{other:?}");
    }
}

#[test]
fn a_connector_setting_has_the_documented_shape() {
    let name = ConnectorId::parse("salesforce").unwrap();
    let setting = ConnectorSetting::new(name.clone(), true, Some("QUJD".to_owned()));
    assert_eq!(
        serde_json::to_string(&setting).unwrap(),
        r#"{"group":"connector","name":"salesforce","value":{"enabled":true,"encrypted_config":"QUJD"}}"#
    );
    let out = ConnectorSetting::new(name, false, None);
    let text = serde_json::to_string(&out).unwrap();
    assert_eq!(text, r#"{"group":"connector","name":"salesforce","value":{"enabled":false}}"#);
    assert_eq!(serde_json::from_str::<ConnectorSetting>(&text).unwrap(), out);
    let sales = ConnectorSetting::new(ConnectorId::parse("salesforce").unwrap(), true, None);
    let sales = sales.named(ConnectionName::parse("sales").ok(), Some("Sales team".to_owned()));
    let named = r#"{"group":"connector","name":"salesforce","connection":"sales","label":"Sales team","value":{"enabled":true}}"#;
    assert_eq!(serde_json::to_string(&sales).unwrap(), named);
    assert_eq!(serde_json::from_str::<ConnectorSetting>(named).unwrap(), sales);
    let extra = text.replace("false", "false,\"secret\":1");
    assert!(serde_json::from_str::<ConnectorSetting>(&extra).is_err());
}

#[test]
fn connector_revision_parts_sort_by_number() {
    assert!(ConnectorRevision::part(9) < ConnectorRevision::part(10));
    assert_eq!(ConnectorRevision::part(7), "0000000007");
}

#[tokio::test]
async fn create_replace_and_delete_keep_their_conditions() {
    let records = records();
    let first = records.commit(Writes::new().create(&["acme"], &org("acme"))).await.unwrap();
    let again = records.commit(Writes::new().create(&["acme"], &org("acme"))).await;
    assert!(matches!(again, Err(StoreError::Conflict { key }) if key == "org/acme"));
    let (found, revision) = records.get::<OrgRecord>(&["acme"]).await.unwrap().unwrap();
    assert_eq!((found, revision), (org("acme"), first));
    let next = records.commit(Writes::new().replace(&["acme"], &org("acme"), revision)).await.unwrap();
    let stale = records.commit(Writes::new().replace(&["acme"], &org("acme"), revision)).await;
    assert!(matches!(stale, Err(StoreError::Conflict { .. })));
    let guarded = Writes::new()
        .require_present::<OrgRecord>(&["acme"])
        .require_revision::<OrgRecord>(&["acme"], next)
        .create(&["acme", "main"], &workspace("acme", "main"));
    records.commit(guarded).await.unwrap();
    let orphan = Writes::new()
        .require_present::<OrgRecord>(&["nobody"])
        .create(&["nobody", "main"], &workspace("nobody", "main"));
    assert!(matches!(records.commit(orphan).await, Err(StoreError::Conflict { .. })));
    records
        .commit(Writes::new().require_absent::<OrgRecord>(&["nobody"]).delete::<OrgRecord>(&["acme"]))
        .await
        .unwrap();
    assert!(records.get::<OrgRecord>(&["acme"]).await.unwrap().is_none());
}

#[tokio::test]
async fn a_document_is_parsed_once_until_it_is_written() {
    let records = records();
    let read = || async { records.get_shared::<OrgRecord>(&["acme"]).await.unwrap() };
    assert!(read().await.is_none());
    assert!(read().await.is_none(), "that there is none is kept, too");
    let first = records.commit(Writes::new().create(&["acme"], &org("acme"))).await.unwrap();
    let (document, revision) = read().await.unwrap();
    assert_eq!(revision, first);
    assert!(Arc::ptr_eq(&document, &read().await.unwrap().0));
    // Another handle of the same store, without this one's cache.
    let elsewhere = Records::new(Arc::clone(records.store()));
    let renamed = OrgRecord { display_name: Some("Acme".to_owned()), ..org("acme") };
    let second = elsewhere.commit(Writes::new().replace(&["acme"], &renamed, first)).await.unwrap();
    let (document, revision) = read().await.unwrap();
    assert_eq!((document.display_name.as_deref(), revision), (Some("Acme"), second));
    elsewhere.commit(Writes::new().delete::<OrgRecord>(&["acme"])).await.unwrap();
    assert!(read().await.is_none());
}

#[tokio::test]
async fn a_forgotten_document_is_read_again_and_the_others_are_kept() {
    let records = records();
    for name in ["acme", "other"] {
        records.commit(Writes::new().create(&[name], &org(name))).await.unwrap();
    }
    let read = async |name: &str| records.get_shared::<OrgRecord>(&[name]).await.unwrap().unwrap().0;
    let (acme, other) = (read("acme").await, read("other").await);
    records.forget(["org/acme", "org/nobody"]);
    assert!(records.kept::<OrgRecord>(&["acme"]).is_none());
    assert!(Arc::ptr_eq(&read("other").await, &other));
    let again = read("acme").await;
    assert!(!Arc::ptr_eq(&again, &acme) && *again == *acme);
    records.forget_all();
    assert!(
        records.kept::<OrgRecord>(&["acme"]).is_none() && records.kept::<OrgRecord>(&["other"]).is_none()
    );
    assert_eq!(*read("other").await, *other);
}

/// Every read returns a value that was current at some time between its start and its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_never_sees_less_than_what_was_acknowledged_before_it_asked() {
    let records = records();
    let revision = |found: Option<(Arc<OrgRecord>, u64)>| found.map_or(0, |(_, revision)| revision);
    let acknowledged = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let order = std::sync::atomic::Ordering::SeqCst;
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (records, acknowledged) = (records.clone(), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                while acknowledged.load(order) < 2000 {
                    let least = acknowledged.load(order);
                    let read = records.get_shared::<OrgRecord>(&["acme"]).await.unwrap();
                    assert!(revision(read) >= least);
                }
            })
        })
        .collect();
    for _ in 0..2000 {
        let written = records.commit(Writes::new().put(&["acme"], &org("acme"))).await.unwrap();
        acknowledged.store(written, order);
        tokio::task::yield_now().await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn listing_does_not_reach_into_a_sibling_with_a_longer_name() {
    let records = records();
    for (org, name) in [("acme", "a"), ("acme", "b"), ("acme2", "c"), ("acme-x", "d")] {
        records.commit(Writes::new().put(&[org, name], &workspace(org, name))).await.unwrap();
    }
    let names = |found: Vec<Listed<WorkspaceRecord>>| -> Vec<String> {
        found.into_iter().map(|(part, _, _)| part).collect()
    };
    let all = records.list::<WorkspaceRecord>(&["acme"], None, 10).await.unwrap();
    assert_eq!(names(all), ["a", "b"]);
    let rest = records.list::<WorkspaceRecord>(&["acme"], Some("a"), 10).await.unwrap();
    assert_eq!(names(rest), ["b"]);
    assert!(records.has_any::<WorkspaceRecord>(&["acme2"]).await.unwrap());
    assert!(!records.has_any::<WorkspaceRecord>(&["acm"]).await.unwrap());
    assert_eq!(records.list::<WorkspaceRecord>(&[], None, 3).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_bad_part_fails_the_whole_commit_and_an_odd_document_is_unreadable() {
    let records = records();
    let writes = Writes::new().put(&["acme"], &org("acme")).put(&["a/b"], &org("acme"));
    assert!(matches!(records.commit(writes).await, Err(StoreError::InvalidKey { .. })));
    assert!(!records.has_any::<OrgRecord>(&[]).await.unwrap());
    let odd = Batch::new().put("org/odd", br#"{"org":"odd","canary":"x"}"#.to_vec());
    records.store().commit(odd).await.unwrap();
    let error = records.get::<OrgRecord>(&["odd"]).await.unwrap_err();
    assert!(!error.to_string().contains("canary"), "{error}");
    assert!(matches!(error, StoreError::Unreadable { kind: "org", .. }));
}

mod unversioned;
