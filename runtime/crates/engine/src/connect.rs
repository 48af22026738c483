//! Connect sessions: a link that an integrator makes for one workspace and hands to a person, who connects that workspace
//! in a browser without an API token.
//!
//! Opening a link claims nothing: programs that scan mail open links. The first POST claims it for one browser, by a
//! cookie. Whoever holds that cookie may do what this session is for, and nothing else: the session names workspace and,
//! if it was made so, the connector and the name of the connection. Secret and cookie are stored as hashes and are never logged. What is done is what
//! the API does: [`crate::connection`] and [`crate::oauth::consent`] do it.

use jiff::SignedDuration;
use portcullis_core::fault::Code;
use portcullis_core::id::{ConnectionName, DEFAULT_CONNECTION, OrgId, WorkspaceId};
use portcullis_store::{ConnectClaim, ConnectLink, ConnectSession, StoreError, WorkspaceRecord, Writes};
pub use portcullis_store::{ConnectEnd, ConnectSettings, ConnectStatus};
use zeroize::Zeroizing;

use crate::api_token::{self, hash};
use crate::caller::{Caller, WORKSPACE_ORG_PLATFORM};
use crate::clock;
use crate::connection::{AskedConnection, checked_names};
use crate::engine::Engine;
use crate::error::Error;
use crate::oauth::consent::random;
use crate::tenants::{self, Tenant};

mod doing;
mod ending;
mod form;
mod listing;
mod settings;
mod sweep;
mod windows;

pub use doing::{Choice, offers, save, start_consent, test};
pub(crate) use ending::{ConsentOf, consent_ended, goes_on};
pub use ending::{Ending, end, ending_of};
pub use form::{ConnectForm, FormMethod, form};
pub use listing::{ListedSession, Stage, list, revoke};
pub use settings::{SettingsWish, of_org, replace_settings, show_settings, style_hash};
pub(crate) use sweep::clear_workspace;
pub use sweep::sweep;
pub use windows::{enter_window, window_ticket};

/// How long a browser that claimed a session has: long enough to look a key up at the third party.
const CLAIM_TIME: SignedDuration = SignedDuration::from_mins(30);
/// The same in seconds, for its cookie.
pub const CLAIM_SECONDS: u64 = 30 * 60;
/// How long a link may be claimed unless its maker says otherwise, seconds: handed over at once.
const LINK_SECONDS: u64 = 600;
/// Characters of a secret: 256 bits in base64url.
const SECRET_CHARS: usize = 43;

/// A session to make.
#[derive(Debug, Clone, Default)]
pub struct NewSession {
    /// The connector; the person chooses if absent.
    pub connector_id: Option<String>,
    /// The connection's name; the default one if absent, and for `default`. It need not exist.
    pub connection: Option<String>,
    /// Where the browser is sent at the end; one that the org's settings allow.
    pub return_url: Option<String>,
    /// How long the link may be claimed, seconds.
    pub expires_in: Option<u64>,
}

/// A session that was made.
pub struct MadeSession {
    /// Its id, which is not secret.
    pub session_id: String,
    /// The link, shown once.
    pub connect_url: Zeroizing<String>,
    /// Until when the link may be claimed, RFC 3339.
    pub expires_at: String,
}

