//! Tests of the key ring and of rotations.

use super::*;
use crate::webhooks::{WebhookEndpoint, WebhookSecret, Webhooks, secret_binding};
use crate::{KeyMark, KeyRingRecord, PLATFORM_SCOPE, RewrapPlace, StoreError, StoredKeyRecord, Writes};

fn ring(keys: &[&MasterKey]) -> MasterKeys {
    let text: Vec<String> = keys.iter().map(|key| key.to_text().to_string()).collect();
    MasterKeys::from_text(&text.join("\n")).unwrap()
}

fn key() -> MasterKey {
    MasterKey::generate().unwrap()
}

async fn promote(vault: &Vault, records: &Records, key: &MasterKey) {
    let writes = vault.promotion(&key.id(), 5).await.unwrap().unwrap();
    records.commit(writes).await.unwrap();
}

/// Walks once; returns how many keys were wrapped anew.
async fn walk(vault: &Vault) -> u64 {
    let (mut place, mut count) = (Some(RewrapPlace::start()), 0);
    while let Some(at) = place {
        let step = vault.rewrap(at, 3).await.unwrap();
        assert!(step.failed.is_none(), "{step:?}");
        (place, count) = (step.next, count + step.rewrapped);
    }
    count
}

fn owned(scope: &str) -> OwnedBinding {
    let (connector, name) = ("crm".to_owned(), "client_1".to_owned());
    OwnedBinding { scope: scope.to_owned(), purpose: "oauth client", connector, name, revision: 1 }
}

/// Something of everything that a master key wraps.
struct Filled {
    records: Records,
    workspaces: Vec<(Binding, String)>,
    clients: Vec<(OwnedBinding, String)>,
    webhook_keys: Vec<(&'static str, String, [u8; 32])>,
    digests: [u8; 32],
}

/// Keys of [`Filled`] that a master key wraps.
const WRAPPED: u64 = 7 + 2 + 4 + 1;

impl Filled {
    async fn new(keys: &MasterKeys) -> Self {
        let records = records();
        Vault::initialise(records.clone(), keys.clone()).await.unwrap();
        let vault = Vault::open(records.clone(), keys.clone()).await.unwrap();
        let mut workspaces = Vec::new();
        for n in 0..7 {
            let home = Binding { workspace: WorkspaceId::parse(&format!("w{n}")).unwrap(), ..binding() };
            vault.ensure_workspace_key(&home.org, &home.workspace).await.unwrap();
            let sealed = vault.seal(&home, &example()).await.unwrap().text;
            workspaces.push((home, sealed));
        }
        let mut clients = Vec::new();
        let mut webhook_keys = Vec::new();
        for scope in ["acme", PLATFORM_SCOPE] {
            clients.push((owned(scope), vault.seal_owned(&owned(scope), &example()).await.unwrap()));
            let mut secret = async |name: &str| {
                let (key, sealed) = vault.make_scope_secret(&secret_binding(scope, name)).await.unwrap();
                webhook_keys.push((scope, name.to_owned(), *key));
                WebhookSecret { name: name.to_owned(), sealed, created_at: String::new(), until: None }
            };
            let endpoint = WebhookEndpoint {
                id: portcullis_core::id::WebhookId::parse("hook").unwrap(),
                instance: "hook_1".to_owned(),
                url: String::new(),
                events: Vec::new(),
                enabled: true,
                since_ms: 0,
                secret: secret("whs_2").await,
                old_secret: Some(secret("whs_1").await),
                created_at: String::new(),
                updated_at: String::new(),
            };
            let hooks = Webhooks { endpoints: vec![endpoint] };
            records.commit(Writes::new().create(&[scope], &hooks)).await.unwrap();
        }
        let digests = *vault.key_for("audit digests").await.unwrap();
        Self { records, workspaces, clients, webhook_keys, digests }
    }

    async fn vault(&self, keys: &MasterKeys) -> Vault {
        Vault::open(self.records.clone(), keys.clone()).await.unwrap()
    }

