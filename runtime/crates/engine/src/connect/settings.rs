//! What an org says of its connect page: where it may lead back to, who may frame it, and how it looks.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::fault::Code;
use portcullis_core::id::OrgId;
use portcullis_core::limits::Limits;
use portcullis_core::target::Target;
use portcullis_core::violation::{Violation, Violations};
use portcullis_store::{ConnectSettings, OrgRecord, Writes};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::caller::{Caller, PLATFORM_ORG};
use crate::clock;
use crate::engine::Engine;
use crate::error::Error;

/// Characters of a heading: it stands in one or two lines.
const TITLE_CHARS_MAX: usize = 80;
/// Kinds of pictures; a browser runs no script of one that is shown as a picture.
const PICTURES: &[&str] = &["image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"];
/// Members that the product adds to a return URL.
const ADDED: &[&str] = &["status", "connector_id", "connection"];

/// The settings of an org's connect page to set: what is left out is as if it had never been set.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SetConnectSettings")]
pub struct SettingsWish {
    /// Where a session may lead back to: https URLs, by origin and whole segments of the path.
    #[serde(default)]
    pub return_urls: Vec<String>,
    /// Origins of the pages that may show the page in a frame, such as `https://app.example.com`.
    #[serde(default)]
    pub frame_ancestors: Vec<String>,
    /// Heading of the page.
    #[serde(default)]
    pub title: Option<String>,
    /// Picture beside the heading: a data URL of a PNG, JPEG, GIF, WebP or SVG in base64.
    #[serde(default)]
    pub logo: Option<String>,
    /// Colour of buttons and links: six hexadecimal digits.
    #[serde(default)]
    pub color: Option<String>,
}

/// The settings of an org; those of one that never set any.
///
/// # Errors
/// `store_unavailable`.
pub async fn of_org(engine: &Engine, org: &OrgId) -> Result<ConnectSettings, Error> {
    let found = engine.resources.records.get_shared::<ConnectSettings>(&[org.as_str()]).await?;
    Ok(found.map(|(settings, _)| (*settings).clone()).unwrap_or_default())
}

/// Reads the settings of an org.
///
/// # Errors
/// Those of [`Caller::authorise`], `store_unavailable`.
pub async fn show_settings(engine: &Engine, caller: &Caller, org: &OrgId) -> Result<ConnectSettings, Error> {
    caller.authorise(PLATFORM_ORG, Some(org.as_str()), None)?;
    of_org(engine, org).await
}

/// Sets the settings of an org, all of them.
///
/// # Errors
/// Those of [`Caller::authorise`], `validation_failed` with every breach, `store_unavailable`.
pub async fn replace_settings(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    wish: SettingsWish,
) -> Result<ConnectSettings, Error> {
    caller.authorise(PLATFORM_ORG, Some(org.as_str()), None)?;
    let violations = violations(&wish, engine.limits());
    if !violations.is_empty() {
        return Err(Error::violations(Code::ValidationFailed, violations));
    }
    let SettingsWish { return_urls, frame_ancestors, title, logo, color } = wish;
    let origins = frame_ancestors.iter().filter_map(|text| origin(text, engine.limits().url_bytes).ok());
    let settings = ConnectSettings {
        return_urls,
        frame_ancestors: origins.collect(),
        title: title.filter(|title| !title.trim().is_empty()),
        logo,
        color: color.map(|color| color.to_ascii_lowercase()),
        updated_at: Some(clock::now()),
    };
    let parts = [org.as_str()];
    let writes = Writes::new().require_present::<OrgRecord>(&parts).put(&parts, &settings);
    engine.resources.commit(writes).await?;
    Ok(settings)
}

fn violations(wish: &SettingsWish, limits: &Limits) -> Vec<Violation> {
    let mut violations = Violations::default();
    for (at, list) in [("/return_urls", &wish.return_urls), ("/frame_ancestors", &wish.frame_ancestors)] {
        let (count, most) = (list.len() as u64, limits.connect_list);
        if count > most {
            let message = format!("has {count} entries, the limit is {most} (limits.connect_list)");
            violations.push(Violation::new(at, "too_many", message));
        }
    }
    // Why alone: the entries of a list that is too long are not looked at.
    if !violations.is_empty() {
        return violations.into_vec();
    }
    let mut check = |at: String, read: Result<(), String>| {
        if let Err(message) = read {
            violations.push(Violation::new(at, Code::ReturnUrlNotAllowed.as_str(), message));
        }
    };
    for (number, text) in wish.return_urls.iter().enumerate() {
        check(format!("/return_urls/{number}"), entry(text, limits.url_bytes).map(drop));
    }
    for (number, text) in wish.frame_ancestors.iter().enumerate() {
        check(format!("/frame_ancestors/{number}"), origin(text, limits.url_bytes).map(drop));
    }
    if let Some(title) = &wish.title
        && (title.chars().count() > TITLE_CHARS_MAX || title.chars().any(char::is_control))
    {
        let message = format!("must be one line of at most {TITLE_CHARS_MAX} characters");
        violations.push(Violation::new("/title", "too_long", message));
    }
    if let Some(logo) = &wish.logo {
        let most = limits.connect_logo_bytes;
        if logo.len() as u64 > most {
            let message =
                format!("has {} bytes, the limit is {most} (limits.connect_logo_bytes)", logo.len());
            violations.push(Violation::new("/logo", "too_long", message));
        } else if !is_picture(logo) {
            let message = format!("must be a data URL in base64 of {}", PICTURES.join(", "));
            violations.push(Violation::new("/logo", "wrong_form", message));
        }
    }
    let is_color = |text: &String| text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if wish.color.as_ref().is_some_and(|color| !is_color(color)) {
        violations.push(Violation::new("/color", "wrong_form", "must be six hexadecimal digits"));
    }
    violations.into_vec()
}