/// Makes a session.
///
/// # Errors
/// Those of [`Caller::authorise`]; `connector_not_found`, `connector_disabled` and `connector_not_allowed` for a
/// connector that nobody could connect; `return_url_not_allowed`; `validation_failed` if there are too many, and for a text
/// that is no name of a connection.
pub async fn create(
    engine: &Engine,
    caller: &Caller,
    tenant: &Tenant,
    wish: NewSession,
) -> Result<MadeSession, Error> {
    let (org, workspace) = (tenant.org.as_str(), tenant.workspace.as_str());
    caller.authorise(WORKSPACE_ORG_PLATFORM, Some(org), Some(workspace))?;
    let named = wish.connection.as_deref().filter(|name| *name != DEFAULT_CONNECTION);
    let connection = checked_names(named, "/connection")?;
    if let Some(connector) = &wish.connector_id {
        doing::usable(engine, &tenant.org, connector).await.map_err(|error| error.at("/connector_id"))?;
    }
    if let Some(url) = &wish.return_url {
        settings::check_return_url(engine, &tenant.org, url).await?;
    }
    let writes = sweep::make_room(engine, tenant).await?;
    let (secret, session_id) = (random()?, clock::fresh_text("cs"));
    let seconds = i64::try_from(wish.expires_in.unwrap_or(LINK_SECONDS)).unwrap_or(i64::MAX);
    let session = ConnectSession {
        session_id: session_id.clone(),
        link: hash(&secret),
        workspace_commit: tenant.commit,
        connector_id: wish.connector_id,
        connection,
        return_url: wish.return_url,
        created_by: caller.token_id.clone(),
        created_at: clock::now(),
        expires_at: clock::after(SignedDuration::from_secs(seconds)),
        claim: None,
        window: None,
        steps: 0,
        end: None,
    };
    let link =
        ConnectLink { org: org.to_owned(), workspace: workspace.to_owned(), session_id: session_id.clone() };
    let writes = writes
        .require_revision::<WorkspaceRecord>(&[org, workspace], tenant.commit)
        .create(&[org, workspace, session_id.as_str()], &session)
        .create(&[session.link.as_str()], &link);
    engine.resources.commit(writes).await?;
    let connect_url = Zeroizing::new(format!("{}/connect/{}", engine.public_url(), secret.as_str()));
    Ok(MadeSession { session_id, connect_url, expires_at: session.expires_at })
}

/// A session as its link finds it. Why without `Debug`: it holds a cookie.
pub struct Session {
    pub(crate) tenant: Tenant,
    pub(crate) record: ConnectSession,
    /// The commit that wrote it.
    pub(crate) revision: u64,
    /// The browser's cookie; empty while nobody claimed it.
    cookie: Zeroizing<String>,
}

/// Who opens a link.
pub enum Visit {
    /// Nobody has claimed it.
    Unclaimed(Session),
    /// The browser that claimed it; it may have ended.
    Own(Session),
    /// Another browser than the one that claimed it.
    Other(Session),
    /// It is unknown, used or stale; with its org unless it is unknown.
    Gone(Option<OrgId>),
}

impl Session {
    /// The org.
    #[must_use]
    pub const fn org(&self) -> &OrgId {
        &self.tenant.org
    }

    /// The workspace that is connected.
    #[must_use]
    pub const fn workspace(&self) -> &WorkspaceId {
        &self.tenant.workspace
    }

    /// The only connector that it is for, if there is one.
    #[must_use]
    pub fn connector_id(&self) -> Option<&str> {
        self.record.connector_id.as_deref()
    }

    /// The name of the connection that it is for; none for the default one.
    #[must_use]
    pub const fn connection(&self) -> Option<&ConnectionName> {
        self.record.connection.as_ref()
    }

    /// Its connection to this connector.
    pub(crate) fn asked<'a>(&'a self, connector: &'a str) -> AskedConnection<'a> {
        AskedConnection { connector, name: self.connection().map(ConnectionName::as_str) }
    }

    /// Whether its page stands in a frame.
    #[must_use]
    pub fn is_framed(&self) -> bool {
        self.record.claim.as_ref().is_some_and(|claim| claim.framed)
    }

    /// Whether it has ended.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.record.end.is_some()
    }

    /// What forms and links of this browser carry, so that another site cannot send them.
    #[must_use]
    pub fn csrf(&self) -> String {
        hash(&format!("csrf:{}", self.cookie.as_str()))
    }

    /// Whether a text is [`Self::csrf`].
    #[must_use]
    pub fn is_csrf(&self, given: &str) -> bool {
        // Why hashed: then the time of the comparison tells nothing of the text.
        !self.cookie.is_empty() && hash(given) == hash(&self.csrf())
    }

    /// Who acts in it.
    pub(crate) fn caller(&self) -> Caller {
        let (org, workspace) = (self.tenant.org.clone(), self.tenant.workspace.clone());
        Caller::of_session(org, workspace, self.record.session_id.as_str())
    }

    /// Parts of the record's key.
    pub(crate) fn parts(&self) -> [&str; 3] {
        [self.tenant.org.as_str(), self.tenant.workspace.as_str(), self.record.session_id.as_str()]
    }
}

