//! `/oauth`: a person gives consent at the third party and is redirected back.

use axum::body::Body;
use http::header::SET_COOKIE;
use http::{HeaderValue, Response, StatusCode};
use portcullis_core::fault::Code;
use portcullis_engine::Error;
use portcullis_engine::connect::Ending;
use portcullis_engine::oauth::consent::{self, Finished, Return, Started, cookie_name};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, AnswerHeader, Content, JSON, json};
use crate::connect::browser::{consent_cookie, cookie, takes_html};
use crate::connect::page::{HtmlPage, Look};
use crate::connect::{failed, plain, views};
use crate::request::{Context, NoParameters, Parameters, RawRequest, read_typed};

/// Where the person is to be sent.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ConsentStart {
    /// The authorization page of the third party.
    authorize_url: String,
    /// When the consent expires, RFC 3339.
    expires_at: String,
}

/// A consent that was started, with the cookie for the person's browser. The request is made from that browser, or its
/// `Set-Cookie` is passed on to it.
pub(crate) struct StartedConsent {
    started: Started,
    /// The value of `Set-Cookie`.
    cookie: String,
}

impl StartedConsent {
    /// A consent that was started at the request's server.
    pub(crate) fn new(started: Started, context: &Context) -> Self {
        let cookie = consent_cookie(context, &started);
        Self { started, cookie }
    }
}

impl Answer for StartedConsent {
    const HEADERS: &'static [AnswerHeader] =
        &[AnswerHeader { name: "Set-Cookie", description: "Ties the consent to the browser that starts it" }];

    fn content(generator: &mut SchemaGenerator) -> Content {
        vec![(JSON, Some(generator.subschema_for::<ConsentStart>()))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        let Self { started: Started { authorize_url, expires_at, .. }, cookie } = self;
        let mut response = json(StatusCode::OK, &ConsentStart { authorize_url, expires_at })?;
        if let Ok(mut value) = HeaderValue::from_str(&cookie) {
            value.set_sensitive(true);
            response.headers_mut().append(SET_COOKIE, value);
        }
        Ok(response)
    }
}

/// What the third party sends back. Further parameters are ignored, unless the definition takes a value from one.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct CallbackParameters {
    /// The state that the consent was started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    state: Option<String>,
    /// The authorization code, unless the person refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    code: Option<String>,
    /// Why there is no code (RFC 6749 section 4.1.2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    error: Option<String>,
    /// The authorization server's issuer identifier (RFC 9207), if it sends one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    iss: Option<String>,
    /// Every pair of the query.
    #[serde(skip)]
    pairs: Vec<(String, String)>,
}

impl Parameters for CallbackParameters {
    fn read(context: &Context, request: &RawRequest) -> Result<Self, Error> {
        let read: Self = read_typed(context, request)?;
        let query = request.query();
        let pairs = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Ok(Self { pairs, ..read })
    }
}

pub(crate) async fn start(context: Context, _: NoParameters, (): ()) -> Result<StartedConsent, Error> {
    let tenant = context.tenant().await?;
    let started = consent::start(context.engine(), context.caller()?, &tenant, context.path("id")).await?;
    Ok(StartedConsent::new(started, &context))
}

pub(crate) async fn callback(context: Context, back: CallbackParameters, (): ()) -> Result<HtmlPage, Error> {
    let finished = match &back.state {
        None => Err(Error::new(Code::ConsentInvalid, "the link has no state")),
        Some(state) => {
            let browser = cookie(&context, &cookie_name(state));
            let (code, error, iss) = (back.code.as_deref(), back.error.as_deref(), back.iss.as_deref());
            let back = Return { state, code, error, iss, pairs: &back.pairs, browser };
            Ok(consent::finish(&context.api.engine, back).await)
        }
    };
    let Finished { outcome, ended } =
        finished.unwrap_or_else(|error| Finished { outcome: Err(error), ended: None });
    match (outcome, ended) {
        (_, Some(ending)) => Ok(ended_page(&context, &ending)),
        (Ok(connector), None) => Ok(views::connected(plain(&context), &connector)),
        // Why a problem for whoever is no browser: a program cannot read a page.
        (Err(error), None) if !takes_html(&context) => Err(error),
        (Err(error), None) => Ok(failed(&context, &error, plain(&context), None)),
    }
}

/// The end of the connect session whose consent this was. In a frame the session's own page goes on.
fn ended_page(context: &Context, ending: &Ending) -> HtmlPage {
    let of = Some((ending.org.as_str().to_owned(), ending.workspace.clone()));
    let look = Look { settings: ending.settings.clone(), of, ..plain(context) };
    views::ending(look, ending, ending.framed)
}