fn is_picture(text: &str) -> bool {
    let Some((media, data)) = text.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) else {
        return false;
    };
    PICTURES.contains(&media) && STANDARD.decode(data).is_ok_and(|bytes| !bytes.is_empty())
}

fn parsed(text: &str, bytes_max: u64) -> Result<Target, String> {
    if text.contains('#') {
        return Err("must have no fragment".to_owned());
    }
    Target::parse(text.as_bytes(), bytes_max).map_err(|code| format!("is no https URL: {}", code.title()))
}

/// An entry of the list of return URLs.
fn entry(text: &str, bytes_max: u64) -> Result<Target, String> {
    let target = parsed(text, bytes_max)?;
    match target.query() {
        None => Ok(target),
        Some(_) => Err("must have no query: it is matched by origin and path".to_owned()),
    }
}

/// An origin in the form in which browsers compare it.
fn origin(text: &str, bytes_max: u64) -> Result<String, String> {
    let target = entry(text, bytes_max)?;
    match target.path() {
        "/" | "" => Ok(target.origin().to_owned()),
        _ => Err("must be an origin, without a path".to_owned()),
    }
}

/// Checks that a session of an org may lead back to this URL.
///
/// # Errors
/// `return_url_not_allowed`, `store_unavailable`.
pub(super) async fn check_return_url(engine: &Engine, org: &OrgId, url: &str) -> Result<(), Error> {
    let settings = of_org(engine, org).await?;
    match permits(&settings, url, engine.limits().url_bytes) {
        Ok(()) => Ok(()),
        Err(why) => {
            let detail = format!("return_url {why}");
            Err(Error::new(Code::ReturnUrlNotAllowed, detail).at("/return_url"))
        }
    }
}

/// Why a session may not lead back to this URL.
pub(super) fn permits(settings: &ConnectSettings, url: &str, bytes_max: u64) -> Result<(), String> {
    let target = parsed(url, bytes_max)?;
    let query = target.query().unwrap_or_default();
    let mut members = url::form_urlencoded::parse(query.as_bytes());
    if let Some((name, _)) = members.find(|(name, _)| ADDED.contains(&&**name)) {
        return Err(format!("has the query parameter {name:?}, which the product adds"));
    }
    let listed = settings.return_urls.iter().filter_map(|text| entry(text, bytes_max).ok());
    match listed.into_iter().any(|entry| covers(&entry, &target)) {
        true => Ok(()),
        false => Err(format!(
            "leads to {}, which is not below an entry of return_urls in the org's settings/connect",
            target.origin()
        )),
    }
}

/// Whether an entry covers a URL: the same origin, and the path is the entry's or below it.
fn covers(entry: &Target, url: &Target) -> bool {
    let base = entry.path().trim_end_matches('/');
    let below = url.path().strip_prefix(base);
    entry.origin() == url.origin() && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The hash of an inline style for a Content-Security-Policy: SHA-256 in base64.
#[must_use]
pub fn style_hash(style: &str) -> String {
    STANDARD.encode(digest(&SHA256, style.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_url_is_matched_by_origin_and_whole_segments() {
        let settings = ConnectSettings {
            return_urls: vec![
                "https://app.example.com/settings".to_owned(),
                "https://b.example.com".to_owned(),
            ],
            ..ConnectSettings::default()
        };
        for good in [
            "https://app.example.com/settings",
            "https://app.example.com/settings/",
            "https://app.example.com/settings/connections?tab=2",
            "https://APP.example.com:443/settings",
            "https://b.example.com",
            "https://b.example.com/any/where",
        ] {
            assert_eq!(permits(&settings, good, 8192), Ok(()), "{good}");
        }
        for bad in [
            "https://app.example.com/",
            "https://app.example.com/settings2",
            "https://app.example.com/settings%2Fx",
            "https://app.example.com/settings/../admin",
            "https://app.example.com/settings/%2e%2e/admin",
            "https://app.example.com/Settings",
            "https://app.example.com:8443/settings",
            "https://app.example.com.evil.example/settings",
            "https://evil.example/https://app.example.com/settings",
            "https://app.example.com@evil.example/settings",
            "https://app.example.com\\@evil.example/settings",
            "http://app.example.com/settings",
            "//app.example.com/settings",
            "javascript:alert(1)",
            "https://app.example.com/settings#x",
            "https://app.example.com/settings?status=connected",
            "",
        ] {
            assert!(permits(&settings, bad, 8192).is_err(), "{bad}");
        }
        assert!(permits(&ConnectSettings::default(), "https://b.example.com", 8192).is_err());
    }

    #[test]
    fn a_logo_is_a_picture_in_base64_and_a_frame_parent_an_origin() {
        for good in ["data:image/png;base64,iVBORw0KGgo=", "data:image/svg+xml;base64,PHN2Zy8+"] {
            assert!(is_picture(good), "{good}");
        }
        for bad in [
            "https://a.example/x.png",
            "data:text/html;base64,PGI+",
            "data:image/png,abc",
            "data:image/png;base64,",
            "data:image/png;base64,a\"b",
        ] {
            assert!(!is_picture(bad), "{bad}");
        }
        assert_eq!(origin("https://App.example.com", 8192).unwrap(), "https://app.example.com");
        assert_eq!(origin("https://app.example.com:8443/", 8192).unwrap(), "https://app.example.com:8443");
        for bad in ["https://*.example.com", "https://a.example.com/x", "http://a.example.com", "'self'", "*"]
        {
            assert!(origin(bad, 8192).is_err(), "{bad}");
        }
    }
}
