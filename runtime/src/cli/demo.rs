//! `portcullis demo`: the whole product on one machine, no account, no internet.
//!
//! Everything is the product: API, store, vault, sandbox, handler, gate, ledger. Three last system
//! calls are swapped, and the demo shows it: the resolver, the dialer and the TLS root store, so that
//! `api.salesforce.com` leads to a stand-in in this process. No check is changed by that.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_core::org_rules::RulesVerdict;
use portcullis_core::verdict::{HostRules, OrgPolicy, judge};
use portcullis_egress::{Gate, GateParts, TlsRoots};
use portcullis_store::{Backends, LedgerSync, MasterKey, Records, Vault};
use serde_json::Value;

use portcullis_api::{Api, serve};
use portcullis_connectors::HTTP_HANDLER;
use portcullis_engine::api_token::{self, NewToken, Role};
use portcullis_engine::clock::WallClock;
use portcullis_engine::modules::ModuleRules;
use portcullis_engine::nodes::node_of_host;
use portcullis_engine::{Engine, EngineParts};
use portcullis_stand_in::{Names, SALESFORCE, StandIn};

use crate::cli;
use crate::cli::module::module_parts;
use crate::storage::module_files;

mod client;
mod story;
mod teller;

use client::Client;
use teller::Teller;

/// The key that the workspace saves. It is valid nowhere.
const DEMO_KEY: &str = "demo-key-7f3a9c51e2b84d06";

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// One JSON event per line
    #[arg(long)]
    json: bool,
}

/// Runs the demo; fails if a step does not end as described.
#[must_use]
pub(super) fn run(args: &DemoArgs) -> u8 {
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

/// A running product, and what the demo needs to call it.
struct Stage {
    engine: Arc<Engine>,
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
        resolver: Arc::new(Names),
        dialer: Arc::new(upstream.dialer()),
        tls_roots: TlsRoots::only(upstream.ca_pem.as_bytes()).map_err(|e| e.to_string())?,
        limits: Arc::clone(&limits),
    });
    let backends = Backends::open_directory(data_dir.path(), LedgerSync::Group).map_err(|e| e.to_string())?;
    let records = Records::new(Arc::clone(&backends.store));
    let master_key = MasterKey::generate().map_err(|e| e.to_string())?;
    Vault::initialise(records.clone(), master_key.clone()).await.map_err(|e| e.to_string())?;
    let token = api_token::generate(Role::Platform).map_err(|e| e.detail)?;
    let (_, writes) = api_token::record(&token, NewToken::platform(None)).map_err(|e| e.detail)?;
    records.commit(writes).await.map_err(|e| e.to_string())?;
    let parts = EngineParts {
        limits,
        backends,
        http_handler: HTTP_HANDLER.into(),
        master_key: master_key.into(),
        gate,
        compiled_dir: data_dir.path().join("compiled"),
        modules: module_parts(module_files(data_dir.path()), ModuleRules::default()),
        backup: None,
        clock: WallClock::default(),
        public_url: "http://127.0.0.1".to_owned(),
        node: node_of_host("demo").map_err(|e| e.to_string())?,
    };
    let engine = Engine::open(parts).await.map_err(|e| e.to_string())?;
    let listener = serve::listen(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(|e| e.to_string())?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    tokio::spawn(serve::serve(Api::new(Arc::clone(&engine)), listener, std::future::pending()));
    let platform = Client::new(address, token);
    let ready = platform.get("/readyz").await?;
    teller.step(
        "The product is up",
        ready.status == 200,
        &[format!("API on http://{address}, HTTP handler loaded into the sandbox")],
    )?;
    Ok(Stage { engine, upstream, platform, data_dir })
}

/// The verdict on one URL by the gate's own function, under the demo's connector.
fn verdict(url: &str) -> Option<Code> {
    let document: Value = serde_json::from_str(SALESFORCE).unwrap_or_default();
    let connector = portcullis_core::connector::Connector::parse(&document, &Limits::default()).connector?;
    let rules = HostRules {
        connector: connector.allowed_domains,
        ports: connector.ports,
        org: OrgPolicy::Unrestricted,
        org_rules: RulesVerdict::ALLOWED,
    };
    judge(url.as_bytes(), &rules, Limits::default().url_bytes).refusal
}
