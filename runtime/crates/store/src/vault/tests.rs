//! Tests of what must open, beside similar cases that must not.

use std::sync::Arc;

use portcullis_core::secret::SecretValue;
use proptest::prelude::*;

use super::format::{Parts, decode};
use super::*;
use crate::MemoryStore;

/// The only code in these tests that reads a secret.
pub(super) fn secret_text(value: &SecretValue) -> String {
    value.expose().to_owned()
}

pub(super) fn binding() -> Binding {
    Binding {
        org: OrgId::parse("acme").unwrap(),
        workspace: WorkspaceId::parse("main").unwrap(),
        connector: ConnectorId::parse("salesforce").unwrap(),
        connection: None,
        credential: CredentialId::parse("cred_1").unwrap(),
        revision: 7,
    }
}

pub(super) fn payload(hosts: &[&str], fields: &[(&str, &str)]) -> SecretPayload {
    let secret = |(name, value): &(&str, &str)| ((*name).to_owned(), SecretValue::new((*value).to_owned()));
    SecretPayload {
        fields: SecretFields::new(fields.iter().map(secret).collect()),
        allowed_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
    }
}

pub(super) fn example() -> SecretPayload {
    payload(&["api.example.com"], &[("api_key", "sk_canary"), ("secret", "s2_canary")])
}

fn records() -> Records {
    Records::new(Arc::new(MemoryStore::new()))
}

async fn vault_with(records: &Records, key: &MasterKey) -> Vault {
    Vault::initialise(records.clone(), key.clone()).await.unwrap();
    let vault = Vault::open(records.clone(), key.clone()).await.unwrap();
    let bound = binding();
    vault.ensure_workspace_key(&bound.org, &bound.workspace).await.unwrap();
    vault
}

async fn vault() -> Vault {
    vault_with(&records(), &MasterKey::generate().unwrap()).await
}

async fn seal(vault: &Vault, binding: &Binding, payload: &SecretPayload) -> Vec<u8> {
    BASE64.decode(vault.seal(binding, payload).await.unwrap().text).unwrap()
}

async fn opens(vault: &Vault, binding: &Binding, bytes: &[u8]) -> bool {
    vault.open_sealed(binding, &BASE64.encode(bytes), |_| true).await.is_ok()
}

#[tokio::test]
async fn what_is_sealed_opens_and_shows_nothing_on_the_way() {
    let vault = vault().await;
    let sealed = vault.seal(&binding(), &example()).await.unwrap();
    let bytes = BASE64.decode(&sealed.text).unwrap();
    assert_eq!(hex::encode(&bytes[4..12]), sealed.key_id);
    assert!(!bytes.windows(6).any(|part| part == b"canary"));
    assert!(!bytes.windows(7).any(|part| part == b"example"));
    assert_eq!(vault.opens(), 0);
    let opened = vault.open_sealed(&binding(), &sealed.text, |_| true).await.unwrap();
    assert_eq!(vault.opens(), 1);
    assert_eq!(opened.allowed_hosts, ["api.example.com"]);
    assert_eq!(secret_text(opened.fields.get("api_key").unwrap()), "sk_canary");
    let names: Vec<&str> = opened.fields.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["api_key", "secret"]);
    assert!(!format!("{opened:?}").contains("canary"));
    let again = vault.seal(&binding(), &example()).await.unwrap();
    assert_ne!(again.text, sealed.text, "every write has a new data key");
}

