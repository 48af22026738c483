//! The authorization code flow (RFC 6749 section 4.1) with proof key (RFC 7636): a person is sent to the
//! third party and comes back with a code.
//!
//! The state is bound to the workspace's connection and to the browser that was sent, works once and
//! for a few minutes; the redirect URI is fixed. The code goes from the callback to the token
//! endpoint and is not stored.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use portcullis_action::escape::percent_encode;
use portcullis_action::{UrlTemplate, Values};
use portcullis_core::connector::DEFAULT_METHOD;
use portcullis_core::fault::Code;
use portcullis_core::host_pattern::same_owner;
use portcullis_core::id::{ConnectorId, CredentialId, OrgId, RunId, WorkspaceId};
use portcullis_core::injection::Texts;
use portcullis_core::secret::{SecretFields, SecretValue};
use portcullis_core::target::{DEFAULT_PORT, Target};
use portcullis_core::token_plan::ConsentPlan;
use portcullis_store::{CredentialState, PendingConsent, SecretPayload, StoreError, TokenState, Writes};
use zeroize::Zeroizing;

use super::client::{check_host, openable};
use super::exchange;
use super::renewal::{Renewal, attention};
use super::settle::settle;
use crate::api_token::hash;
use crate::audit_log::{AuditActor, actor_of};
use crate::caller::Caller;
use crate::clock;
use crate::connection::health::{self, Seen, Watched};
use crate::connection::{AskedConnection, ConnectionKey, LoadedConnection, Subject};
use crate::engine::Engine;
use crate::error::Error;
use crate::oauth_clients::SharedClient;
use crate::request_mark::RequestMark;
use crate::resources::Resources;
use crate::tenants::Tenant;
use crate::workers::Lane;

mod late;
mod returning;

pub use late::sweep;
pub use returning::{Finished, finish};

use late::forget_late;

/// How long a person may take: long enough for a login with a second factor, short for a thief.
const CONSENT_TIME: SignedDuration = SignedDuration::from_mins(10);

/// Path of the callback below `public_url`.
pub const CALLBACK_PATH: &str = "/oauth/callback";

/// Where a person is to be sent.
pub struct Started {
    /// The authorization page of the third party.
    pub authorize_url: String,
    /// When the consent expires, RFC 3339.
    pub expires_at: String,
    /// Name of the cookie that ties the consent to a browser: each consent has one, so that a browser can have several.
    pub cookie: String,
    /// The value that the browser must return as that cookie.
    pub browser: Zeroizing<String>,
}

/// Characters of the hash in a cookie's name.
const COOKIE_NAME_HEX: usize = 16;

/// Name of the cookie of the consent with this state.
#[must_use]
pub fn cookie_name(state: &str) -> String {
    let hash = hash(state);
    format!("portcullis_consent_{}", hash.get(..COOKIE_NAME_HEX).unwrap_or_default())
}

/// 256 random bits, base64url.
pub(crate) fn random() -> Result<Zeroizing<String>, Error> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(&mut *bytes).map_err(|_| Error::plain(Code::Internal))?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
}

fn no_consent() -> Error {
    Error::new(Code::BadRequest, "this connector's auth_type needs no consent")
}

/// That the chosen method asks for no consent, with those that do.
fn no_consent_of(connection: &LoadedConnection) -> Error {
    let connector = &connection.loaded.connector;
    let own = connector.asks_for_consent().then_some(DEFAULT_METHOD);
    let others = connector.methods.iter().filter(|method| method.connector.asks_for_consent());
    let asking: Vec<&str> = own.into_iter().chain(others.map(|method| method.id.as_str())).collect();
    if asking.is_empty() {
        return no_consent();
    }
    let saved = connection.stored.setting.as_ref().and_then(|setting| setting.value.auth_method.as_deref());
    let (chosen, asking) = (saved.unwrap_or(DEFAULT_METHOD), asking.join(", "));
    let detail = format!(
        "the chosen auth_method {chosen:?} asks nobody for consent; choose one that does, by saving its form: {asking}"
    );
    Error::new(Code::BadRequest, detail)
}

