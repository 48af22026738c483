//! `/oauth`: a person gives consent at the third party and is redirected back.

use axum::body::Body;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, REFERRER_POLICY, SET_COOKIE};
use http::{HeaderValue, Response, StatusCode};
use portcullis_core::fault::Code;
use portcullis_engine::Error;
use portcullis_engine::oauth::consent::{self, CALLBACK_PATH, Return, Started};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, AnswerHeader, Content, JSON, json};
use crate::request::{Context, NoParameters, Parameters, RawRequest, read_typed};

/// The cookie that binds a consent to the browser in which it was started.
const COOKIE_NAME: &str = "portcullis_consent";

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
    secure: bool,
}

impl Answer for StartedConsent {
    const HEADERS: &'static [AnswerHeader] =
        &[AnswerHeader { name: "Set-Cookie", description: "Ties the consent to the browser that starts it" }];

    fn content(generator: &mut SchemaGenerator) -> Content {
        vec![(JSON, Some(generator.subschema_for::<ConsentStart>()))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        let Started { authorize_url, expires_at, browser } = self.started;
        let mut response = json(StatusCode::OK, &ConsentStart { authorize_url, expires_at })?;
        let secure = if self.secure { "; Secure" } else { "" };
        let cookie = format!(
            "{COOKIE_NAME}={}; HttpOnly; SameSite=Lax; Path={CALLBACK_PATH}; Max-Age=600{secure}",
            browser.as_str()
        );
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

/// A page of one sentence, which loads and links nothing.
pub(crate) struct Page(String);

impl Answer for Page {
    fn content(_: &mut SchemaGenerator) -> Content {
        vec![("text/html", Some(schemars::json_schema!({ "type": "string" })))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        // Ids cannot contain markup; nothing else is inserted.
        let sentence = self.0;
        let text =
            format!("<!doctype html><meta charset=\"utf-8\"><title>Portcullis</title><p>{sentence}</p>\n");
        let mut response = Response::new(Body::from(text));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        Ok(response)
    }
}

pub(crate) async fn start(context: Context, _: NoParameters, (): ()) -> Result<StartedConsent, Error> {
    let tenant = context.tenant().await?;
    let started = consent::start(context.engine(), context.caller()?, &tenant, context.path("id")).await?;
    Ok(StartedConsent { started, secure: context.engine().public_url().starts_with("https://") })
}

pub(crate) async fn callback(context: Context, back: CallbackParameters, (): ()) -> Result<Page, Error> {
    let no_state = || Error::new(Code::ConsentInvalid, "the link has no state");
    let state = back.state.ok_or_else(no_state)?;
    let cookies = context.header(COOKIE.as_str()).unwrap_or_default();
    let browser = cookies.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE_NAME).then_some(value)
    });
    let (code, iss) = (back.code.as_deref(), back.iss.as_deref());
    let back = Return { state: &state, code, iss, pairs: &back.pairs, browser };
    let connection = consent::finish(context.engine(), back).await?;
    Ok(Page(format!("{} is connected. You can close this window.", connection.connector)))
}
