//! Tests of master keys, key checks and shredding.

use super::*;

#[tokio::test]
async fn the_wrong_key_stops_the_start_and_the_right_one_does_not() {
    let records = records();
    let key = MasterKey::generate().unwrap();
    let missing = Vault::open(records.clone(), key.clone()).await.unwrap_err();
    assert!(matches!(missing, VaultError::NotInitialised));
    assert!(missing.to_string().contains("portcullis init"));
    vault_with(&records, &key).await;
    Vault::initialise(records.clone(), key.clone()).await.unwrap();
    Vault::open(records.clone(), key.clone()).await.unwrap();

    let other = MasterKey::generate().unwrap();
    for result in [
        Vault::open(records.clone(), other.clone()).await.map(|_| ()),
        Vault::initialise(records.clone(), other.clone()).await,
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, VaultError::WrongKey { .. }));
        let text = error.to_string();
        assert!(text.contains(key.id().as_str()) && text.contains(other.id().as_str()), "{text}");
        assert!(!text.contains(&key.to_text()[6..]), "{text}");
    }
    // The stored check under another key's name is not accepted.
    let check = records.list::<KeyCheckRecord>(&[], None, 9).await.unwrap()[0].1.clone();
    let renamed = KeyCheckRecord { key_id: other.id().to_string(), ..check };
    let moved =
        Writes::new().put(&[other.id().as_str()], &renamed).delete::<KeyCheckRecord>(&[key.id().as_str()]);
    records.commit(moved).await.unwrap();
    assert!(matches!(Vault::open(records.clone(), other).await, Err(VaultError::WrongKey { .. })));
    records.commit(Writes::new().delete::<KeyCheckRecord>(&[MasterKey::id(&key).as_str()])).await.unwrap();
}

#[tokio::test]
async fn a_store_that_lost_its_key_check_is_not_initialised_again() {
    let records = records();
    let key = MasterKey::generate().unwrap();
    vault_with(&records, &key).await;
    let lost = Writes::new().delete::<KeyCheckRecord>(&[key.id().as_str()]);
    records.commit(lost).await.unwrap();
    let error = Vault::initialise(records, key).await.unwrap_err();
    assert!(matches!(error, VaultError::KeyCheckMissing), "{error}");
}

#[tokio::test]
async fn shredding_closes_everything_of_the_workspace_and_nothing_else() {
    let vault = vault().await;
    let home = binding();
    let neighbour = Binding { workspace: WorkspaceId::parse("main2").unwrap(), ..home.clone() };
    vault.ensure_workspace_key(&neighbour.org, &neighbour.workspace).await.unwrap();
    let sealed = vault.seal(&home, &example()).await.unwrap();
    let next_door = vault.seal(&neighbour, &example()).await.unwrap();
    assert!(vault.open_sealed(&home, &sealed.text, |_| true).await.is_ok());
    vault.shred_workspace(&home.org, &home.workspace).await.unwrap();
    let error = vault.open_sealed(&home, &sealed.text, |_| true).await.unwrap_err();
    assert!(matches!(error, VaultError::NoWorkspaceKey { .. }), "{error}");
    assert!(vault.seal(&home, &example()).await.is_err());
    vault.ensure_workspace_key(&home.org, &home.workspace).await.unwrap();
    let error = vault.open_sealed(&home, &sealed.text, |_| true).await.unwrap_err();
    assert!(matches!(error, VaultError::UnknownKey(_)), "{error}");
    assert!(vault.open_sealed(&neighbour, &next_door.text, |_| true).await.is_ok());
}

#[tokio::test]
async fn a_new_vault_on_the_same_records_opens_what_the_old_one_sealed() {
    let records = records();
    let key = MasterKey::generate().unwrap();
    let sealed = vault_with(&records, &key).await.seal(&binding(), &example()).await.unwrap();
    let text = key.to_text();
    let reopened = Vault::open(records, MasterKey::from_text(&text).unwrap()).await.unwrap();
    assert!(reopened.open_sealed(&binding(), &sealed.text, |_| true).await.is_ok());
}

#[test]
fn master_key_text_is_exact() {
    let key = MasterKey::generate().unwrap();
    let text = key.to_text();
    assert_eq!(text.len(), 49);
    for good in [text.to_string(), format!("{}\n", *text), format!("{}\r\n", *text)] {
        assert_eq!(MasterKey::from_text(&good).unwrap().id(), key.id());
    }
    let canary = "A".repeat(43);
    for bad in [
        String::new(),
        canary.clone(),
        format!("pcmk2_{canary}"),
        format!("pcmk1_{canary}A"),
        format!("pcmk1_{}", "A".repeat(42)),
        format!("pcmk1_{canary}="),
        format!("pcmk1_{canary}\n\n"),
        format!(" pcmk1_{canary}"),
    ] {
        let error = MasterKey::from_text(&bad).unwrap_err();
        assert!(!error.to_string().contains("AAAA"), "{error}");
    }
    assert!(!format!("{key:?}").contains(&text[6..]));
}

#[tokio::test]
async fn a_key_that_another_process_shredded_opens_nothing_once_it_is_forgotten() {
    let records = records();
    let key = MasterKey::generate().unwrap();
    let vault = vault_with(&records, &key).await;
    let elsewhere = Vault::open(records.clone(), key).await.unwrap();
    let home = binding();
    let sealed = vault.seal(&home, &example()).await.unwrap();
    elsewhere.shred_workspace(&home.org, &home.workspace).await.unwrap();
    let changed = records.changes(0, 100).await.unwrap().pop().unwrap();
    let meant =
        (<WorkspaceKeyRecord as crate::Document>::KIND, vec![home.org.as_str(), home.workspace.as_str()]);
    assert_eq!((crate::Key::parse(&changed.key), changed.deleted), (Some(meant), true));
    vault.forget_workspace(&home.org, &home.workspace);
    let error = vault.open_sealed(&home, &sealed.text, |_| true).await.unwrap_err();
    assert!(matches!(error, VaultError::NoWorkspaceKey { .. }), "{error}");
}