/// Starts a consent.
///
/// # Errors
/// `connector_disabled`, `not_found` for a named connection that was not saved, `bad_request` if no consent is needed,
/// `credential_needs_attention` before the client id and secret are saved.
pub async fn start<'a>(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    asked: impl Into<AskedConnection<'a>>,
) -> Result<Started, Error> {
    start_in(engine, caller, tenant, asked, None).await
}

/// Starts a consent, perhaps in a connect session, which is told of its end.
///
/// # Errors
/// As for [`start`].
pub(crate) async fn start_in<'a>(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    asked: impl Into<AskedConnection<'a>>,
    session: Option<String>,
) -> Result<Started, Error> {
    let subject = Subject::existing(engine, caller, tenant, asked).await?;
    subject.require_enabled()?;
    let connection = subject.load(engine).await?.with_new_client();
    begin(&engine.resources, &connection, actor_of(caller), session).await
}

async fn begin(
    resources: &Resources,
    connection: &LoadedConnection,
    started_by: AuditActor,
    session: Option<String>,
) -> Result<Started, Error> {
    connection.require_allowed()?;
    let plan = connection.connector().auth.token.as_ref().and_then(|token| token.consent.as_ref());
    let plan = plan.ok_or_else(|| no_consent_of(connection))?;
    let missing: Vec<&str> = connection.stored.missing_fields(connection.connector()).collect();
    let Some(credential) = connection.stored.credential.as_ref().filter(|_| missing.is_empty()) else {
        let detail = match connection.stored.client {
            Some(_) => "save the connection before asking for consent",
            None => "save the client's id and secret before asking for consent",
        };
        return Err(Error::new(Code::CredentialNeedsAttention, detail));
    };
    check_host(connection, &plan.exchange.url)?;
    let (state, verifier, browser) = (random()?, random()?, random()?);
    let redirect_uri = format!("{}{CALLBACK_PATH}", resources.public_url);
    let consent_id = clock::fresh("cred", CredentialId::parse)?;
    let fields = SecretFields::new(vec![("code_verifier".into(), SecretValue::new(verifier.to_string()))]);
    let payload = SecretPayload { fields, allowed_hosts: credential.allowed_hosts.clone() };
    let sealed = resources.vault.seal(&connection.key.binding(&consent_id, 1), &payload).await?;
    let expires_at = clock::after(CONSENT_TIME);
    let pending = PendingConsent {
        consent_id,
        org: connection.key.org.as_str().to_owned(),
        workspace: connection.key.workspace.as_str().to_owned(),
        connector: connection.key.connector.as_str().to_owned(),
        connection: connection.key.name.clone(),
        credential_id: credential.credential_id.clone(),
        credential_revision: credential.revision,
        client: connection.stored.client.as_ref().map(SharedClient::noted),
        redirect_uri: redirect_uri.clone(),
        sealed_verifier: sealed.text,
        browser: hash(&browser),
        expires_at: expires_at.clone(),
        started_by: Some(started_by),
        session,
    };
    let authorize_url = authorize_url(resources, connection, plan, &redirect_uri, &state, &verifier).await?;
    let writes = forget_late(resources).await?;
    resources.commit(writes.create(&[hash(&state).as_str()], &pending)).await?;
    Ok(Started { authorize_url, expires_at, cookie: cookie_name(&state), browser })
}

async fn authorize_url(
    resources: &Resources,
    connection: &LoadedConnection,
    plan: &ConsentPlan,
    redirect_uri: &str,
    state: &str,
    verifier: &str,
) -> Result<String, Error> {
    let attention = |e: String| Error::new(Code::CredentialNeedsAttention, e);
    let mut url = plan
        .authorize_url
        .render(&Values::config_only(&connection.config))
        .map_err(|e| attention(e.to_string()))?;
    let client_id = client_id(resources, connection, plan).await?;
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    let mut pairs: Vec<(&str, &str)> = vec![
        ("response_type", "code"),
        ("client_id", client_id.as_str()),
        ("redirect_uri", redirect_uri),
        ("state", state),
    ];
    let own = connection.stored.client.as_ref().and_then(|client| client.record.scopes.as_ref());
    let scope = own.map_or_else(|| plan.scope.clone(), |scopes| scopes.join(&plan.scope_separator));
    if !scope.is_empty() {
        pairs.push(("scope", &scope));
    }
    if plan.pkce {
        pairs.extend([("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")]);
    }
    let none = SecretFields::default();
    let texts = Texts::new(&none, &connection.config);
    let mut own: Vec<(&str, Zeroizing<String>)> = Vec::new();
    for (name, template) in &plan.params {
        own.push((name, texts.render(template).map_err(|e| attention(e.to_string()))?));
    }
    pairs.extend(own.iter().map(|(name, text)| (*name, text.as_str())));
    for (name, value) in pairs {
        url.push(if url.contains('?') { '&' } else { '?' });
        percent_encode(name, &mut url);
        url.push('=');
        percent_encode(value, &mut url);
    }
    Ok(url)
}

