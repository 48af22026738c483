//! A gate without the rest of the product: a fake network with one local TLS upstream, a credential that
//! counts how often it is opened, and a log that keeps its records in memory.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::HeaderName;
use portcullis_action::template::Template;
use portcullis_action::{Method, UrlTemplate};
use portcullis_core::connector::{RedirectPolicy, RequestLimits};
use portcullis_core::definition::RedirectFollow;
use portcullis_core::fault::Code;
use portcullis_core::grant::{ActionScope, EgressGrant};
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::injection::Injection;
use portcullis_core::ledger::LedgerPhase;
use portcullis_core::limits::Limits;
use portcullis_core::org_rules::RulesVerdict;
use portcullis_core::outbound::{
    BoxFuture, Outbound as _, OutboundError, OutboundOptions, OutboundRequest, OutboundResponse,
};
use portcullis_core::secret::{SecretFields, SecretValue};
use portcullis_core::verdict::{HostRules, OrgPolicy};
use portcullis_egress::{
    Answers, BoundCredential, CredentialError, Gate, GateParts, Guard, GuardReport, GuardSpec,
    OpenCredential, OutboundAttempt, OutboundLog, OutboundLogError, PoolScope, Resolve, TlsRoots, sealed_for,
};

use crate::support::{FakeDialer, FakeDns, PUBLIC, Upstream};

/// The host that the guard permits.
pub(super) const HOST: &str = "api.example-saas.com";
/// Another host under the same wildcard.
pub(super) const OTHER: &str = "files.example-saas.com";
/// A URL that the guard permits.
pub(super) const URL: &str = "https://api.example-saas.com/v1/things";
/// Letters of both cases, digits, and characters that encodings write differently.
pub(super) const SECRET: &str = "sk-Live/7f3a+9C51=e2b8\"4d06.Zz~x";

/// A credential that counts how often it is opened.
pub(super) struct Key {
    fields: Vec<(&'static str, &'static str)>,
    hosts: Vec<String>,
    opens: AtomicUsize,
}

impl OpenCredential for Key {
    fn open<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<SecretFields, CredentialError>> {
        Box::pin(async move {
            if !sealed_for(&self.hosts, host) {
                return Err(CredentialError::NotBound);
            }
            self.opens.fetch_add(1, Ordering::SeqCst);
            let value = |text: &str| SecretValue::new(text.to_owned());
            let fields = self.fields.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect();
            Ok(SecretFields::new(fields))
        })
    }
}

/// A log that keeps its records, and fails while it is broken.
#[derive(Default)]
pub(super) struct Log {
    records: Mutex<Vec<(LedgerPhase, OutboundAttempt)>>,
    broken: AtomicBool,
}

impl Log {
    pub(super) fn break_down(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    pub(super) fn records(&self) -> Vec<(LedgerPhase, OutboundAttempt)> {
        self.records.lock().unwrap().clone()
    }

    fn record(&self, phase: LedgerPhase, attempt: OutboundAttempt) -> Result<(), OutboundLogError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(OutboundLogError);
        }
        self.records.lock().unwrap().push((phase, attempt));
        Ok(())
    }
}

impl OutboundLog for Log {
    fn refused(&self, attempt: OutboundAttempt) -> BoxFuture<'_, Result<(), OutboundLogError>> {
        Box::pin(async move { self.record(LedgerPhase::Refused, attempt) })
    }

    fn begin(&self, attempt: OutboundAttempt) -> BoxFuture<'_, Result<String, OutboundLogError>> {
        Box::pin(async move { self.record(LedgerPhase::Begin, attempt).map(|()| "out_1".to_owned()) })
    }

    fn complete(self: Arc<Self>, _entry: String, attempt: OutboundAttempt) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // Why ignored: a failed `complete` does not change the response.
            let _ = self.record(LedgerPhase::Complete, attempt);
        })
    }
}

/// The parts of a harness that a test may replace.
pub(super) struct Setup {
    pub(super) limits: Limits,
    pub(super) connector: Vec<&'static str>,
    pub(super) ports: Vec<u16>,
    pub(super) org: OrgPolicy,
    /// URL templates that are granted with every method.
    pub(super) templates: Vec<String>,
    pub(super) redirects: RedirectPolicy,
    pub(super) injection: Injection,
    pub(super) fields: Vec<(&'static str, &'static str)>,
    pub(super) http2: bool,
    /// Another resolver instead of [`FakeDns`].
    pub(super) resolver: Option<Arc<dyn Resolve>>,
    /// Another upstream: the CA of its certificate, and its address.
    pub(super) elsewhere: Option<(String, std::net::SocketAddr)>,
}

