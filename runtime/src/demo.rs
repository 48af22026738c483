//! `portcullis demo`: the whole story on one machine, no account, no internet.
//!
//! Everything is the product: API, store, vault, sandbox, handler, gate, ledger. Three last system
//! calls are swapped, and the demo says so: the resolver, the dialer and the TLS root store, so that
//! `api.salesforce.com` leads to a stand-in in this process. No check is changed by that.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_core::verdict::{HostRules, OrgPolicy, judge};
use portcullis_egress::{Gate, GateParts, Trust};
use portcullis_store::{LedgerSync, MasterKey, Records, Role, SledStore, Vault};
use serde_json::{Value, json};

use crate::app::{App, AppParts};
use crate::token::{self, TokenSpec};
use crate::{cli, serve};

mod client;
mod stand_in;
mod story;
mod teller;

use client::Client;
use stand_in::StandIn;
pub use stand_in::certificates;
use teller::Teller;

/// The brief's definition, as a platform admin would upload it.
pub const SALESFORCE: &str = include_str!("demo/salesforce.json");
/// The key that the workspace saves. It opens nothing anywhere.
pub const DEMO_KEY: &str = "demo-key-7f3a9c51e2b84d06";

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// One JSON event a line
    #[arg(long)]
    json: bool,
}

/// Tells the story; fails when a step does not end as told.
#[must_use]
pub fn run(args: &DemoArgs) -> u8 {
    let mut teller = Teller::new(args.json);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(demo(&mut teller)),
        Err(e) => Err(format!("the async runtime cannot start: {e}")),
    };
    match outcome {
        Ok(()) => {
            teller.end(true, "Every step ended as told.");
            cli::DONE
        }
        Err(e) => {
            teller.end(false, &e);
            cli::FAILED
        }
    }
}

/// A running product and what the story needs to talk about it.
struct Stage {
    app: Arc<App>,
    upstream: StandIn,
    platform: Client,
    data_dir: tempfile::TempDir,
}

async fn demo(teller: &mut Teller) -> Result<(), String> {
    let stage = set_stage(teller).await?;
    story::tell(&stage, teller).await
}

async fn set_stage(teller: &mut Teller) -> Result<Stage, String> {
    teller.begin("Portcullis demo: one machine, no account, no internet.");
    teller.note("Real: API, store, vault, sandbox, HTTP handler, gate, ledger, TLS.");
    teller.note("Swapped by constructor: resolver, dialer, TLS root store. No check is changed.");
    let data_dir = tempfile::tempdir().map_err(|e| format!("no temporary directory: {e}"))?;
    let upstream = StandIn::start("api.salesforce.com").await?;
    let limits = Arc::new(Limits::default());
    let gate = Gate::new(GateParts {
        resolver: Arc::new(stand_in::Names),
        dialer: Arc::new(upstream.dialer()),
        trust: Trust::only(upstream.ca_pem.as_bytes()).map_err(|e| e.to_string())?,
        limits: Arc::clone(&limits),
    });
    let store = SledStore::open(&data_dir.path().join("store")).map_err(|e| e.to_string())?;
    let store: Arc<dyn portcullis_store::Store> = Arc::new(store);
    let records = Records::new(Arc::clone(&store));
    let master_key = MasterKey::generate().map_err(|e| e.to_string())?;
    Vault::initialise(records.clone(), master_key.clone()).await.map_err(|e| e.to_string())?;
    let token = token::generate(Role::Platform).map_err(|p| p.detail)?;
    let spec = TokenSpec { role: Role::Platform, org: None, workspace: None, label: None, expires_at: None };
    let (_, writes) = token::record(&token, spec).map_err(|p| p.detail)?;
    records.commit(writes).await.map_err(|e| e.to_string())?;
    let parts = AppParts {
        limits,
        store,
        master_key,
        gate,
        ledger_sync: LedgerSync::Group,
        public_url: "http://127.0.0.1".to_owned(),
    };
    let app = App::open(data_dir.path(), parts).await.map_err(|e| e.to_string())?;
    let listener = serve::listen(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(|e| e.to_string())?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    tokio::spawn(serve::serve(Arc::clone(&app), listener, std::future::pending()));
    let platform = Client::new(address, token);
    let ready = platform.get("/readyz").await?;
    teller.step(
        "The product is up",
        ready.status == 200,
        &[format!("API on http://{address}, HTTP handler loaded into the sandbox")],
    )?;
    Ok(Stage { app, upstream, platform, data_dir })
}

/// The verdict on one URL by the gate's own function, under the demo's connector.
fn verdict(url: &str) -> Option<Code> {
    let document: Value = serde_json::from_str(SALESFORCE).unwrap_or_default();
    let connector = portcullis_core::connector::Connector::parse(&document, &Limits::default()).connector?;
    let rules = HostRules {
        connector: connector.allowed_domains,
        ports: connector.ports,
        org: OrgPolicy::Unrestricted,
    };
    judge(url.as_bytes(), &rules, Limits::default().url_bytes).refusal
}

/// The demo's automation: the brief's event mapped to the brief's action.
#[must_use]
pub fn automation() -> Value {
    json!({
        "entity_name": "contact", "event_name": "contact.created", "event_type": "external.connector",
        "event_stage": "after", "event_optype": "create", "enabled": true,
        "destination_config": {
            "connector_id": "salesforce", "action_id": "create-contact",
            "field_mapping": { "Email": "{{source.email}}" },
        },
    })
}
