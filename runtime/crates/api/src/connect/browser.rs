//! What a browser sends: its cookies, whether it shows a page in a frame, and forms.

use http::header::{ACCEPT, CONTENT_TYPE, COOKIE};
use portcullis_core::fault::Code;
use portcullis_engine::Error;
use portcullis_engine::connect::CLAIM_SECONDS;
use portcullis_engine::oauth::consent::{CALLBACK_PATH, Started};
use schemars::{Schema, SchemaGenerator};

use crate::request::{Context, RawRequest, RequestBody};

/// Media type of forms.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// A cookie of a request.
pub(crate) fn cookie<'c>(context: &'c Context, name: &str) -> Option<&'c str> {
    let cookies = context.header(COOKIE.as_str()).unwrap_or_default();
    cookies.split(';').find_map(|pair| {
        let (own, value) = pair.trim().split_once('=')?;
        (own == name).then_some(value)
    })
}

/// Whether whoever asks is a person's browser: it shows pages.
pub(crate) fn takes_html(context: &Context) -> bool {
    context.header(ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/html"))
}

/// Whether the browser loads this page into a frame, where it says so (Fetch Metadata).
pub(super) fn is_framed(context: &Context) -> bool {
    matches!(context.header("sec-fetch-dest"), Some("iframe" | "frame" | "embed" | "object"))
}

/// Whether a page of ours leads here, where the browser says so (Fetch Metadata). A link in a mail or on another site does
/// not.
pub(super) fn is_led_by_us(context: &Context) -> bool {
    context.header("sec-fetch-site").is_none_or(|site| site == "same-origin")
}

fn is_secure(context: &Context) -> bool {
    context.engine().public_url().starts_with("https://")
}

/// `Set-Cookie` of a claim. In a frame of another site a browser keeps only a partitioned cookie, which must be secure.
pub(super) fn claim_cookie(context: &Context, name: &str, value: &str, framed: bool) -> String {
    let attributes = match (is_secure(context), framed) {
        (true, true) => "SameSite=None; Secure; Partitioned",
        (true, false) => "SameSite=Lax; Secure",
        (false, _) => "SameSite=Lax",
    };
    format!("{name}={value}; HttpOnly; Path=/connect; Max-Age={CLAIM_SECONDS}; {attributes}")
}

/// `Set-Cookie` of a consent.
pub(crate) fn consent_cookie(context: &Context, started: &Started) -> String {
    let secure = if is_secure(context) { "; Secure" } else { "" };
    format!(
        "{}={}; HttpOnly; SameSite=Lax; Path={CALLBACK_PATH}; Max-Age=600{secure}",
        started.cookie,
        started.browser.as_str()
    )
}

/// A form that a person sent.
pub(crate) struct FormBody(Vec<(String, String)>);

impl FormBody {
    /// The first value of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

impl RequestBody for FormBody {
    const CODES: &'static [Code] = &[Code::UnsupportedMediaType];
    const MEDIA: &'static str = FORM;

    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        Some(schemars::json_schema!({
            "type": "object",
            "additionalProperties": { "type": "string" },
            "description": "What the page's form has",
        }))
    }

    fn read(context: &Context, request: &RawRequest) -> Result<Self, Error> {
        let media = context.header(CONTENT_TYPE.as_str()).unwrap_or(FORM);
        if !media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(FORM) {
            return Err(Error::new(Code::UnsupportedMediaType, format!("send {FORM}, not {media:?}")));
        }
        Ok(Self(url::form_urlencoded::parse(request.body()).into_owned().collect()))
    }
}
