//! The authorization code flow (RFC 6749 section 4.1) with proof key (RFC 7636): a person is sent to the
//! third party and comes back with a code.
//!
//! The state is bound to the workspace's connection and to the browser that was sent, works once and
//! for a few minutes; the redirect URI is ours, exactly. The code goes from the callback to the token
//! endpoint and is kept nowhere.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use portcullis_action::Values;
use portcullis_action::escape::percent_encode;
use portcullis_core::fault::Code;
use portcullis_core::id::{ConnectorId, CredentialId, OrgId, RunId, WorkspaceId};
use portcullis_core::injection::Texts;
use portcullis_core::secret::{SecretFields, SecretValue};
use portcullis_core::token_plan::ConsentPlan;
use portcullis_store::{CredentialState, PendingConsent, SecretPayload, StoreError, TokenState, Writes};
use zeroize::Zeroizing;

use super::{attention, exchange, openable, settle, take_lease};
use crate::app::App;
use crate::clock;
use crate::connected::Connected;
use crate::credential::Place;
use crate::problem::Problem;
use crate::token;

/// How long a person may take: long enough for a login with a second factor, short for a thief.
const CONSENT_TIME: SignedDuration = SignedDuration::from_mins(10);

/// Most unfinished consents that one start looks through.
const LATE_MAX: usize = 100;

/// Path of the callback below `public_url`.
pub const CALLBACK_PATH: &str = "/oauth/callback";

/// Where a person is to be sent.
pub struct Started {
    /// The third party's page.
    pub authorize_url: String,
    /// When it is too late.
    pub expires_at: String,
    /// What the browser must bring back as a cookie.
    pub browser: Zeroizing<String>,
}

/// 256 random bits, base64url.
fn random() -> Result<Zeroizing<String>, Problem> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(&mut *bytes).map_err(|_| Problem::plain(Code::Internal))?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
}

fn no_consent() -> Problem {
    Problem::new(Code::BadRequest, "this connector's auth_type asks nobody for consent")
}

/// Starts a consent.
///
/// # Errors
/// `bad_request` where nobody has to consent, `credential_needs_attention` before the client id and
/// secret are saved.
pub async fn start(app: &App, connected: &Connected) -> Result<Started, Problem> {
    let plan = connected.connector().auth.token.as_ref().and_then(|token| token.consent.as_ref());
    let plan = plan.ok_or_else(no_consent)?;
    let missing: Vec<&str> = connected.connection.missing_fields(connected.connector()).collect();
    let Some(credential) = connected.connection.credential.as_ref().filter(|_| missing.is_empty()) else {
        let detail = "save the client's id and secret before asking for consent";
        return Err(Problem::new(Code::CredentialNeedsAttention, detail));
    };
    let (state, verifier, browser) = (random()?, random()?, random()?);
    let redirect_uri = format!("{}{CALLBACK_PATH}", app.public_url);
    let consent_id = clock::fresh("cred", CredentialId::parse)?;
    let fields = SecretFields::new(vec![("code_verifier".into(), SecretValue::new(verifier.to_string()))]);
    let payload = SecretPayload { fields, allowed_hosts: credential.allowed_hosts.clone() };
    let sealed = app.vault.seal(&connected.place.binding(&consent_id, 1), &payload).await?;
    let expires_at = clock::after(CONSENT_TIME);
    let pending = PendingConsent {
        consent_id,
        org: connected.place.org.as_str().to_owned(),
        workspace: connected.place.workspace.as_str().to_owned(),
        connector: connected.place.connector.as_str().to_owned(),
        credential_id: credential.credential_id.clone(),
        credential_revision: credential.revision,
        redirect_uri: redirect_uri.clone(),
        sealed_verifier: sealed.text,
        browser: token::hash(&browser),
        expires_at: expires_at.clone(),
    };
    let authorize_url = authorize_url(app, connected, plan, &redirect_uri, &state, &verifier).await?;
    let writes = forget_late(app).await?;
    app.records.commit(writes.create(&[token::hash(&state).as_str()], &pending)).await?;
    Ok(Started { authorize_url, expires_at, browser })
}

/// The writes that forget consents which nobody finished in time, so that they do not pile up.
async fn forget_late(app: &App) -> Result<Writes, Problem> {
    let pending = app.records.list::<PendingConsent>(&[], None, LATE_MAX).await?;
    let late = pending.iter().filter(|(_, consent, _)| clock::has_passed(&consent.expires_at));
    Ok(late.fold(Writes::new(), |writes, (key, _, _)| writes.delete::<PendingConsent>(&[key.as_str()])))
}

async fn authorize_url(
    app: &App,
    connected: &Connected,
    plan: &ConsentPlan,
    redirect_uri: &str,
    state: &str,
    verifier: &str,
) -> Result<String, Problem> {
    let attention = |e: String| Problem::new(Code::CredentialNeedsAttention, e);
    let mut url = plan
        .authorize_url
        .render(&Values::config_only(&connected.config))
        .map_err(|e| attention(e.to_string()))?;
    let client_id = client_id(app, connected, plan).await?;
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    let mut pairs: Vec<(&str, &str)> = vec![
        ("response_type", "code"),
        ("client_id", client_id.as_str()),
        ("redirect_uri", redirect_uri),
        ("state", state),
    ];
    if !plan.scope.is_empty() {
        pairs.push(("scope", &plan.scope));
    }
    if plan.pkce {
        pairs.extend([("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")]);
    }
    let none = SecretFields::default();
    let texts = Texts::new(&none, &connected.config);
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

/// The client id is no secret (RFC 6749 section 2.2), but a form may keep it as one.
async fn client_id(
    app: &App,
    connected: &Connected,
    plan: &ConsentPlan,
) -> Result<Zeroizing<String>, Problem> {
    let attention = |e: portcullis_core::injection::InjectionError| {
        Problem::new(Code::CredentialNeedsAttention, e.to_string())
    };
    let none = SecretFields::default();
    if let Ok(text) = Texts::new(&none, &connected.config).render(&plan.client_id) {
        return Ok(text);
    }
    let (Some(setting), Some(state)) = (&connected.connection.setting, &connected.connection.credential)
    else {
        return Err(no_consent());
    };
    let sealed = setting.value.encrypted_config.as_deref().unwrap_or_default();
    let binding = connected.place.binding(&state.credential_id, state.revision);
    let opened = app.vault.open_sealed(&binding, sealed, |_| true).await?;
    Texts::new(&opened.fields, &connected.config).render(&plan.client_id).map_err(attention)
}

/// What a browser brings back.
pub struct Return<'a> {
    /// `state`.
    pub state: &'a str,
    /// `code`, unless the person said no.
    pub code: Option<&'a str>,
    /// The cookie.
    pub browser: Option<&'a str>,
}

