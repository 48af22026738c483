//! One delivery through the gate, into the ledger of its scope.

use std::sync::Arc;

use portcullis_action::{Method, UrlTemplate};
use portcullis_core::connector::{RedirectPolicy, RequestLimits};
use portcullis_core::fault::Code;
use portcullis_core::grant::{ActionScope, EgressGrant};
use portcullis_core::host_pattern::HostPattern;
use portcullis_core::id::{ActionId, ConnectorId, RunId, WorkspaceId};
use portcullis_core::injection::Injection;
use portcullis_core::org_rules::RulesVerdict;
use portcullis_core::outbound::{Outbound as _, OutboundOptions, OutboundRequest};
use portcullis_core::verdict::{HostRules, OrgPolicy};
use portcullis_egress::{Answers, Guard, GuardSpec, PoolScope};
use portcullis_store::WebhookEndpoint;
use serde_json::Map;

use super::{WebhookScope, checks, sign};
use crate::call::ledger_bracket::{CallLedger, Origin};
use crate::clock;
use crate::error::Error;
use crate::resources::Resources;

/// Stands for workspace and connector of a delivery in the ledger.
const IN_LEDGER: &str = "webhook";
/// Longest answer that is read, bytes; nobody looks at it.
const ANSWER_BYTES: u64 = 16 * 1024;

/// What is sent.
pub(super) struct Message<'m> {
    /// Names the event at its receiver, who may get it more than once.
    pub(super) id: &'m str,
    pub(super) kind: &'m str,
    pub(super) body: &'m str,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) status: Option<u16>,
    /// Why there is no answer.
    pub(super) code: Option<Code>,
}

impl Sent {
    const fn refused(code: Code) -> Self {
        Self { status: None, code: Some(code) }
    }

    /// Whether the receiver took it. Why whatever came after the status: a receiver that says 2xx has it.
    pub(super) fn is_taken(self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// Sends a message once.
///
/// # Errors
/// `internal` if it cannot be signed.
pub(super) async fn send(
    resources: &Resources,
    scope: &WebhookScope,
    endpoint: &WebhookEndpoint,
    message: &Message<'_>,
) -> Result<Sent, Error> {
    // Why again: the rules may be stricter than when it was saved.
    let Ok(target) = checks::target(&endpoint.url, resources.limits.url_bytes) else {
        return Ok(Sent::refused(Code::UrlInvalid));
    };
    let at = (clock::now_ms() / 1000).to_string();
    let content = format!("{}.{at}.{}", message.id, message.body);
    let signature = sign::signatures(resources, scope.part(), endpoint, &content).await?;
    let text = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let request = OutboundRequest {
        method: Method::Post,
        url: endpoint.url.clone(),
        headers: vec![
            text("content-type", "application/json"),
            text("webhook-id", message.id),
            text("webhook-timestamp", &at),
            text("webhook-signature", &signature),
        ],
        body: Some(message.body.as_bytes().to_vec()),
        credential: None,
        options: OutboundOptions::default(),
    };
    let guard = guard(resources, scope, endpoint, target.host(), message)?;
    let sent = tokio::select! {
        biased;
        // Why: what it is sent for may be forbidden by now. It is sent again, under the same id.
        () = resources.freshness.lost() => return Ok(Sent::refused(Code::StoreUnavailable)),
        sent = guard.send(request) => sent,
    };
    let report = guard.report();
    Ok(match sent {
        Ok(answer) => Sent { status: Some(answer.status), code: None },
        Err(_) => {
            let code = report.failure.or(Some(Code::UpstreamProtocol));
            Sent { status: report.last_status, code }
        }
    })
}

/// The capability of one delivery: one request to the endpoint's host.
fn guard(
    resources: &Resources,
    scope: &WebhookScope,
    endpoint: &WebhookEndpoint,
    host: &str,
    message: &Message<'_>,
) -> Result<Guard, Error> {
    let internal = || Error::plain(Code::Internal);
    let pattern = HostPattern::parse(host).map_err(|_| internal())?;
    let url = UrlTemplate::parse(&format!("https://{host}/")).map_err(|_| internal())?;
    let action = ActionScope::new(Method::Post, &url, &Map::new()).map_err(|_| internal())?.with_any_path();
    // Why no list of the org: it is about what connectors may reach.
    let rules = HostRules {
        connector: vec![pattern],
        ports: Vec::new(),
        org: OrgPolicy::Unrestricted,
        org_rules: RulesVerdict::ALLOWED,
    };
    let limits = &resources.limits;
    let timeout_ms = u32::try_from(limits.webhook_timeout_ms).ok();
    let origin = Origin {
        org: scope.ledger()?,
        workspace: WorkspaceId::parse(IN_LEDGER)?,
        connector_id: ConnectorId::parse(IN_LEDGER)?,
        connection: None,
        revision: 0,
        action_id: ActionId::parse(message.kind)?,
        run_id: RunId::parse(message.id)?,
        automation_id: None,
    };
    let pool = PoolScope {
        // Why a dot: no workspace has a name with one.
        workspace: format!("{}/.webhook", scope.part()),
        connector: endpoint.instance.clone(),
        connection: None,
        credential_version: 0,
        policy_generation: 0,
        http2: false,
    };
    Ok(resources.gate.guard(GuardSpec {
        grant: EgressGrant::new(rules, vec![action], limits.url_bytes),
        credential: None,
        injection: Arc::new(Injection::default()),
        config: Arc::default(),
        log: CallLedger::new(resources, origin, None),
        requests_max: 1,
        redirects: RedirectPolicy::NONE,
        limits: RequestLimits {
            response_bytes: Some(ANSWER_BYTES),
            timeout_ms,
            connect_timeout_ms: timeout_ms,
        },
        answers: Answers::Guest,
        unclean_close: true,
        user_agent_suffix: None,
        dry_run: false,
        varying: Vec::new(),
        scope: Arc::new(pool),
    }))
}