    /// Everything opens, and is what it was.
    async fn check(&self, vault: &Vault) {
        for (home, sealed) in &self.workspaces {
            vault.open_sealed(home, sealed, |_| true).await.unwrap();
        }
        for (home, sealed) in &self.clients {
            vault.open_owned(home, sealed, |_| true).await.unwrap();
        }
        for (scope, name, key) in &self.webhook_keys {
            let (hooks, _) = self.records.get::<Webhooks>(&[scope]).await.unwrap().unwrap();
            let endpoint = &hooks.endpoints[0];
            let secrets = [Some(&endpoint.secret), endpoint.old_secret.as_ref()];
            let secret = secrets.into_iter().flatten().find(|secret| secret.name == *name).unwrap();
            let opened = vault.open_scope_secret(&secret_binding(scope, name), &secret.sealed).await.unwrap();
            assert_eq!(*opened, *key);
        }
        assert_eq!(*vault.key_for("audit digests").await.unwrap(), self.digests);
    }
}

#[tokio::test]
async fn a_rotation_wraps_everything_anew_and_the_old_key_can_then_be_taken_out() {
    let (old, new) = (key(), key());
    let filled = Filled::new(&ring(&[&old])).await;
    let both = ring(&[&old, &new]);
    let vault = filled.vault(&both).await;
    assert_eq!(vault.wrapped_by().await.unwrap(), [(old.id().to_string(), WRAPPED)].into());
    promote(&vault, &filled.records, &new).await;
    assert!(vault.promotion(&new.id(), 6).await.unwrap().is_none(), "it is the current one");
    assert_eq!(vault.current_key().await.unwrap(), new.id());
    // What is new is wrapped with the new key at once, also by a process that was there before.
    let late = Binding { workspace: WorkspaceId::parse("late").unwrap(), ..binding() };
    vault.ensure_workspace_key(&late.org, &late.workspace).await.unwrap();
    let of = async |id: KeyId| vault.wrapped_by().await.unwrap().get(id.as_str()).copied().unwrap_or(0);
    assert_eq!((of(old.id()).await, of(new.id()).await), (WRAPPED, 1));
    // Before the end the old key is needed, and named.
    let refused = Vault::open(filled.records.clone(), new.clone()).await.unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, VaultError::MasterKeyNeeded { .. }), "{text}");
    assert!(text.contains(old.id().as_str()) && text.contains(&format!("{WRAPPED} keys")), "{text}");
    let refused = vault.replace_keys(new.clone()).await.unwrap_err();
    assert!(matches!(refused, VaultError::MasterKeyNeeded { .. }), "{refused}");
    assert_eq!(vault.key_ids(), [old.id(), new.id()], "the keys before stay");

    assert_eq!(walk(&vault).await, WRAPPED);
    assert_eq!(walk(&vault).await, 0);
    assert_eq!((of(old.id()).await, of(new.id()).await), (0, WRAPPED + 1));
    filled.check(&vault).await;
    vault.replace_keys(new.clone()).await.unwrap();
    vault.forget_all();
    filled.check(&vault).await;
    filled.check(&filled.vault(&ring(&[&new])).await).await;
    // The order of lines says nothing any more.
    assert_eq!(filled.vault(&both).await.current_key().await.unwrap(), new.id());
    // The new key is needed, by name, though the old one is known.
    let refused = Vault::open(filled.records.clone(), old.clone()).await.unwrap_err();
    assert!(refused.to_string().contains(&format!("master key {} is needed", new.id())), "{refused}");
    let stranger = Vault::open(filled.records.clone(), key()).await.unwrap_err();
    assert!(matches!(stranger, VaultError::WrongKey { .. }), "{stranger}");
}

#[tokio::test]
async fn a_walk_that_was_cut_off_anywhere_is_completed_by_another() {
    let (old, new) = (key(), key());
    for cut in 0..6 {
        let filled = Filled::new(&ring(&[&old])).await;
        let both = ring(&[&old, &new]);
        let vault = filled.vault(&both).await;
        promote(&vault, &filled.records, &new).await;
        let mut place = Some(RewrapPlace::start());
        for _ in 0..cut {
            let Some(at) = place else { break };
            place = vault.rewrap(at, 2).await.unwrap().next;
        }
        drop(vault);
        let vault = filled.vault(&both).await;
        filled.check(&vault).await;
        walk(&vault).await;
        assert_eq!(vault.wrapped_by().await.unwrap(), [(new.id().to_string(), WRAPPED)].into());
        filled.check(&filled.vault(&ring(&[&new])).await).await;
    }
}

#[tokio::test]
async fn two_walks_at_once_and_a_promotion_between_them_lose_nothing() {
    let (old, new, newest) = (key(), key(), key());
    let filled = Filled::new(&ring(&[&old])).await;
    let all = ring(&[&old, &new, &newest]);
    let (one, two) = (filled.vault(&all).await, filled.vault(&all).await);
    promote(&one, &filled.records, &new).await;
    one.rewrap(RewrapPlace::start(), 3).await.unwrap();
    promote(&two, &filled.records, &newest).await;
    tokio::join!(walk(&one), walk(&two));
    walk(&one).await;
    assert_eq!(one.wrapped_by().await.unwrap(), [(newest.id().to_string(), WRAPPED)].into());
    filled.check(&filled.vault(&ring(&[&newest])).await).await;
}

#[tokio::test]
async fn what_was_wrapped_before_a_promotion_cannot_be_stored_after_it() {
    let (old, new) = (key(), key());
    let filled = Filled::new(&ring(&[&old])).await;
    let vault = filled.vault(&ring(&[&old, &new])).await;
    let bound = secret_binding("acme", "whs_9");
    let (key, made) = vault.make_scope_secret(&bound).await.unwrap();
    let (sealed, mark) = vault.settle_scope_secret(&bound, &made).await.unwrap();
    assert_eq!(sealed, made);
    promote(&vault, &filled.records, &new).await;
    let record = StoredKeyRecord { key: sealed };
    let late = mark.condition(Writes::new().create(&["late"], &record));
    let error = filled.records.commit(late).await.unwrap_err();
    assert!(KeyMark::is_over(&error), "{error}");
    assert!(!KeyMark::is_over(&StoreError::Conflict { key: "key_ring/other".to_owned() }));
    let (sealed, mark) = vault.settle_scope_secret(&bound, &made).await.unwrap();
    assert_eq!(sealed.master_key_id, new.id().as_str());
    assert_eq!(*vault.open_scope_secret(&bound, &sealed).await.unwrap(), *key);
    let record = StoredKeyRecord { key: sealed };
    filled.records.commit(mark.condition(Writes::new().create(&["late"], &record))).await.unwrap();
}