#[tokio::test]
async fn a_credential_opens_nowhere_but_where_it_was_sealed() {
    let vault = vault().await;
    let home = binding();
    let bytes = seal(&vault, &home, &example()).await;
    let org = OrgId::parse("acme2").unwrap();
    let workspace = WorkspaceId::parse("main2").unwrap();
    let elsewhere = [
        Binding { org, ..home.clone() },
        Binding { workspace, ..home.clone() },
        Binding { connector: ConnectorId::parse("hubspot").unwrap(), ..home.clone() },
        Binding { connection: Some(ConnectionName::parse("sales").unwrap()), ..home.clone() },
        Binding { credential: CredentialId::parse("cred_2").unwrap(), ..home.clone() },
        Binding { revision: 6, ..home.clone() },
        Binding { revision: 8, ..home.clone() },
        // The same bytes of names, divided differently.
        Binding {
            connector: ConnectorId::parse("salesforcec").unwrap(),
            credential: CredentialId::parse("red_1").unwrap(),
            ..home.clone()
        },
    ];
    // Opened before, so that the cache has no part in what follows.
    assert!(opens(&vault, &home, &bytes).await);
    for other in elsewhere {
        vault.ensure_workspace_key(&other.org, &other.workspace).await.unwrap();
        assert!(!opens(&vault, &other, &bytes).await, "{other:?}");
        let own = seal(&vault, &other, &example()).await;
        assert!(opens(&vault, &other, &own).await, "{other:?}");
        assert!(!opens(&vault, &home, &own).await, "{other:?}");
    }
    assert!(opens(&vault, &home, &bytes).await);
}

#[tokio::test]
async fn a_workspace_key_row_moved_to_another_tenant_does_not_open() {
    let vault = vault().await;
    let home = binding();
    let (record, _) = vault.records.get::<WorkspaceKeyRecord>(&["acme", "main"]).await.unwrap().unwrap();
    let moved = WorkspaceKeyRecord { workspace: WorkspaceId::parse("evil").unwrap(), ..record };
    vault.records.commit(Writes::new().put(&["acme", "evil"], &moved)).await.unwrap();
    let evil = Binding { workspace: WorkspaceId::parse("evil").unwrap(), ..home.clone() };
    let error = vault.seal(&evil, &example()).await.unwrap_err();
    assert!(matches!(error, VaultError::Refused), "{error}");
    assert!(vault.seal(&home, &example()).await.is_ok());
}

#[tokio::test]
async fn fields_cannot_be_swapped_dropped_renamed_added_or_taken_from_another_write() {
    let vault = vault().await;
    let bytes = seal(&vault, &binding(), &example()).await;
    let other = seal(&vault, &binding(), &example()).await;
    let parts = || decode(&bytes).unwrap();
    let foreign = decode(&other).unwrap();
    let mut changed = Vec::new();
    for change in 0..8 {
        let mut parts = parts();
        match change {
            0 => {
                let (first, second) = (parts.fields[1].1, parts.fields[2].1);
                (parts.fields[1].1, parts.fields[2].1) = (second, first);
            }
            1 => parts.fields.swap(1, 2),
            2 => drop(parts.fields.remove(2)),
            3 => drop(parts.fields.remove(1)),
            4 => parts.fields[1].0 = "renamed",
            5 => parts.fields.push(("extra", parts.fields[1].1)),
            6 => parts.fields[1].1 = foreign.fields[1].1,
            _ => parts.fields[0].1 = foreign.fields[0].1,
        }
        changed.push(parts.encode());
    }
    let hybrid = Parts { wrapped: foreign.wrapped, commitment: foreign.commitment, ..parts() };
    changed.push(hybrid.encode());
    changed.push(Parts { commitment: foreign.commitment, ..parts() }.encode());
    for (case, changed) in changed.iter().enumerate() {
        assert!(!opens(&vault, &binding(), changed).await, "{case}");
    }
    assert!(opens(&vault, &binding(), &parts().encode()).await);
}

#[tokio::test]
async fn a_flipped_bit_in_any_byte_is_refused() {
    let vault = vault().await;
    let bytes = seal(&vault, &binding(), &example()).await;
    // The second time with its key in the cache.
    for _ in 0..2 {
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            assert!(!opens(&vault, &binding(), &flipped).await, "byte {at}");
        }
        assert!(opens(&vault, &binding(), &bytes).await);
    }
}