/// Name of the cookie by which a browser shows that it claimed the session of this link. Each has one, so that a browser
/// can have several.
#[must_use]
pub fn cookie_name(secret: &str) -> String {
    let hash = hash(&format!("cookie:{secret}"));
    format!("portcullis_connect_{}", hash.get(..16).unwrap_or_default())
}

/// Finds the session of a link.
///
/// # Errors
/// `store_unavailable`.
async fn find(engine: &Engine, secret: &str) -> Result<Option<Session>, Error> {
    if secret.len() != SECRET_CHARS {
        return Ok(None);
    }
    let (records, link) = (&engine.resources.records, hash(secret));
    let Some((named, _)) = records.get::<ConnectLink>(&[link.as_str()]).await? else { return Ok(None) };
    let found = of_name(engine, &named.org, &named.workspace, &named.session_id).await?;
    Ok(found.filter(|session| session.record.link == link))
}

/// The session of that id, if its workspace is still the one that it was made for.
async fn of_name(
    engine: &Engine,
    org: &str,
    workspace: &str,
    session: &str,
) -> Result<Option<Session>, Error> {
    let parts = [org, workspace, session];
    let Some((record, revision)) = engine.resources.records.get::<ConnectSession>(&parts).await? else {
        return Ok(None);
    };
    // Why: a link must not outlive the token with which it was made, or a token that was revoked leaves doors open.
    if let Some(token) = &record.created_by
        && !api_token::is_in_force(engine, token).await?
    {
        return Ok(None);
    }
    match tenants::find_workspace(engine, org, workspace).await {
        Ok(tenant) if tenant.commit == record.workspace_commit => {
            Ok(Some(Session { tenant, record, revision, cookie: Zeroizing::default() }))
        }
        Ok(_) => Ok(None),
        Err(error) if matches!(error.code, Code::OrgNotFound | Code::WorkspaceNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Who opens this link, by the cookie of [`cookie_name`]. Changes nothing.
///
/// # Errors
/// `store_unavailable`.
pub async fn visit(engine: &Engine, secret: &str, cookie: Option<&str>) -> Result<Visit, Error> {
    let Some(session) = find(engine, secret).await? else { return Ok(Visit::Gone(None)) };
    let gone = Visit::Gone(Some(session.org().clone()));
    let Some(claim) = &session.record.claim else {
        return Ok(match clock::has_passed(&session.record.expires_at) {
            true => gone,
            false => Visit::Unclaimed(session),
        });
    };
    if clock::has_passed(&claim.until) {
        return Ok(gone);
    }
    match cookie.filter(|cookie| hash(cookie) == claim.browser) {
        Some(cookie) => {
            let cookie = Zeroizing::new(cookie.to_owned());
            Ok(Visit::Own(Session { cookie, ..session }))
        }
        None if session.is_ended() => Ok(gone),
        None => Ok(Visit::Other(session)),
    }
}

/// Claims a session for a browser; returns the cookie that the browser must keep. `None` if another was faster.
///
/// # Errors
/// `store_unavailable`.
pub async fn claim(
    engine: &Engine,
    session: &Session,
    framed: bool,
) -> Result<Option<Zeroizing<String>>, Error> {
    let cookie = random()?;
    let claim = ConnectClaim { browser: hash(&cookie), framed, until: clock::after(CLAIM_TIME) };
    let record = ConnectSession { claim: Some(claim), ..session.record.clone() };
    let writes = Writes::new().replace(&session.parts(), &record, session.revision);
    match engine.resources.commit(writes).await {
        Ok(_) => Ok(Some(cookie)),
        Err(StoreError::Conflict { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
