//! Forbidden addresses and a rebinding name, sent through the real guard.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis_action::{Method, UrlTemplate};
use portcullis_core::connector::{RedirectPolicy, RequestLimits};
use portcullis_core::fault::Code;
use portcullis_core::grant::{ActionScope, EgressGrant};
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::limits::Limits;
use portcullis_core::org_rules::RulesVerdict;
use portcullis_core::outbound::{BoxFuture, Outbound as _, OutboundOptions, OutboundRequest};
use portcullis_core::verdict::{HostRules, OrgPolicy};
use portcullis_egress::{
    Answers, Dial, Dialed, Gate, GateParts, GuardSpec, OutboundAttempt, OutboundLog, OutboundLogError,
    PoolScope, Resolve, ResolveError, TlsRoots,
};
use serde_json::Map;

use super::{Finding, Health};

const HOST: &str = "probe.doctor-saas.com";
const URL: &str = "https://probe.doctor-saas.com/";

/// The addresses that the name resolves to, and what each stands for.
const ADDRESSES: &[(&str, &str)] = &[
    ("127.0.0.1", "loopback"),
    ("0.0.0.0", "this host"),
    ("10.0.0.5", "private network"),
    ("172.16.0.1", "private network"),
    ("192.168.1.1", "private network"),
    ("100.100.100.200", "cloud metadata in shared address space"),
    ("169.254.169.254", "cloud metadata"),
    ("169.254.170.2", "container credentials"),
    ("168.63.129.16", "cloud platform service"),
    ("192.0.0.192", "cloud metadata"),
    ("198.18.0.1", "benchmarking"),
    ("224.0.0.1", "multicast"),
    ("255.255.255.255", "broadcast"),
    ("::1", "loopback"),
    ("::ffff:127.0.0.1", "IPv4-mapped loopback"),
    ("::ffff:169.254.169.254", "IPv4-mapped metadata"),
    ("64:ff9b::7f00:1", "NAT64 loopback"),
    ("64:ff9b:1::a9fe:a9fe", "local NAT64 metadata"),
    ("2002:7f00:1::1", "6to4 loopback"),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
    ("fd00:ec2::254", "cloud metadata"),
    ("fe80::1", "link-local"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("5f00::1", "outside global unicast"),
];

/// A resolver that returns these addresses.
struct Table(Vec<IpAddr>);

impl Resolve for Table {
    fn lookup<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

/// A public address first, private ones afterwards.
struct Rebinding(AtomicUsize);

impl Resolve for Rebinding {
    fn lookup<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(
            async move { Ok(vec![if first { [93, 184, 216, 34].into() } else { [10, 0, 0, 5].into() }]) },
        )
    }
}

/// Connects nowhere, and counts.
#[derive(Default)]
struct NoDial(AtomicUsize, std::sync::Mutex<Vec<SocketAddr>>);

impl Dial for NoDial {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Dialed>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        if let Ok(mut seen) = self.1.lock() {
            seen.push(address);
        }
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }
}

/// Attempts of the doctor do not belong to an org.
struct NoLog;

impl OutboundLog for NoLog {
    fn refused(&self, _: OutboundAttempt) -> BoxFuture<'_, Result<(), OutboundLogError>> {
        Box::pin(async { Ok(()) })
    }
    fn begin(&self, _: OutboundAttempt) -> BoxFuture<'_, Result<String, OutboundLogError>> {
        Box::pin(async { Ok(String::new()) })
    }
    fn complete(self: Arc<Self>, _: String, _: OutboundAttempt) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// Tests every address.
pub(super) async fn run() -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    for (text, what) in ADDRESSES {
        let address: IpAddr = text.parse().map_err(|_| format!("{text} is no address"))?;
        findings.push(probe(format!("{text} ({what})"), vec![address]).await?);
    }
    let mixed = vec![IpAddr::from([93, 184, 216, 34]), IpAddr::from([10, 0, 0, 1])];
    findings.push(probe("a public and a private answer together".to_owned(), mixed).await?);
    findings.push(rebinding().await?);
    Ok(findings)
}

async fn probe(name: String, answers: Vec<IpAddr>) -> Result<Finding, String> {
    let dialer = Arc::new(NoDial::default());
    let code = ask(Arc::new(Table(answers)), &dialer, 1).await?;
    let dials = dialer.0.load(Ordering::SeqCst);
    let good = code == Some(Code::AddressForbidden) && dials == 0;
    let shown = code.map_or("ALLOWED", Code::as_str);
    let health = if good { Health::Good } else { Health::Bad };
    Ok(Finding::new(health, name, format!("{shown}, {dials} sockets opened")))
}

/// The connection must use the address that was checked, and the next lookup must be checked again.
async fn rebinding() -> Result<Finding, String> {
    let dialer = Arc::new(NoDial::default());
    let code = ask(Arc::new(Rebinding(AtomicUsize::new(0))), &dialer, 2).await?;
    let dialed = dialer.1.lock().map(|seen| seen.clone()).unwrap_or_default();
    let first_only = dialed.iter().all(|a| a.ip() == IpAddr::from([93, 184, 216, 34])) && dialed.len() == 1;
    let good = first_only && code == Some(Code::AddressForbidden);
    let health = if good { Health::Good } else { Health::Bad };
    let detail = format!(
        "connected to the judged answer only; second lookup: {}",
        code.map_or("ALLOWED", Code::as_str)
    );
    Ok(Finding::new(health, "a name that changes to a private address", detail))
}

/// Sends `times` requests through a real guard; returns the last one's code.
async fn ask(resolver: Arc<dyn Resolve>, dialer: &Arc<NoDial>, times: u64) -> Result<Option<Code>, String> {
    let limits = Arc::new(Limits::default());
    let gate = Gate::new(GateParts {
        resolver,
        dialer: Arc::clone(dialer) as _,
        tls_roots: TlsRoots::public(None).map_err(|e| e.to_string())?,
        limits: Arc::clone(&limits),
    });
    let template = UrlTemplate::parse(URL).map_err(|e| e.to_string())?;
    let scope = ActionScope::new(Method::Get, &template, &Map::new()).map_err(|e| e.to_string())?;
    let rules = HostRules {
        connector: vec![HostPattern::parse(HOST).map_err(|e| e.message)?],
        ports: Vec::new(),
        org: OrgPolicy::Unrestricted,
        org_rules: RulesVerdict::ALLOWED,
    };
    let guard = gate.guard(GuardSpec {
        grant: EgressGrant::new(rules, vec![scope], limits.url_bytes),
        credential: None,
        injection: Arc::default(),
        config: Arc::default(),
        log: Arc::new(NoLog),
        requests_max: times,
        redirects: RedirectPolicy::NONE,
        limits: RequestLimits::default(),
        answers: Answers::Guest,
        unclean_close: false,
        user_agent_suffix: None,
        dry_run: false,
        varying: Vec::new(),
        scope: Arc::new(PoolScope {
            workspace: "doctor/doctor".to_owned(),
            connector: "doctor".to_owned(),
            connection: None,
            credential_version: 0,
            policy_generation: 0,
            http2: false,
        }),
    });
    for _ in 0..times {
        let request = OutboundRequest {
            method: Method::Get,
            url: URL.to_owned(),
            headers: Vec::new(),
            body: None,
            credential: None,
            options: OutboundOptions::default(),
        };
        // Why ignored: the test reads the code that the guard recorded.
        let _ = guard.send(request).await;
    }
    Ok(guard.report().failure)
}
