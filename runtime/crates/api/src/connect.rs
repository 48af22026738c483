//! `/connect`: the pages with which a person connects a workspace in a browser. A door of its own: it calls the engine as
//! the API does, and everything that it answers is a page, errors too.
//!
//! Pages work without a script, and have none. Forms carry a value that is bound to the browser's cookie. Consent starts
//! by a link, because a page that may send forms only here may not be led elsewhere by one.

use http::StatusCode;
use portcullis_core::fault::Code;
use portcullis_core::id::OrgId;
use portcullis_engine::Error;
use portcullis_engine::clock;
use portcullis_engine::connect::{
    self, ConnectEnd, ConnectForm, ConnectSettings, ConnectStatus, FormMethod, Session, Visit, cookie_name,
};
use portcullis_engine::connection::ConnectionState;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::request::{Context, NoParameters, Parameters};

pub(crate) mod browser;
mod fields;
pub(crate) mod page;
pub(crate) mod views;

use browser::{FormBody, claim_cookie, consent_cookie, cookie, is_framed, is_led_by_us};
use fields::{FIELD, Filled};
use page::{HtmlPage, Look};
use views::{At, Notice, Way};

/// A step that may end with another page.
type Step<T> = Result<T, Box<HtmlPage>>;

/// What a page is asked for.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Wanted {
    /// The connector, where the link is for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    connector: Option<String>,
    /// The way to authenticate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    method: Option<String>,
    /// `1` where the page stands in a frame, for browsers that do not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    frame: Option<String>,
    /// What links of the page carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    csrf: Option<String>,
}

impl Parameters for Wanted {}

/// The public host, for people.
fn host(context: &Context) -> String {
    let url = context.engine().public_url();
    url.split_once("://").map_or(url, |(_, host)| host).to_owned()
}

/// A look for pages of no known session.
pub(crate) fn plain(context: &Context) -> Look {
    Look { host: host(context), ..Look::default() }
}

/// The page of an error.
pub(crate) fn failed(context: &Context, error: &Error, look: Look, on: Option<(&str, &str)>) -> HtmlPage {
    if error.is_ours() {
        tracing::error!(request_id = %context.request_id(), code = %error.code, "a page failed inside");
    }
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let title = match error.code {
        Code::ConnectorNotFound | Code::NotFound => "There is nothing here",
        Code::ConnectorDisabled | Code::ConnectorNotAllowed | Code::ActionNotAllowed => {
            "This is not available"
        }
        _ => "That did not work",
    };
    views::refusal(status, look, title, &error.detail, on)
}

/// The session's own look.
async fn look(context: &Context, session: &Session) -> Step<Look> {
    let settings = connect::of_org(context.engine(), session.org()).await;
    let settings = settings.map_err(|error| failed(context, &error, plain(context), None))?;
    let of = Some((session.org().as_str().to_owned(), session.workspace().as_str().to_owned()));
    Ok(Look { settings, of, host: host(context) })
}

fn base(context: &Context) -> String {
    format!("/connect/{}", context.path("secret"))
}

async fn visit(context: &Context) -> Step<Visit> {
    let secret = context.path("secret");
    let cookie = cookie(context, &cookie_name(secret));
    let found = connect::visit(context.engine(), secret, cookie).await;
    Ok(found.map_err(|error| failed(context, &error, plain(context), None))?)
}

/// The page of a link that is unknown, used or stale: it does not say which.
async fn gone(context: &Context, org: Option<&OrgId>) -> HtmlPage {
    let text =
        "This link is unknown, was used already, or is too old. Ask whoever sent it to you for a new one.";
    // Why with the org's frames where it is known: a frame in which the time ran out should say so.
    let look = match org {
        Some(org) => framed_by(context, org).await,
        None => Ok(plain(context)),
    };
    match look {
        Ok(look) => views::refusal(StatusCode::GONE, look, "This link does not work any more", text, None),
        Err(page) => *page,
    }
}

/// A look without names, which the org's frames may show.
async fn framed_by(context: &Context, org: &OrgId) -> Step<Look> {
    let settings = connect::of_org(context.engine(), org).await;
    let settings = settings.map_err(|error| failed(context, &error, plain(context), None))?;
    let frame_ancestors = settings.frame_ancestors;
    let settings = ConnectSettings { frame_ancestors, ..ConnectSettings::default() };
    Ok(Look { settings, ..plain(context) })
}