/// The client id is not secret (RFC 6749 section 2.2), but a form may treat it as one.
async fn client_id(
    resources: &Resources,
    connection: &LoadedConnection,
    plan: &ConsentPlan,
) -> Result<Zeroizing<String>, Error> {
    let attention = |e: portcullis_core::injection::InjectionError| {
        Error::new(Code::CredentialNeedsAttention, e.to_string())
    };
    if let Some(client) = &connection.stored.client {
        // Why as it is: it was saved finished, so the template that makes it of a workspace's fields has nothing to add.
        return Ok(Zeroizing::new(client.record.client_id.clone()));
    }
    let none = SecretFields::default();
    if let Ok(text) = Texts::new(&none, &connection.config).render(&plan.client_id) {
        return Ok(text);
    }
    let (Some(setting), Some(state)) = (&connection.stored.setting, &connection.stored.credential) else {
        return Err(no_consent());
    };
    let sealed = setting.value.encrypted_config.as_deref().unwrap_or_default();
    let binding = connection.key.binding(&state.credential_id, state.revision);
    let opened = resources.vault.open_sealed(&binding, sealed, |_| true).await?;
    Texts::new(&opened.fields, &connection.config).render(&plan.client_id).map_err(attention)
}

/// What a browser brings back.
pub struct Return<'a> {
    /// `state`.
    pub state: &'a str,
    /// `code`, unless the person refused.
    pub code: Option<&'a str>,
    /// `error`: why there is no code.
    pub error: Option<&'a str>,
    /// `iss`: which authorization server sends the browser back (RFC 9207), if it says so.
    pub iss: Option<&'a str>,
    /// Every pair, for values that a definition takes from the callback.
    pub pairs: &'a [(String, String)],
    /// The cookie.
    pub browser: Option<&'a str>,
}

/// Takes a pending consent out of the store: each state works once.
async fn take(resources: &Resources, back: &Return<'_>) -> Result<PendingConsent, Error> {
    let invalid = |why: &str| Error::new(Code::ConsentInvalid, why);
    // Why before the state is spent: its code could not be redeemed.
    resources.freshness.check()?;
    let key = hash(back.state);
    let Some((pending, commit)) = resources.records.get::<PendingConsent>(&[key.as_str()]).await? else {
        return Err(invalid("the link is unknown or was used already; start again"));
    };
    if back.browser.map(hash).as_deref() != Some(pending.browser.as_str()) {
        return Err(invalid("this is not the browser in which it was started; start again here"));
    }
    // Why before anything else: a state works only once, whatever the result.
    let once = Writes::new()
        .require_revision::<PendingConsent>(&[key.as_str()], commit)
        .delete::<PendingConsent>(&[key.as_str()]);
    match resources.commit(once).await {
        Ok(_) => Ok(pending),
        Err(StoreError::Conflict { .. }) => Err(invalid("the link was used already; start again")),
        Err(error) => Err(error.into()),
    }
}