impl Default for Setup {
    fn default() -> Self {
        let on = |host: &str, path: &str| format!("https://{host}{path}");
        Self {
            limits: Limits::default(),
            connector: vec!["*.example-saas.com"],
            ports: Vec::new(),
            org: OrgPolicy::Unrestricted,
            templates: vec![
                on(HOST, "/"),
                on(HOST, "/v1/things"),
                on(HOST, "/v1/items/{{input.id}}"),
                on(OTHER, "/v1/things"),
            ],
            redirects: RedirectPolicy::NONE,
            injection: bearer(),
            fields: vec![("api_key", SECRET)],
            http2: false,
            resolver: None,
            elsewhere: None,
        }
    }
}

/// `Authorization: Bearer` and the key.
pub(super) fn bearer() -> Injection {
    header("authorization", "Bearer {{cred.api_key}}")
}

/// This header with this value.
pub(super) fn header(name: &'static str, value: &str) -> Injection {
    Injection::header(HeaderName::from_static(name), Template::parse(value).unwrap())
}

pub(super) fn follow(follow: RedirectFollow, hops_max: u8) -> RedirectPolicy {
    RedirectPolicy { follow, hops_max }
}

impl Setup {
    pub(super) fn rules(&self) -> HostRules {
        HostRules {
            connector: self.connector.iter().map(|entry| HostPattern::parse(entry).unwrap()).collect(),
            ports: self.ports.clone(),
            org: self.org.clone(),
            org_rules: RulesVerdict::ALLOWED,
        }
    }

    pub(super) async fn start(self) -> Harness {
        let upstream = Upstream::start(&["*.example-saas.com"]).await;
        let names = Arc::new(FakeDns::default());
        for host in [HOST, OTHER] {
            names.tell(host, &[PUBLIC]);
        }
        let (ca_pem, address) =
            self.elsewhere.clone().unwrap_or_else(|| (upstream.ca_pem.clone(), upstream.address));
        let dialer = Arc::new(FakeDialer::to(address));
        let gate = Gate::new(GateParts {
            resolver: self.resolver.clone().unwrap_or_else(|| Arc::clone(&names) as _),
            dialer: Arc::clone(&dialer) as _,
            tls_roots: TlsRoots::only(ca_pem.as_bytes()).unwrap(),
            limits: Arc::new(self.limits.clone()),
        });
        let hosts = self.connector.iter().map(|entry| (*entry).to_owned()).collect();
        let key = Arc::new(Key { fields: self.fields.clone(), hosts, opens: AtomicUsize::new(0) });
        Harness { upstream, names, dialer, gate, key, log: Arc::default(), setup: self }
    }
}

pub(super) struct Harness {
    pub(super) upstream: Upstream,
    pub(super) names: Arc<FakeDns>,
    pub(super) dialer: Arc<FakeDialer>,
    pub(super) gate: Arc<Gate>,
    pub(super) key: Arc<Key>,
    pub(super) log: Arc<Log>,
    pub(super) setup: Setup,
}

/// How a request ended, for the guest and for the host.
pub(super) struct Sent {
    pub(super) answer: Result<OutboundResponse, OutboundError>,
    pub(super) report: GuardReport,
}

impl Harness {
    pub(super) async fn usual() -> Self {
        Setup::default().start().await
    }

    pub(super) fn opens(&self) -> usize {
        self.key.opens.load(Ordering::SeqCst)
    }

    /// The guard of a call; calls with the same versions share connections.
    pub(super) fn guard_of(&self, credential_version: u64, policy_generation: u64) -> Guard {
        let setup = &self.setup;
        let scope = |text: &String| {
            let template = UrlTemplate::parse(text).unwrap();
            Method::ALL.map(|method| ActionScope::new(method, &template, &Default::default()).unwrap())
        };
        let scopes = setup.templates.iter().flat_map(scope).collect();
        self.gate.guard(GuardSpec {
            grant: EgressGrant::new(setup.rules(), scopes, setup.limits.url_bytes),
            credential: Some(BoundCredential {
                slot: "default".to_owned(),
                version: credential_version,
                allowed_hosts: self.key.hosts.clone(),
                source: Arc::clone(&self.key) as _,
            }),
            injection: Arc::new(setup.injection.clone()),
            config: Arc::default(),
            log: Arc::clone(&self.log) as _,
            requests_max: 50,
            redirects: setup.redirects,
            limits: RequestLimits::default(),
            answers: Answers::Guest,
            unclean_close: false,
            user_agent_suffix: None,
            dry_run: false,
            varying: Vec::new(),
            scope: Arc::new(PoolScope {
                workspace: "acme/main".to_owned(),
                connector: "saas".to_owned(),
                connection: None,
                credential_version,
                policy_generation,
                http2: setup.http2,
            }),
        })
    }