#[tokio::test]
async fn another_data_key_with_the_right_tag_is_refused_by_the_commitment() {
    let vault = vault().await;
    let bound = binding();
    let bytes = seal(&vault, &bound, &example()).await;
    let key = vault.workspace_key(&bound.org, &bound.workspace).await.unwrap();
    let parts = decode(&bytes).unwrap();
    // With the workspace key another data key can be wrapped, but not for this commitment.
    let associated = associated::Associated::of_credential("data key", &key.id, &(&bound).into(), 3);
    let wrapped = wrap::wrap(&key.bytes, associated.as_bytes(), &[9; 32], &OsRandom).unwrap();
    let forged = Parts { wrapped: &wrapped, ..parts };
    for _ in 0..2 {
        assert!(matches!(seal::open(&key, &bound, &forged.encode(), |_| true), Err(VaultError::Refused)));
        assert!(seal::open(&key, &bound, &bytes, |_| true).is_ok());
    }
}

#[tokio::test]
async fn limits_are_checked_on_both_sides() {
    let vault = vault().await;
    let bound = binding();
    let fixed = seal(&vault, &bound, &payload(&[], &[("f", "")])).await.len();
    let most = "x".repeat(format::SEALED_BYTES_MAX - fixed);
    let sealed = vault.seal(&bound, &payload(&[], &[("f", &most)])).await.unwrap();
    assert_eq!(sealed.text.len(), SEALED_TEXT_BYTES_MAX);
    assert!(vault.open_sealed(&bound, &sealed.text, |_| true).await.is_ok());
    let over = format!("{most}x");
    let error = vault.seal(&bound, &payload(&[], &[("f", &over)])).await.unwrap_err();
    assert!(matches!(error, VaultError::TooLarge { .. }), "{error}");
    let long = "A".repeat(SEALED_TEXT_BYTES_MAX + 4);
    let error = vault.open_sealed(&bound, &long, |_| true).await.unwrap_err();
    assert!(matches!(error, VaultError::Malformed(_)), "{error}");

    let names: Vec<String> = (0..65).map(|i| format!("f{i}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    assert!(vault.seal(&bound, &payload(&[], &many[..64])).await.is_ok());
    assert!(vault.seal(&bound, &payload(&[], &many)).await.is_err());
    for bad in ["", "@allowed_hosts", "a b", "é", &"n".repeat(65)] {
        assert!(vault.seal(&bound, &payload(&[], &[(bad, "v")])).await.is_err(), "{bad:?}");
    }
    assert!(vault.seal(&bound, &payload(&[], &[("a", "1"), ("a", "2")])).await.is_err());
}

proptest! {
    #[test]
    fn random_bytes_never_panic_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(parts) = decode(&bytes) {
            prop_assert_eq!(parts.encode(), bytes);
        }
    }

    #[test]
    fn mutated_bytes_never_panic_and_decode_only_to_themselves(
        at in 0..400_usize, to in any::<u8>(), cut in 0..400_usize, names in prop::collection::vec("[a-z@.]{0,5}", 0..4),
    ) {
        let wrapped = [7; 72];
        let mut fields: Vec<(&str, &[u8])> = vec![("@allowed_hosts", b"0123456789abcdef")];
        fields.extend(names.iter().map(|name| (name.as_str(), b"0123456789abcdef".as_slice())));
        let parts = Parts { key_id: [1; 8], wrapped: &wrapped, commitment: [2; 32], fields };
        let mut bytes = parts.encode();
        let length = bytes.len();
        bytes[at % length] = to;
        bytes.truncate(length - cut % 8 * usize::from(cut % 2 == 0));
        if let Ok(parts) = decode(&bytes) {
            prop_assert_eq!(parts.encode(), bytes);
        }
    }
}

mod keys;
mod rotation;
mod second_implementation;

#[test]
fn a_key_for_another_purpose_is_hkdf_of_the_master_key() {
    let master = MasterKey::from_text(&format!("pcmk1_{}", "A".repeat(43))).unwrap();
    let mut expected = [0; 32];
    let hkdf = hkdf::Hkdf::<sha2::Sha256>::new(Some(b"portcullis master key v1"), &[0; 32]);
    hkdf.expand(b"compiled components", &mut expected).unwrap();
    assert_eq!(*master.derive("compiled components").unwrap(), expected);
    assert_ne!(*master.derive("something else").unwrap(), expected);
}