/// Redeems the code that a consent brought.
async fn accept(engine: &Engine, back: &Return<'_>, pending: PendingConsent) -> Result<ConnectionKey, Error> {
    let invalid = |why: &str| Error::new(Code::ConsentInvalid, why);
    if clock::has_passed(&pending.expires_at) {
        return Err(invalid("it took too long; start again"));
    }
    let Some(code) = back.code else {
        return Err(returning::without_code(back.error));
    };
    let connection = ConnectionKey {
        org: OrgId::parse(&pending.org)?,
        workspace: WorkspaceId::parse(&pending.workspace)?,
        connector: ConnectorId::parse(&pending.connector)?,
        name: pending.connection.clone(),
    };
    // Why who started it: the browser that comes back has no token, and the audit log is to say who did it.
    let mark = RequestMark::current();
    if let (Some(mark), Some(actor)) = (&mark, &pending.started_by) {
        mark.acts_for(actor.clone());
    }
    let (renewal, own) = (engine.renewal.clone(), connection.clone());
    let code = Zeroizing::new(code.to_owned());
    let (iss, pairs) = (back.iss.map(str::to_owned), back.pairs.to_vec());
    // Why a task: a code works once, so its token must be stored even if the browser disconnects.
    let lane = Lane::of(Some(connection.org.as_str()));
    let redeeming = Box::pin(async move {
        let redeeming = redeem(&renewal, own, pending, code, iss.as_deref(), &pairs);
        match mark {
            Some(mark) => mark.around(redeeming).await,
            None => redeeming.await,
        }
    });
    let task = tokio::spawn(engine.resources.workers.movable(lane, redeeming));
    task.await.map_err(|_| Error::plain(Code::Internal))???;
    Ok(connection)
}

async fn redeem(
    renewal: &Renewal,
    key: ConnectionKey,
    pending: PendingConsent,
    code: Zeroizing<String>,
    iss: Option<&str>,
    pairs: &[(String, String)],
) -> Result<(), Error> {
    let gone = || Error::new(Code::ConsentInvalid, "the connection changed meanwhile; start again");
    let resources = renewal.resources();
    let loaded = resources.cache.connector(key.connector.as_str()).await?.ok_or_else(gone)?;
    let lock = renewal.lock_of(&key);
    let _held = lock.lock().await;
    let connection = LoadedConnection::load(resources, key, loaded).await?.with_new_client();
    let loaded = Arc::clone(&connection.loaded);
    if !loaded.connector.enabled {
        return Err(Error::plain(Code::ConnectorDisabled));
    }
    connection.require_allowed()?;
    let plan = connection.stored.chosen(&loaded.connector).auth.token.as_ref().ok_or_else(gone)?;
    let consent = plan.consent.as_ref().filter(|_| is_still_meant(&connection, &pending)).ok_or_else(gone)?;
    check_issuer(&connection, consent, iss)?;
    let came = came_with(&connection, consent, pairs)?;
    let binding = connection.key.binding(&pending.consent_id, 1);
    let opened = resources.vault.open_sealed(&binding, &pending.sealed_verifier, |_| true).await?;
    let mut records = openable(resources, &connection);
    for (name, value) in opened.fields.into_fields() {
        records.known.push((name, Zeroizing::new(value.expose().to_owned())));
    }
    records.known.push(("code".to_owned(), code));
    records.known.push(("redirect_uri".to_owned(), Zeroizing::new(pending.redirect_uri)));
    let run = clock::fresh("run", RunId::parse)?;
    let (state, commit) = renewal.take_lease(&connection).await?.ok_or_else(gone)?;
    let asking = knowing(&connection, &came);
    let got =
        exchange::follow_after(resources, &asking, &[&consent.exchange], records, &run, came, None).await;
    match got {
        Err(failed) if state.sealed.is_some() => {
            // Why no failure is recorded: the existing token is still valid.
            let kept = TokenState { lease: None, ..state };
            resources.commit(Writes::new().replace(&connection.key.parts(), &kept, commit)).await?;
            Err(attention(&failed.reason))
        }
        // Why not renewable: the refresh token of an earlier consent must not renew this one's token.
        got => {
            let client = connection.stored.client.as_ref().map(SharedClient::noted);
            let before = TokenState { renewable: false, client, ..state };
            settle(resources, &connection, plan, before, commit, got).await?;
            if let Some(watched) = Watched::of(&connection) {
                health::note(resources, &watched, &Seen::Consent).await;
            }
            Ok(())
        }
    }
}