    pub(super) async fn send(&self, request: OutboundRequest) -> Sent {
        let guard = self.guard_of(1, 1);
        let answer = guard.send(request).await;
        Sent { answer, report: guard.report() }
    }

    /// Asserts that a request is refused with this code before anything else: no lookup, no socket, no opened
    /// credential, nothing at the upstream, and one record in the log.
    #[track_caller]
    pub(super) fn refuses(&self, request: OutboundRequest, code: Code) -> impl Future<Output = ()> + '_ {
        let place = std::panic::Location::caller();
        async move {
            let what = format!("{} {:?} at {place}", request.url, request.headers);
            let lookups = self.names.asked().len();
            self.fails(request, code).await;
            assert_eq!(self.names.asked().len(), lookups, "lookups: {what}");
            let records = self.log.records();
            let (phase, attempt) = records.last().unwrap();
            assert_eq!((*phase, attempt.code), (LedgerPhase::Refused, Some(code)), "{what}");
        }
    }

    /// As [`Self::refuses`], but the name may have been looked up.
    pub(super) async fn fails(&self, request: OutboundRequest, code: Code) {
        let what = format!("{} {:?}", request.url, request.headers);
        let before = (self.dialer.dialed().len(), self.opens(), self.upstream.received().len());
        let sent = self.send(request).await;
        assert_eq!(sent.report.failure, Some(code), "{what}");
        assert!(sent.answer.is_err(), "{what}");
        let after = (self.dialer.dialed().len(), self.opens(), self.upstream.received().len());
        assert_eq!(after, before, "dials, opens, requests received: {what}");
        assert_eq!(self.log.records().last().unwrap().1.code, Some(code), "{what}");
    }

    /// Asserts that a request that may have been sent fails with this code.
    pub(super) async fn ends_with(&self, request: OutboundRequest, code: Code) -> OutboundError {
        let sent = self.send(request).await;
        assert_eq!(sent.report.failure, Some(code), "{:?}", sent.answer);
        let records = self.log.records();
        let (phase, attempt) = records.last().unwrap();
        assert_ne!(*phase, LedgerPhase::Begin, "the last record is not a begin");
        assert_eq!(attempt.code, Some(code));
        sent.answer.unwrap_err()
    }

    /// Asserts that a request gets a response.
    #[track_caller]
    pub(super) fn passes(&self, request: OutboundRequest) -> impl Future<Output = OutboundResponse> + '_ {
        let place = std::panic::Location::caller();
        async move {
            let what = format!("{} {:?} at {place}", request.url, request.headers);
            let sent = self.send(request).await;
            assert_eq!(sent.report.failure, None, "{what}");
            sent.answer.unwrap()
        }
    }

    /// The last request, as it was on the wire.
    pub(super) fn last(&self) -> crate::support::upstream::Received {
        self.upstream.received().pop().expect("nothing was received")
    }
}

/// GET with the credential.
pub(super) fn get(url: &str) -> OutboundRequest {
    OutboundRequest {
        method: Method::Get,
        url: url.to_owned(),
        headers: Vec::new(),
        body: None,
        credential: Some("default".to_owned()),
        options: OutboundOptions::default(),
    }
}

/// POST of a body, with the credential.
pub(super) fn post(url: &str, body: &[u8]) -> OutboundRequest {
    OutboundRequest { method: Method::Post, body: Some(body.to_vec()), ..get(url) }
}

/// GET of the permitted URL with these headers of the guest.
pub(super) fn with(headers: &[(&str, &[u8])]) -> OutboundRequest {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
    OutboundRequest { headers, ..get(URL) }
}

/// The values of a response header.
pub(super) fn values<'a>(answer: &'a OutboundResponse, name: &str) -> Vec<&'a [u8]> {
    answer.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_slice()).collect()
}
