//! The product in a process of its own: everything real, with resolver, dialer and TLS roots swapped by
//! constructor so that the upstream's name leads to loopback.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use portcullis::app::{App, AppParts};
use portcullis::token::{self, TokenSpec};
use portcullis_core::limits::Limits;
use portcullis_core::outbound::BoxFuture;
use portcullis_egress::{Dial, Dialed, Gate, GateParts, Resolve, ResolveError, Trust};
use portcullis_store::{LedgerSync, MasterKey, Records, Role, SledStore, Store, Vault};
use serde_json::json;
use tokio::net::TcpStream;

use crate::children::serve_until_released;
use crate::{Arguments, Failure};

/// The public-looking address that every name has.
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

/// Runs until released.
pub(crate) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let data_dir = Path::new(arguments.required("data")?);
    let mut limits = Limits::default();
    for pair in arguments.text("limits").into_iter().flat_map(|list| list.split(',')) {
        let (name, value) = pair.split_once('=').ok_or("--limits takes name=number,…")?;
        limits.set(name, value.parse()?)?;
    }
    let limits = Arc::new(limits);
    let gate = Gate::new(GateParts {
        resolver: Arc::new(Names),
        dialer: Arc::new(Line(arguments.required("upstream")?.parse()?)),
        trust: Trust::only(arguments.required("ca")?.as_bytes())?,
        limits: Arc::clone(&limits),
    });
    let store: Arc<dyn Store> = Arc::new(SledStore::open(&data_dir.join("store"))?);
    let records = Records::new(Arc::clone(&store));
    let master_key = MasterKey::generate()?;
    Vault::initialise(records.clone(), master_key.clone()).await?;
    let secret = token::generate(Role::Platform).map_err(|problem| problem.detail)?;
    let spec = TokenSpec { role: Role::Platform, org: None, workspace: None, label: None, expires_at: None };
    let (_, writes) = token::record(&secret, spec).map_err(|problem| problem.detail)?;
    records.commit(writes).await?;
    let parts = AppParts {
        limits,
        store,
        master_key,
        gate,
        ledger_sync: LedgerSync::Group,
        public_url: "https://portcullis.example.com".to_owned(),
    };
    let app = App::open(data_dir, parts).await?;
    let listener = portcullis::serve::listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = listener.local_addr()?;
    tokio::spawn(portcullis::serve::serve(Arc::clone(&app), listener, portcullis::serve::stop_signal()));
    serve_until_released(json!({ "address": address.to_string(), "token": secret })).await
}
