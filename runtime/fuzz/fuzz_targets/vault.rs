//! Any text for a sealed credential: refused, never a panic, never opened.
#![no_main]

use std::cell::OnceCell;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use portcullis_core::id::{ConnectorId, CredentialId, OrgId, WorkspaceId};
use portcullis_core::secret::{SecretFields, SecretValue};
use portcullis_store::{Binding, MasterKey, MemoryStore, Records, SecretPayload, Vault};

struct Stage {
    runtime: tokio::runtime::Runtime,
    vault: Vault,
    binding: Binding,
    sealed: String,
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let binding = Binding {
            org: OrgId::parse("acme").unwrap(),
            workspace: WorkspaceId::parse("main").unwrap(),
            connector: ConnectorId::parse("salesforce").unwrap(),
            credential: CredentialId::parse("cred_1").unwrap(),
            revision: 1,
        };
        let (vault, sealed) = runtime.block_on(async {
            let records = Records::new(Arc::new(MemoryStore::new()));
            let key = MasterKey::generate().unwrap();
            Vault::initialise(records.clone(), key.clone()).await.unwrap();
            let vault = Vault::open(records, key).await.unwrap();
            vault.ensure_workspace_key(&binding.org, &binding.workspace).await.unwrap();
            let payload = SecretPayload {
                fields: SecretFields::new(vec![("api_key".into(), SecretValue::new("sk_live".into()))]),
                allowed_hosts: vec!["*.salesforce.com".into()],
            };
            let sealed = vault.seal(&binding, &payload).await.unwrap().text;
            (vault, sealed)
        });
        Self { runtime, vault, binding, sealed }
    }

    fn open(&self, text: &str) -> bool {
        self.runtime.block_on(self.vault.open_sealed(&self.binding, text, |_| true)).is_ok()
    }
}

thread_local! { static STAGE: OnceCell<Stage> = const { OnceCell::new() }; }

fuzz_target!(|input: (&str, u16, u8)| {
    let (text, at, flip) = input;
    STAGE.with(|cell| {
        let stage = cell.get_or_init(Stage::new);
        assert!(stage.open(&stage.sealed));
        assert!(!stage.open(text) || text == stage.sealed);
        let mut bytes = stage.sealed.clone().into_bytes();
        let at = usize::from(at) % bytes.len();
        bytes[at] ^= flip;
        if let Ok(changed) = String::from_utf8(bytes)
            && changed != stage.sealed
        {
            assert!(!stage.open(&changed), "a changed record opened");
        }
    });
});
