//! `/oauth`: a person gives consent at the third party and comes back.

use axum::body::Body;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, REFERRER_POLICY, SET_COOKIE};
use http::{HeaderValue, Response, StatusCode};
use portcullis_core::fault::Code;
use serde_json::json;

use super::context::{Ctx, ok};
use super::workspace_settings::Target;
use crate::connected::Connected;
use crate::problem::Problem;
use crate::tokens::consent::{self, CALLBACK_PATH, Return};

/// The cookie that ties a consent to the browser in which it was started.
const COOKIE_NAME: &str = "portcullis_consent";

/// Starts a consent: answers where the person is to be sent. The cookie that comes with the answer must
/// be in that person's browser, so the call is made from there or its `Set-Cookie` is handed on.
pub(super) async fn start(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let target = Target::find(&ctx).await?;
    if !target.loaded.connector.enabled {
        return Err(Problem::plain(Code::ConnectorDisabled));
    }
    let connected = Connected::load(&ctx.app, target.place, target.loaded).await?;
    let started = consent::start(&ctx.app, &connected).await?;
    let mut response =
        ok(&json!({ "authorize_url": started.authorize_url, "expires_at": started.expires_at }));
    let secure = if ctx.app.public_url.starts_with("https://") { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE_NAME}={}; HttpOnly; SameSite=Lax; Path={CALLBACK_PATH}; Max-Age=600{secure}",
        started.browser.as_str()
    );
    if let Ok(mut value) = HeaderValue::from_str(&cookie) {
        value.set_sensitive(true);
        response.headers_mut().append(SET_COOKIE, value);
    }
    Ok(response)
}

/// Where the third party sends the person back to.
pub(super) async fn callback(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let Some(state) = ctx.query("state") else {
        return Err(Problem::new(Code::ConsentInvalid, "the link has no state"));
    };
    let cookies = ctx.header(COOKIE.as_str()).unwrap_or_default();
    let browser = cookies.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE_NAME).then_some(value)
    });
    let place = consent::finish(&ctx.app, Return { state, code: ctx.query("code"), browser }).await?;
    Ok(page(&format!("{} is connected. You can close this window.", place.connector)))
}

/// A page of one sentence, which loads and links nothing.
fn page(sentence: &str) -> Response<Body> {
    // Ids cannot hold markup; nothing else is put in.
    let text = format!("<!doctype html><meta charset=\"utf-8\"><title>Portcullis</title><p>{sentence}</p>\n");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    response
}