/// The session that this browser claimed, ended or not.
async fn own(context: &Context) -> Step<Session> {
    match visit(context).await? {
        Visit::Own(session) => Ok(session),
        Visit::Unclaimed(_) => Err(Box::new(HtmlPage::redirect(base(context)))),
        Visit::Other(session) => Err(Box::new(other(context, &session).await?)),
        Visit::Gone(org) => Err(Box::new(gone(context, org.as_ref()).await)),
    }
}

async fn other(context: &Context, session: &Session) -> Step<HtmlPage> {
    let text =
        "This link was opened in another browser, and works only there. Ask for a new one to go on here.";
    // Why no names: who opens it here is not known.
    let look = framed_by(context, session.org()).await?;
    Ok(views::refusal(StatusCode::FORBIDDEN, look, "This link belongs to another browser", text, None))
}

/// The same, while it goes on.
async fn open(context: &Context) -> Step<Session> {
    let session = own(context).await?;
    if !session.is_ended() {
        return Ok(session);
    }
    let end = format!("{}/end", base(context));
    if session.is_framed() {
        return Err(Box::new(HtmlPage::redirect(end)));
    }
    let (look, text) = (look(context, &session).await?, "This link was used already.");
    let on = Some((end.as_str(), "See what came of it"));
    let title = "This link does not work any more";
    Err(Box::new(views::refusal(StatusCode::GONE, look, title, text, on)))
}

/// Checks what a form or link of this browser carries.
async fn sent_by_page(context: &Context, session: &Session, given: Option<&str>) -> Step<()> {
    if given.is_some_and(|given| session.is_csrf(given)) {
        return Ok(());
    }
    let (look, base) = (look(context, session).await?, base(context));
    let text = "This did not come from the page of the link. Open the page again and try it there.";
    let on = Some((base.as_str(), "Open the page"));
    Err(Box::new(views::refusal(StatusCode::FORBIDDEN, look, "That did not work", text, on)))
}

/// An error in a session, with the way back to its first page.
async fn stopped(context: &Context, session: &Session, error: &Error) -> Step<Box<HtmlPage>> {
    let (look, base) = (look(context, session).await?, base(context));
    let on = session.connector_id().is_none().then_some((base.as_str(), "Choose something else"));
    Ok(Box::new(failed(context, error, look, on)))
}

/// The connector of a request: the session's own, or the one that was chosen.
fn connector<'a>(session: &'a Session, chosen: Option<&'a str>) -> Option<&'a str> {
    session.connector_id().or(chosen)
}

async fn form_of(context: &Context, session: &Session, connector: &str) -> Step<ConnectForm> {
    match connect::form(context.engine(), session, connector).await {
        Ok(form) => Ok(form),
        Err(error) => Err(stopped(context, session, &error).await?),
    }
}

/// The method that was asked for; else what is saved, what is recommended, or the first.
fn pick<'f>(form: &'f ConnectForm, wanted: Option<&str>) -> Option<&'f FormMethod> {
    let of = |is: &dyn Fn(&FormMethod) -> bool| form.methods.iter().find(|one| is(one));
    let named = wanted.and_then(|wanted| of(&|one| one.id == wanted));
    named.or_else(|| of(&|one| one.is_saved)).or_else(|| of(&|one| one.recommended)).or(form.methods.first())
}

pub(crate) async fn show(context: Context, wanted: Wanted, (): ()) -> Result<HtmlPage, Error> {
    Ok(shown(&context, &wanted).await.unwrap_or_else(|page| *page))
}

async fn shown(context: &Context, wanted: &Wanted) -> Step<HtmlPage> {
    let base = base(context);
    if let Visit::Unclaimed(session) = visit(context).await? {
        let framed = is_framed(context) || wanted.frame.as_deref() == Some("1");
        let name = match session.connector_id() {
            Some(id) => Some(form_of(context, &session, id).await?.display_name),
            None => None,
        };
        return Ok(views::invitation(look(context, &session).await?, &base, framed, name.as_deref()));
    }
    let session = open(context).await?;
    let (csrf, look) = (session.csrf(), look(context, &session).await?);
    let at = At { base: &base, csrf: &csrf };
    let Some(connector) = connector(&session, wanted.connector.as_deref()) else {
        return match connect::offers(context.engine(), &session).await {
            Ok(choices) => Ok(views::chooser(look, &at, &choices)),
            Err(error) => Err(stopped(context, &session, &error).await?),
        };
    };
    let form = form_of(context, &session, connector).await?;
    let Some(method) = pick(&form, wanted.method.as_deref()) else { return Ok(gone(context, None).await) };
    if method.consent && (method.is_saved || (method.fields.is_empty() && !method.replaces)) {
        let way = way(context, &session, connector, method).await?;
        return Ok(views::consent(look, &at, &form, method, &way));
    }
    Ok(views::form(look, &at, &form, method, &Filled::default(), None))
}