/// Finishes a consent: the code becomes a token.
///
/// # Errors
/// `consent_invalid` for a state that is unknown, used, too late or another browser's;
/// `credential_needs_attention` when the code was not accepted.
pub async fn finish(app: &Arc<App>, back: Return<'_>) -> Result<Place, Problem> {
    let invalid = |why: &str| Problem::new(Code::ConsentInvalid, why);
    let key = token::hash(back.state);
    let Some((pending, commit)) = app.records.get::<PendingConsent>(&[key.as_str()]).await? else {
        return Err(invalid("the link is unknown or was used already; start again"));
    };
    if back.browser.map(token::hash).as_deref() != Some(pending.browser.as_str()) {
        return Err(invalid("this is not the browser in which it was started; start again here"));
    }
    // Why before anything else: a state works once, whatever comes of it.
    let once = Writes::new()
        .require_revision::<PendingConsent>(&[key.as_str()], commit)
        .delete::<PendingConsent>(&[key.as_str()]);
    match app.records.commit(once).await {
        Ok(_) => {}
        Err(StoreError::Conflict { .. }) => return Err(invalid("the link was used already; start again")),
        Err(error) => return Err(error.into()),
    }
    if clock::has_passed(&pending.expires_at) {
        return Err(invalid("it took too long; start again"));
    }
    let Some(code) = back.code else {
        return Err(invalid("consent was not given"));
    };
    let place = Place {
        org: OrgId::parse(&pending.org)?,
        workspace: WorkspaceId::parse(&pending.workspace)?,
        connector: ConnectorId::parse(&pending.connector)?,
    };
    let (own_app, own_place) = (Arc::clone(app), place.clone());
    let code = Zeroizing::new(code.to_owned());
    // Why a task: a code works once, so its token must be stored even if the browser goes away.
    let task = tokio::spawn(async move { redeem(&own_app, own_place, pending, code).await });
    task.await.map_err(|_| Problem::plain(Code::Internal))??;
    Ok(place)
}

async fn redeem(
    app: &Arc<App>,
    place: Place,
    pending: PendingConsent,
    code: Zeroizing<String>,
) -> Result<(), Problem> {
    let gone = || Problem::new(Code::ConsentInvalid, "the connection changed meanwhile; start again");
    let loaded = app.directory.connector(place.connector.as_str()).await?.ok_or_else(gone)?;
    let lock = app.tokens.lock(&place);
    let _held = lock.lock().await;
    let connected = Connected::load(app, place, loaded).await?;
    let loaded = Arc::clone(&connected.loaded);
    if !loaded.connector.enabled {
        return Err(Problem::plain(Code::ConnectorDisabled));
    }
    let plan = connected.connection.chosen(&loaded.connector).auth.token.as_ref().ok_or_else(gone)?;
    let consent = plan.consent.as_ref().filter(|_| is_still_meant(&connected, &pending)).ok_or_else(gone)?;
    let binding = connected.place.binding(&pending.consent_id, 1);
    let opened = app.vault.open_sealed(&binding, &pending.sealed_verifier, |_| true).await?;
    let mut records = openable(app, &connected);
    for (name, value) in opened.fields.into_fields() {
        records.known.push((name, Zeroizing::new(value.expose().to_owned())));
    }
    records.known.push(("code".to_owned(), code));
    records.known.push(("redirect_uri".to_owned(), Zeroizing::new(pending.redirect_uri)));
    let run = clock::fresh("run", RunId::parse)?;
    let (state, commit) = take_lease(app, &connected).await?.ok_or_else(gone)?;
    let got = exchange::follow(app, &connected, &[&consent.exchange], records, &run).await;
    match got {
        Err(failed) if state.sealed.is_some() => {
            // Why no failure is noted: the token that is there is as good as before.
            let kept = TokenState { lease: None, ..state };
            app.records.commit(Writes::new().replace(&connected.place.parts(), &kept, commit)).await?;
            Err(attention(&failed.reason))
        }
        // Why not renewable: the refresh token of whoever consented before must not renew this one's.
        got => {
            let before = TokenState { renewable: false, ..state };
            settle(app, &connected, plan, before, commit, got).await
        }
    }
}

/// Whether the connection is the one that consent was asked for: the same saved credential, not opted out.
fn is_still_meant(connected: &Connected, pending: &PendingConsent) -> bool {
    let connection = &connected.connection;
    let enabled = connection.setting.as_ref().is_some_and(|setting| setting.value.enabled);
    let same = |c: &CredentialState| {
        c.credential_id == pending.credential_id && c.revision == pending.credential_revision
    };
    enabled && connection.credential.as_deref().is_some_and(same)
}
