//! A page for a person: its frame, its headers and its look. What it says comes from [`super::views`].
//!
//! Everything is escaped by construction. No page runs a script, loads anything from elsewhere, or may be framed by
//! whom the org does not list.

use axum::body::Body;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION, REFERRER_POLICY, SET_COOKIE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use portcullis_engine::Error;
use portcullis_engine::connect::{ConnectSettings, style_hash};
use schemars::SchemaGenerator;

use crate::answer::{Answer, AnswerHeader, Content, LOCATION_HEADER};
use crate::pieces;

const HTML: &str = "text/html";
const REFRESH: HeaderName = HeaderName::from_static("refresh");
const STYLE: &str = include_str!("style.css");

/// Luminance, 0 to 255, from which black text is easier to read on a colour than white.
const LIGHT_FROM: u32 = 150;

/// Whose page it is, and what the org says of its look.
#[derive(Default)]
pub(crate) struct Look {
    pub(crate) settings: ConnectSettings,
    /// Org and workspace, once it is known for which one the page is.
    pub(crate) of: Option<(String, String)>,
    /// The public host of this product.
    pub(crate) host: String,
}

/// A page.
pub(crate) struct HtmlPage {
    status: StatusCode,
    title: String,
    main: Markup,
    look: Look,
    cookies: Vec<String>,
    location: Option<String>,
    refresh: Option<String>,
}

impl HtmlPage {
    /// A page with this title and content.
    pub(crate) fn new(status: StatusCode, look: Look, title: impl Into<String>, main: Markup) -> Self {
        let title = title.into();
        Self { status, title, main, look, cookies: Vec::new(), location: None, refresh: None }
    }

    /// Sends the browser elsewhere, which asks there with GET.
    pub(crate) fn redirect(location: String) -> Self {
        let main = html! { p { a href=(location) { "Go on" } } };
        let page = Self::new(StatusCode::SEE_OTHER, Look::default(), "Go on", main);
        Self { location: Some(location), ..page }
    }

    /// The same with a cookie.
    pub(crate) fn with_cookie(mut self, cookie: String) -> Self {
        self.cookies.push(cookie);
        self
    }

    /// The same, which the browser leaves for another URL after so many seconds.
    pub(crate) fn leaving(mut self, seconds: u32, url: &str) -> Self {
        self.refresh = Some(format!("{seconds}; url={url}"));
        self
    }

    fn document(&self, style: &str) -> String {
        let Look { settings, of, host } = &self.look;
        let document = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex";
                    title { (self.title) }
                    style { (PreEscaped(style)) }
                }
                body {
                    @if let Some((org, workspace)) = of {
                        header class="whose" {
                            "Connecting workspace " strong { (workspace) } " of " strong { (org) }
                            " at " strong { (host) }
                        }
                    }
                    main {
                        @if settings.logo.is_some() || settings.title.is_some() {
                            div class="brand" {
                                @if let Some(logo) = &settings.logo { img src=(logo) alt=""; }
                                @if let Some(title) = &settings.title { span { (title) } }
                            }
                        }
                        h1 { (self.title) }
                        (self.main)
                    }
                }
            }
        };
        document.into_string()
    }

    fn policy(&self, style: &str) -> String {
        let ancestors = match self.look.settings.frame_ancestors.as_slice() {
            [] => "'none'".to_owned(),
            listed => listed.join(" "),
        };
        format!(
            "default-src 'none'; style-src 'sha256-{}'; img-src data:; form-action 'self'; base-uri 'none'; \
             frame-ancestors {ancestors}",
            style_hash(style)
        )
    }
}

/// The style with the org's colour; anything that is not six hexadecimal digits is no colour.
fn style(color: Option<&str>) -> String {
    let color = color.filter(|text| text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let Some(color) = color else { return STYLE.to_owned() };
    let number = u32::from_str_radix(color, 16).unwrap_or_default();
    let (red, green, blue) = (number >> 16, (number >> 8) & 0xff, number & 0xff);
    let luminance = (299 * red + 587 * green + 114 * blue) / 1000;
    let text = if luminance >= LIGHT_FROM { "#111" } else { "#fff" };
    format!("{STYLE}.button{{background:#{color};border-color:#{color};color:{text}}}")
}

/// Why not cut off: a value that no header may have is left out, and the page says the same.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(name, value);
    }
}

impl Answer for HtmlPage {
    const OTHER_STATUSES: &'static [StatusCode] = &[
        StatusCode::SEE_OTHER,
        StatusCode::BAD_REQUEST,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
        StatusCode::CONFLICT,
        StatusCode::GONE,
        StatusCode::PRECONDITION_FAILED,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::UNPROCESSABLE_ENTITY,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    const HEADERS: &'static [AnswerHeader] = &[
        LOCATION_HEADER,
        AnswerHeader { name: "Set-Cookie", description: "Ties what goes on to this browser" },
        AnswerHeader { name: "Refresh", description: "Where a page goes on by itself" },
    ];

    fn content(_: &mut SchemaGenerator) -> Content {
        vec![(HTML, Some(schemars::json_schema!({ "type": "string" })))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        let style = style(self.look.settings.color.as_deref());
        let mut response = Response::new(pieces::body(self.document(&style)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        put(headers, CONTENT_SECURITY_POLICY, &self.policy(&style));
        if let Some(location) = &self.location {
            put(headers, LOCATION, location);
        }
        if let Some(refresh) = &self.refresh {
            put(headers, REFRESH, refresh);
        }
        for cookie in &self.cookies {
            if let Ok(mut value) = HeaderValue::from_str(cookie) {
                value.set_sensitive(true);
                headers.append(SET_COOKIE, value);
            }
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_takes_text_that_can_be_read_and_nothing_else_becomes_style() {
        assert!(style(Some("ffdd00")).ends_with("color:#111}"));
        assert!(style(Some("102a72")).ends_with("color:#fff}"));
        for other in [None, Some(""), Some("red"), Some("fff}*{x"), Some("1234567")] {
            assert_eq!(style(other), STYLE, "{other:?}");
        }
    }
}