#[tokio::test]
async fn a_store_from_before_there_were_rings_goes_on_and_rotates() {
    let (old, new) = (key(), key());
    let filled = Filled::new(&ring(&[&old])).await;
    let without = Writes::new()
        .delete::<KeyRingRecord>(&KeyRingRecord::PARTS)
        .delete::<StoredKeyRecord>(&["audit-digests"]);
    filled.records.commit(without).await.unwrap();
    // The new key stands first, and still the one that the store knows wraps.
    let vault = filled.vault(&ring(&[&new, &old])).await;
    assert_eq!(vault.current_key().await.unwrap(), old.id());
    let derived = vault.key_for("audit digests").await.unwrap();
    assert_eq!(*derived, *old.derive("audit digests").unwrap(), "as versions before derived it");
    promote(&vault, &filled.records, &new).await;
    walk(&vault).await;
    let alone = filled.vault(&ring(&[&new])).await;
    filled.check(&alone).await;
    assert_eq!(*alone.key_for("audit digests").await.unwrap(), *derived);
}

#[tokio::test]
async fn a_key_that_is_not_there_is_not_promoted_and_a_damaged_one_does_not_stop_the_walk() {
    let (old, new) = (key(), key());
    let filled = Filled::new(&ring(&[&old])).await;
    let vault = filled.vault(&ring(&[&old])).await;
    let error = vault.promotion(&new.id(), 1).await.err().unwrap();
    assert!(matches!(&error, VaultError::MasterKeyMissing { key_id } if *key_id == new.id().as_str()));
    vault.replace_keys(ring(&[&old, &new])).await.unwrap();
    promote(&vault, &filled.records, &new).await;
    let parts = ["acme", "w3"];
    let (mut record, _) = filled.records.get::<WorkspaceKeyRecord>(&parts).await.unwrap().unwrap();
    let whole = record.clone();
    record.key_id = "0123456789abcdef".to_owned();
    filled.records.commit(Writes::new().put(&parts, &record)).await.unwrap();
    let (mut place, mut rewrapped, mut failed) = (Some(RewrapPlace::start()), 0, Vec::new());
    while let Some(at) = place {
        let step = vault.rewrap(at, 3).await.unwrap();
        rewrapped += step.rewrapped;
        failed.extend(step.failed.map(|(key, _)| key));
        place = step.next;
    }
    assert_eq!((rewrapped, failed), (WRAPPED - 1, vec!["workspace_key/acme/w3".to_owned()]));
    filled.records.commit(Writes::new().put(&parts, &whole)).await.unwrap();
    assert_eq!(walk(&vault).await, 1);
}

#[tokio::test]
async fn old_checks_go_when_their_keys_are_gone() {
    let keys: Vec<MasterKey> = (0..5).map(|_| key()).collect();
    let filled = Filled::new(&ring(&[&keys[0]])).await;
    for pair in keys.windows(2) {
        let vault = filled.vault(&ring(&[&pair[0], &pair[1]])).await;
        promote(&vault, &filled.records, &pair[1]).await;
        walk(&vault).await;
    }
    let checks = filled.records.list::<KeyCheckRecord>(&[], None, 9).await.unwrap();
    let mut left: Vec<&str> = checks.iter().map(|(part, _, _)| part.as_str()).collect();
    let mut expected = [keys[3].id().to_string(), keys[4].id().to_string()];
    left.sort_unstable();
    expected.sort();
    assert_eq!(left, expected);
}

#[test]
fn a_ring_is_a_key_on_each_line() {
    let (one, two) = (key(), key());
    let text = format!("# made for the test\n{}\n\n  {}\r\n", *one.to_text(), *two.to_text());
    let keys = MasterKeys::from_text(&text).unwrap();
    assert_eq!(keys.key_ids(), [one.id(), two.id()]);
    assert!(!format!("{keys:?}").contains(&one.to_text()[6..]));
    let canary = "A".repeat(42);
    for (bad, expected) in [
        (String::new(), "not a master key"),
        ("# nothing\n".to_owned(), "not a master key"),
        (format!("{}\npcmk1_{canary}", *one.to_text()), "line 2 of the key ring"),
        (format!("{}\n{}", *one.to_text(), *one.to_text()), "is there twice"),
        ((0..17).map(|_| format!("{}\n", *key().to_text())).collect(), "more than 16 keys"),
    ] {
        let error = MasterKeys::from_text(&bad).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("AAAA"), "{error}");
    }
}
