//! A second implementation of the sealed format, with other libraries, against the golden vectors.
//!
//! It shares only the written format with the vault: AES-256-GCM and ChaCha20-Poly1305 are from
//! aws-lc-rs, HKDF from RustCrypto, HChaCha20 is below. What it opens, any implementation of the format can.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::*;

/// Random bytes that are the same every time: SHA-256 of a counter.
pub(super) struct FixedRandom(AtomicU64);

impl FixedRandom {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl RandomSource for FixedRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), VaultError> {
        for chunk in bytes.chunks_mut(32) {
            let block = Sha256::digest(self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Golden {
    about: String,
    master_key: String,
    key_check: KeyCheckRecord,
    workspace_key: WorkspaceKeyRecord,
    cases: Vec<Case>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Case {
    connector: String,
    credential: String,
    revision: u64,
    allowed_hosts: Vec<String>,
    fields: Vec<(String, String)>,
    sealed: String,
}

fn stored() -> Golden {
    serde_json::from_str(include_str!("../../../golden/vault_v1.json")).unwrap()
}

/// The vectors as the current code makes them.
async fn made() -> Golden {
    let text = format!("pcmk1_{}", URL_SAFE_NO_PAD.encode([0x42; 32]));
    let master = MasterKey::from_text(&text).unwrap();
    let keys = MasterKeys::new(master.clone()).with_random(Arc::new(FixedRandom::new()));
    let records = Records::new(Arc::new(MemoryStore::new()));
    Vault::initialise(records.clone(), keys.clone()).await.unwrap();
    let mut vault = Vault::open(records.clone(), keys).await.unwrap();
    vault.random = Arc::new(FixedRandom::new());
    let first = binding();
    vault.ensure_workspace_key(&first.org, &first.workspace).await.unwrap();
    let second = Binding { revision: u64::MAX, ..first.clone() };
    let hosts: &[&str] = &["api.example.com", "*.example.org"];
    let mut cases = Vec::new();
    for (binding, hosts, fields) in
        [(first, hosts, vec![("api_key", "sk_live_1"), ("password", "pässwörd ☂")]), (second, &[], vec![])]
    {
        let sealed = vault.seal(&binding, &payload(hosts, &fields)).await.unwrap();
        cases.push(Case {
            connector: binding.connector.to_string(),
            credential: binding.credential.to_string(),
            revision: binding.revision,
            allowed_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            fields: fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            sealed: sealed.text,
        });
    }
    let checks = records.list::<KeyCheckRecord>(&[], None, 9).await.unwrap();
    let keys = records.list::<WorkspaceKeyRecord>(&[], None, 9).await.unwrap();
    Golden {
        about: "Sealed credentials, format 1, made with fixed keys and nonces. Never change it: \
                a new format gets a new file."
            .to_owned(),
        master_key: text,
        key_check: checks[0].1.clone(),
        workspace_key: keys[0].1.clone(),
        cases,
    }
}

#[tokio::test]
async fn the_format_has_not_changed() {
    let made = made().await;
    let text = serde_json::to_string_pretty(&made).unwrap();
    assert_eq!(made, stored(), "today's code makes:\n{text}");
}

#[tokio::test]
async fn the_vault_opens_the_golden_vectors() {
    let golden = stored();
    let records = Records::new(Arc::new(MemoryStore::new()));
    let parts = [golden.workspace_key.org.as_str(), golden.workspace_key.workspace.as_str()];
    let writes = Writes::new()
        .create(&[&golden.key_check.key_id], &golden.key_check)
        .create(&parts, &golden.workspace_key);
    records.commit(writes).await.unwrap();
    let key = MasterKey::from_text(&golden.master_key).unwrap();
    let vault = Vault::open(records, key).await.unwrap();
    for case in golden.cases {
        let binding = Binding {
            connector: ConnectorId::parse(&case.connector).unwrap(),
            credential: CredentialId::parse(&case.credential).unwrap(),
            revision: case.revision,
            ..binding()
        };
        let opened = vault.open_sealed(&binding, &case.sealed, |_| true).await.unwrap();
        assert_eq!(opened.allowed_hosts, case.allowed_hosts);
        let fields: Vec<(String, String)> =
            opened.fields.iter().map(|(name, value)| (name.to_owned(), secret_text(value))).collect();
        assert_eq!(fields, case.fields);
    }
}

#[test]
fn the_second_implementation_opens_the_golden_vectors() {
    let golden = stored();
    let master = URL_SAFE_NO_PAD.decode(&golden.master_key[6..]).unwrap();
    let check = &golden.key_check;
    let bound = items(&[&head("key check")[..], &[check.key_id.as_bytes()]].concat());
    let known = xchacha_open(&master, &STANDARD.decode(&check.wrapped).unwrap(), &bound).unwrap();
    assert_eq!(known, Sha256::digest(b"portcullis key check v1").as_slice());

    let row = &golden.workspace_key;
    let (org, workspace) = (row.org.as_str().as_bytes(), row.workspace.as_str().as_bytes());
    let of_key = [row.master_key_id.as_bytes(), org, workspace, row.key_id.as_bytes()];
    let bound = items(&[&head("workspace key")[..], &of_key].concat());
    let wrapped = STANDARD.decode(&row.wrapped).unwrap();
    let workspace_key = xchacha_open(&master, &wrapped, &bound).unwrap();

    for case in &golden.cases {
        let opened = open_case(&workspace_key, row, case).unwrap();
        assert_eq!(opened[0].0, "@allowed_hosts");
        let hosts: Vec<String> = serde_json::from_slice(&opened[0].1).unwrap();
        assert_eq!(hosts, case.allowed_hosts);
        let fields: Vec<(String, String)> = opened[1..]
            .iter()
            .map(|(name, value)| (name.clone(), String::from_utf8(value.clone()).unwrap()))
            .collect();
        assert_eq!(fields, case.fields);
        let moved =
            Case { revision: 9, ..serde_json::from_value(serde_json::to_value(case).unwrap()).unwrap() };
        assert!(open_case(&workspace_key, row, &moved).is_none());
    }
}

/// Opens one case by the written format alone; `None` if anything does not match.
fn open_case(key: &[u8], row: &WorkspaceKeyRecord, case: &Case) -> Option<Vec<(String, Vec<u8>)>> {
    let bytes = STANDARD.decode(&case.sealed).unwrap();
    assert_eq!(bytes[..4], [1, 1, 1, 1]);
    assert_eq!(hex::encode(&bytes[4..12]), row.key_id);
    let (wrapped, commitment, count) = (&bytes[12..84], &bytes[84..116], &bytes[116..118]);
    let revision = case.revision.to_be_bytes();
    let of_credential = [
        row.key_id.as_bytes(),
        row.org.as_str().as_bytes(),
        row.workspace.as_str().as_bytes(),
        case.connector.as_bytes(),
        case.credential.as_bytes(),
        &revision,
        count,
    ];
    let bound = items(&[&head("data key")[..], &of_credential].concat());
    let data_key = xchacha_open(key, wrapped, &bound)?;
    let encryption = expand(&data_key, b"portcullis credential v1 encryption");
    assert_eq!(expand(&data_key, b"portcullis credential v1 commitment"), commitment);
    let mut rest = &bytes[118..];
    let mut opened = Vec::new();
    for index in 0..u16::from_be_bytes([count[0], count[1]]) {
        let name = &rest[1..=usize::from(rest[0])];
        rest = &rest[1 + name.len()..];
        let length = usize::try_from(u32::from_be_bytes(*rest.first_chunk().unwrap())).unwrap();
        let index = index.to_be_bytes();
        let bound = items(&[&head("field")[..], &of_credential, &[name, &index]].concat());
        let mut nonce = [0; 12];
        nonce[10..].copy_from_slice(&index);
        let plaintext = aead_open(&AES_256_GCM, &encryption, nonce, &bound, &rest[4..4 + length])?;
        opened.push((String::from_utf8(name.to_vec()).unwrap(), plaintext));
        rest = &rest[4 + length..];
    }
    assert!(rest.is_empty());
    Some(opened)
}

fn head(purpose: &str) -> [&[u8]; 4] {
    [b"portcullis", purpose.as_bytes(), &[1], &[1, 1, 1]]
}

fn items(items: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items {
        bytes.extend_from_slice(&u32::try_from(item.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(item);
    }
    bytes
}

fn expand(key: &[u8], info: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 32];
    Hkdf::<Sha256>::new(None, key).expand(info, &mut out).unwrap();
    out
}

fn aead_open(
    algorithm: &'static Algorithm,
    key: &[u8],
    nonce: [u8; 12],
    bound: &[u8],
    sealed: &[u8],
) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).unwrap());
    let mut buffer = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let opened = key.open_in_place(nonce, Aad::from(bound), &mut buffer).ok()?;
    Some(opened.to_vec())
}

/// XChaCha20-Poly1305: HChaCha20 of the first 16 nonce bytes, then the usual AEAD with the last 8.
fn xchacha_open(key: &[u8], wrapped: &[u8], bound: &[u8]) -> Option<Vec<u8>> {
    let subkey = hchacha20(key, &wrapped[..16]);
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&wrapped[16..24]);
    aead_open(&CHACHA20_POLY1305, &subkey, nonce, bound, &wrapped[24..])
}

/// draft-irtf-cfrg-xchacha, section 2.2.
fn hchacha20(key: &[u8], nonce: &[u8]) -> [u8; 32] {
    let input = [b"expand 32-byte k".as_slice(), key, nonce].concat();
    let mut state: Vec<u32> =
        input.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
    let mut quarter = |a: usize, b: usize, c: usize, d: usize| {
        for (sum, add, rotated, by) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
            state[sum] = state[sum].wrapping_add(state[add]);
            state[rotated] = (state[rotated] ^ state[sum]).rotate_left(by);
        }
    };
    for _ in 0..10 {
        for column in 0..4 {
            quarter(column, 4 + column, 8 + column, 12 + column);
        }
        for column in 0..4 {
            quarter(column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4);
        }
    }
    let mut subkey = [0; 32];
    for (word, bytes) in (0..4).chain(12..16).zip(subkey.chunks_mut(4)) {
        bytes.copy_from_slice(&state[word].to_le_bytes());
    }
    subkey
}

#[test]
fn hchacha20_gives_the_draft_s_test_vector() {
    let key: Vec<u8> = (0..32).collect();
    let nonce = hex::decode("000000090000004a0000000031415927").unwrap();
    assert_eq!(
        hex::encode(hchacha20(&key, &nonce)),
        "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
    );
}