/// How this page leads to the third party.
async fn way(context: &Context, session: &Session, connector: &str, method: &FormMethod) -> Step<Way> {
    if !session.is_framed() {
        return Ok(Way::Here);
    }
    match connect::window_ticket(context.engine(), session, connector, &method.id).await {
        Ok(ticket) => Ok(Way::Window(ticket)),
        Err(error) => Err(stopped(context, session, &error).await?),
    }
}

pub(crate) async fn claim(context: Context, _: NoParameters, form: FormBody) -> Result<HtmlPage, Error> {
    Ok(claimed(&context, &form).await.unwrap_or_else(|page| *page))
}

async fn claimed(context: &Context, form: &FormBody) -> Step<HtmlPage> {
    let Visit::Unclaimed(session) = visit(context).await? else {
        open(context).await?;
        return Ok(HtmlPage::redirect(base(context)));
    };
    let framed = is_framed(context) || form.get("frame") == Some("1");
    let name = cookie_name(context.path("secret"));
    match connect::claim(context.engine(), &session, framed).await {
        Ok(Some(value)) => {
            let cookie = claim_cookie(context, &name, &value, framed);
            Ok(HtmlPage::redirect(base(context)).with_cookie(cookie))
        }
        Ok(None) => other(context, &session).await,
        Err(error) => Err(stopped(context, &session, &error).await?),
    }
}

pub(crate) async fn save(context: Context, _: NoParameters, form: FormBody) -> Result<HtmlPage, Error> {
    Ok(saved(&context, &form).await.unwrap_or_else(|page| *page))
}

async fn saved(context: &Context, sent: &FormBody) -> Step<HtmlPage> {
    let session = open(context).await?;
    sent_by_page(context, &session, sent.get("csrf")).await?;
    let Some(connector) = connector(&session, sent.get("connector")) else {
        return Ok(HtmlPage::redirect(base(context)));
    };
    let form = form_of(context, &session, connector).await?;
    let wanted = sent.get("method");
    let Some(method) = form.methods.iter().find(|one| Some(one.id.as_str()) == wanted) else {
        return Ok(HtmlPage::redirect(base(context)));
    };
    let given = method.fields.iter().filter_map(|field| {
        let value = sent.get(&format!("{FIELD}{}", field.name)).filter(|value| !value.is_empty())?;
        Some((field.name.clone(), Value::String(value.to_owned())))
    });
    let given: Map<String, Value> = given.collect();
    let (csrf, base) = (session.csrf(), base(context));
    let at = At { base: &base, csrf: &csrf };
    match connect::save(context.engine(), &session, connector, &method.id, given).await {
        Ok(()) if method.consent => Ok(HtmlPage::redirect(at.page(connector, &method.id))),
        Ok(()) => tried(context, &session, sent, &at, connector, &method.id).await,
        Err(error) if !error.violations.is_empty() => {
            let filled = Filled::of(&method.fields, |name| sent.get(name), error.violations);
            Ok(views::form(look(context, &session).await?, &at, &form, method, &filled, None))
        }
        Err(error) => Err(stopped(context, &session, &error).await?),
    }
}

/// Tries what was saved, where it can be tried; the end of the session if it works.
async fn tried(
    context: &Context,
    session: &Session,
    sent: &FormBody,
    at: &At<'_>,
    connector: &str,
    method: &str,
) -> Step<HtmlPage> {
    let notice = match connect::test(&context.api.engine, session, connector).await {
        Ok(None) => return ended(context, session, ConnectStatus::Connected, Some(connector), None).await,
        Ok(Some(verified)) if verified.ok => {
            return ended(context, session, ConnectStatus::Connected, Some(connector), verified.label).await;
        }
        Ok(Some(verified)) => {
            let why = verified.message.or(verified.code).unwrap_or_else(|| "no reason was given".to_owned());
            let refused = verified.class.as_deref() == Some("auth");
            let status = verified.status.map_or_else(String::new, |status| format!(" (status {status})"));
            let text = match refused {
                true => format!("It was saved, but the third party does not accept it: {why}{status}"),
                false => format!("It was saved, but could not be tried: {why}{status}"),
            };
            // Why not of one that was refused: it would be shown as connected and could not be used.
            Notice { text, keep: !refused }
        }
        Err(error) => {
            Notice { text: format!("It was saved, but could not be tried: {}", error.detail), keep: true }
        }
    };
    let form = form_of(context, session, connector).await?;
    let Some(method) = pick(&form, Some(method)) else { return Ok(gone(context, None).await) };
    let filled = Filled::of(&method.fields, |name| sent.get(name), Vec::new());
    Ok(views::form(look(context, session).await?, at, &form, method, &filled, Some(&notice)))
}

