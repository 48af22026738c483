//! The product in a separate process: everything real, with resolver, dialer and TLS roots swapped by
//! constructor so that the upstream's name leads to loopback.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use portcullis_api::Api;
use portcullis_connectors::HTTP_HANDLER;
use portcullis_core::id::NodeId;
use portcullis_core::limits::Limits;
use portcullis_core::outbound::BoxFuture;
use portcullis_egress::{Dial, Dialed, Gate, GateParts, Resolve, ResolveError, TlsRoots};
use portcullis_engine::api_token::{self, NewToken};
use portcullis_engine::clock::WallClock;
use portcullis_engine::modules::{ModuleParts, ModuleRules};
use portcullis_engine::nodes::node_of_host;
use portcullis_engine::{Engine, EngineParts};
use portcullis_store::{Backends, LedgerSync, MasterKey, ModuleFiles, Records, Role, Vault};
use portcullis_store_postgres::{PostgresBackends, PostgresLedger, PostgresOptions, PostgresRuns};
use serde_json::json;
use tokio::net::TcpStream;

use crate::children::serve_until_released;
use crate::{Arguments, Failure};

/// The public-looking address of every name.
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34));

struct Names;

impl Resolve for Names {
    fn lookup<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async { Ok(vec![PUBLIC]) })
    }
}

struct Line(SocketAddr);

impl Dial for Line {
    #[allow(clippy::disallowed_methods, reason = "the benchmark's own upstream on loopback")]
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Dialed>> {
        Box::pin(async move {
            let stream = TcpStream::connect(self.0).await?;
            stream.set_nodelay(true)?;
            Ok(Dialed { stream, peer: address })
        })
    }
}

/// The backends of a node over a database that was migrated.
async fn of_database(url: &str, node: &NodeId) -> Result<Backends, Failure> {
    let integrity = Some(&[7; 32]);
    let opened = PostgresBackends::open(&PostgresOptions::new(url), integrity).await?;
    let PostgresBackends { records, jobs, outbox, pool } = opened;
    let ledger = Arc::new(PostgresLedger::open(pool.clone(), node.clone(), integrity).await?);
    let runs = Arc::new(PostgresRuns::open(pool, node.clone(), integrity).await?);
    Ok(Backends { store: records, ledger, runs, jobs, outbox })
}

/// Runs until released.
pub(crate) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let data_dir = Path::new(arguments.required("data")?);
    let mut limits = Limits::default();
    let pairs = arguments.text("limits").into_iter().flat_map(|list| list.split(','));
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or("--limits takes name=number,…")?;
        limits.set(name, value.parse()?)?;
    }
    let limits = Arc::new(limits);
    let gate = Gate::new(GateParts {
        resolver: Arc::new(Names),
        dialer: Arc::new(Line(arguments.required("upstream")?.parse()?)),
        tls_roots: TlsRoots::only(arguments.required("ca")?.as_bytes())?,
        limits: Arc::clone(&limits),
    });
    let node = match arguments.text("node") {
        Some(name) => NodeId::parse(name)?,
        None => node_of_host("bench")?,
    };
    let backends = match arguments.text("database") {
        Some(url) => of_database(url, &node).await?,
        None => Backends::open_directory(data_dir, LedgerSync::Group)?,
    };
    let records = Records::new(Arc::clone(&backends.store));
    let master_key = match arguments.text("key") {
        Some(text) => MasterKey::from_text(text)?,
        None => MasterKey::generate()?,
    };
    Vault::initialise(records.clone(), master_key.clone()).await?;
    let secret = api_token::generate(Role::Platform).map_err(|error| error.detail)?;
    let (_, writes) = api_token::record(&secret, NewToken::platform(None)).map_err(|error| error.detail)?;
    records.commit(writes).await?;
    let parts = EngineParts {
        limits,
        backends,
        http_handler: HTTP_HANDLER.into(),
        master_key: master_key.into(),
        gate,
        compiled_dir: data_dir.join("compiled"),
        modules: ModuleParts {
            bytes: Arc::new(ModuleFiles::new(data_dir.join("modules"))),
            compiler: std::env::current_exe()?.with_file_name("portcullis"),
            rules: ModuleRules::default(),
        },
        backup: None,
        clock: WallClock::default(),
        public_url: "https://portcullis.example.com".to_owned(),
        node,
    };
    let engine = Engine::open(parts).await?;
    engine.start_jobs();
    let api = Api::new(engine);
    let listener = portcullis_api::serve::listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = listener.local_addr()?;
    tokio::spawn(portcullis_api::serve::serve(api, listener, portcullis_api::serve::stop_signal()));
    serve_until_released(json!({ "address": address.to_string(), "token": secret })).await
}