/// The config values that the callback brings: each must be there once, and be one that the form would accept.
fn came_with(
    connection: &LoadedConnection,
    consent: &ConsentPlan,
    pairs: &[(String, String)],
) -> Result<Vec<(String, String)>, Error> {
    let one = |(field, pair): &(String, String)| {
        let mut found = pairs.iter().filter(|(name, _)| name == pair).map(|(_, value)| value.as_str());
        let refused = |why: &str| {
            let detail = format!("the answer {why} {pair:?}, which config.{field} is taken from");
            Err(Error::new(Code::ConsentInvalid, detail))
        };
        match (found.next(), found.next()) {
            (None, _) => refused("has no"),
            (Some(_), Some(_)) => refused("has several"),
            (Some(value), None) if connection.accepted(field, exchange::host_of(value)).is_some() => {
                Ok((field.clone(), value.to_owned()))
            }
            (Some(_), None) => refused("has an unusable"),
        }
    };
    consent.callback.iter().map(one).collect()
}

/// The connection as its token request sees it: what the callback brought counts before it is stored, and instead of
/// what an earlier one did.
fn knowing(connection: &LoadedConnection, came: &[(String, String)]) -> LoadedConnection {
    let mut knowing = connection.clone();
    let known = came.iter().filter_map(|(field, text)| {
        let value = connection.accepted(field, exchange::host_of(text))?;
        Some((field.clone(), value.into()))
    });
    Arc::make_mut(&mut knowing.config).extend(known);
    knowing
}

/// Refuses a code of another authorization server than the one whose token endpoint would get it (RFC 9207): the
/// server that the definition names, or else one at the host of the authorization page or of the token endpoint.
fn check_issuer(
    connection: &LoadedConnection,
    consent: &ConsentPlan,
    iss: Option<&str>,
) -> Result<(), Error> {
    let refused = |why: &str| Err(Error::new(Code::ConsentInvalid, why));
    let Some(issuer) = &consent.issuer else {
        let Some(iss) = iss else { return Ok(()) };
        let values = Values::config_only(&connection.config);
        let host = |url: &UrlTemplate| url.render(&values).ok().and_then(|url| host_of_issuer(&url));
        let own = [host(&consent.authorize_url), host(&consent.exchange.url)];
        let named = host_of_issuer(iss).filter(|named| own.iter().flatten().any(|own| own == named));
        let redeems = |named: &String| own.iter().flatten().all(|own| same_owner(own, named));
        return match named.filter(redeems) {
            Some(_) => Ok(()),
            None => refused(
                "the answer comes from another authorization server than this connector's; if it is the right one, \
                 the definition must name it in auth.issuer",
            ),
        };
    };
    let none = SecretFields::default();
    let expected = Texts::new(&none, &connection.config).render(issuer);
    let expected = expected.map_err(|e| Error::new(Code::CredentialNeedsAttention, e.to_string()))?;
    match iss {
        // Why letter by letter: RFC 3986 section 6.2.1, as RFC 9207 section 2.4 says.
        Some(iss) if iss == expected.as_str() => Ok(()),
        Some(_) => {
            refused("the answer comes from another authorization server than the definition's auth.issuer")
        }
        None => {
            refused("the answer does not say which authorization server it is from, as auth.issuer requires")
        }
    }
}

/// The host of an issuer identifier: an https URL without user name and port.
fn host_of_issuer(url: &str) -> Option<String> {
    let target = Target::parse(url.as_bytes(), url.len() as u64).ok()?;
    (target.port() == DEFAULT_PORT).then(|| target.host().to_owned())
}

/// Whether the connection is the one that consent was asked for: the same saved credential and OAuth client, not opted
/// out.
fn is_still_meant(connection: &LoadedConnection, pending: &PendingConsent) -> bool {
    let connection = &connection.stored;
    let enabled = connection.setting.as_ref().is_some_and(|setting| setting.value.enabled);
    let same = |c: &CredentialState| {
        c.credential_id == pending.credential_id && c.revision == pending.credential_revision
    };
    let same_client = match (&pending.client, &connection.client) {
        (Some(noted), Some(client)) => noted.is_same(&client.noted()),
        (noted, client) => noted.is_none() && client.is_none(),
    };
    enabled && same_client && connection.credential.as_deref().is_some_and(same)
}