/// Ends the session, and leads to the page that says so.
async fn ended(
    context: &Context,
    session: &Session,
    status: ConnectStatus,
    connector: Option<&str>,
    label: Option<String>,
) -> Step<HtmlPage> {
    let connector_id = connector.map(str::to_owned);
    let end = ConnectEnd { status, connector_id, label, message: None, at: clock::now() };
    match connect::end(context.engine(), session, end).await {
        // Why not straight to the return URL: a form's answer may not lead to another site, by the page's own policy.
        Ok(()) => Ok(HtmlPage::redirect(format!("{}/end", base(context)))),
        Err(error) => Err(stopped(context, session, &error).await?),
    }
}

pub(crate) async fn finish(context: Context, _: NoParameters, form: FormBody) -> Result<HtmlPage, Error> {
    Ok(finished(&context, &form).await.unwrap_or_else(|page| *page))
}

async fn finished(context: &Context, sent: &FormBody) -> Step<HtmlPage> {
    let session = open(context).await?;
    sent_by_page(context, &session, sent.get("csrf")).await?;
    let connector = connector(&session, sent.get("connector"));
    if sent.get("action") != Some("keep") {
        return ended(context, &session, ConnectStatus::Cancelled, session.connector_id(), None).await;
    }
    let Some(connector) = connector else { return Ok(HtmlPage::redirect(base(context))) };
    let form = form_of(context, &session, connector).await?;
    let is_good = form.state == ConnectionState::Connected;
    // Why the state: what the third party refused is saved, and is not connected.
    match is_good && form.methods.iter().any(|method| method.is_saved && !method.consent) {
        true => ended(context, &session, ConnectStatus::Connected, Some(connector), None).await,
        false => Ok(HtmlPage::redirect(base(context))),
    }
}

pub(crate) async fn end(context: Context, _: NoParameters, (): ()) -> Result<HtmlPage, Error> {
    Ok(shown_end(&context).await.unwrap_or_else(|page| *page))
}

async fn shown_end(context: &Context) -> Step<HtmlPage> {
    let session = own(context).await?;
    match connect::ending_of(context.engine(), &session).await {
        Ok(Some(ending)) => Ok(views::ending(look(context, &session).await?, &ending, false)),
        Ok(None) => Ok(HtmlPage::redirect(base(context))),
        Err(error) => Err(stopped(context, &session, &error).await?),
    }
}

pub(crate) async fn consent(context: Context, wanted: Wanted, (): ()) -> Result<HtmlPage, Error> {
    Ok(sent_away(&context, &wanted).await.unwrap_or_else(|page| *page))
}

async fn sent_away(context: &Context, wanted: &Wanted) -> Step<HtmlPage> {
    let session = open(context).await?;
    sent_by_page(context, &session, wanted.csrf.as_deref()).await?;
    let chosen = connector(&session, wanted.connector.as_deref());
    let (Some(connector), Some(method)) = (chosen, wanted.method.as_deref()) else {
        return Ok(HtmlPage::redirect(base(context)));
    };
    match connect::start_consent(context.engine(), &session, connector, method).await {
        Ok(started) => {
            let cookie = consent_cookie(context, &started);
            Ok(HtmlPage::redirect(started.authorize_url).with_cookie(cookie))
        }
        Err(error) => Err(stopped(context, &session, &error).await?),
    }
}

pub(crate) async fn window(context: Context, _: NoParameters, (): ()) -> Result<HtmlPage, Error> {
    if !is_led_by_us(&context) {
        // Why: whoever was sent this URL has not seen the page that says for whom the consent is.
        let text = "This window opens from the page of the link alone. Open that page and try it there.";
        return Ok(views::refusal(StatusCode::FORBIDDEN, plain(&context), "That did not work", text, None));
    }
    let (secret, ticket) = (context.path("secret"), context.path("ticket"));
    Ok(match connect::enter_window(context.engine(), secret, ticket).await {
        Ok(started) => {
            let cookie = consent_cookie(&context, &started);
            HtmlPage::redirect(started.authorize_url).with_cookie(cookie)
        }
        Err(error) if error.code == Code::NotFound => gone(&context, None).await,
        Err(error) => failed(&context, &error, plain(&context), None),
    })
}
