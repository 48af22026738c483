//! Where keys, tokens and passwords go: a header, a query pair, a cookie, a member of the body.

use http::HeaderName;
use portcullis_action::template::{Part, Scope, Template};

use super::Reader;
use super::templates::Spot;
use crate::connector::place::{body_place, overlap};
use crate::definition::{AuthPlace, CustomAuthDef};
use crate::injection::{HeaderFill, Injection};
use crate::reserved::is_same;
use crate::violation::{Violation, step};

impl Reader<'_> {
    /// An API key or a token at its configured position.
    pub(super) fn key(&mut self) -> Option<Injection> {
        let place = self.auth.r#in.unwrap_or_default();
        match (place, self.auth.name.clone()) {
            (AuthPlace::Header, name) => {
                let name = name.unwrap_or_else(|| "Authorization".to_owned());
                let prefix = if name.eq_ignore_ascii_case("authorization") { "Bearer " } else { "" };
                self.header(&name, prefix)
            }
            (AuthPlace::Query, Some(name)) => {
                let value = self.value("", Spot::Any)?;
                Some(Injection { query: vec![(name, value)], ..Injection::default() })
            }
            (AuthPlace::Cookie, Some(name)) => {
                if HeaderName::from_bytes(name.as_bytes()).is_err() {
                    return self.refuse("/name", "cookie_name", format!("{name:?} is not a cookie name"));
                }
                let value = self.value("", Spot::Cookie)?;
                Some(Injection { cookies: vec![(name, value)], ..Injection::default() })
            }
            (AuthPlace::Query | AuthPlace::Cookie, None) => {
                self.refuse("/name", "auth_incomplete", "a key in the query or a cookie needs auth.name")
            }
            (AuthPlace::Body, _) => {
                let Some(path) = self.auth.path.clone() else {
                    let message = "a key in the body needs auth.path, such as /key";
                    return self.refuse("/path", "auth_incomplete", message);
                };
                let steps = body_place(&path, "/auth/path", self.errors);
                let value = self.value("", Spot::Any)?;
                Some(Injection { body: vec![(steps, value)], ..Injection::default() })
            }
        }
    }

    /// A key or token in a header.
    pub(super) fn header(&mut self, name: &str, default_prefix: &str) -> Option<Injection> {
        let name = self.header_name(name, "/name")?;
        let value = self.value(default_prefix, Spot::Header)?;
        Some(Injection::header(name, value))
    }

    /// Checks that the credential may use this header.
    pub(super) fn header_name(&mut self, text: &str, member: &str) -> Option<HeaderName> {
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            return self.refuse(member, "header_forbidden", format!("{text:?} is not a header name"));
        };
        if crate::header_rules::check_request_header(name.as_str(), b"", &[]).is_err() {
            return self.refuse(member, "header_forbidden", format!("{text:?} belongs to the host"));
        }
        Some(name)
    }

    /// `auth.prefix`, which is fixed text.
    pub(super) fn prefix(&mut self, default: &str) -> Option<String> {
        let prefix = self.auth.prefix.clone().unwrap_or_else(|| default.to_owned());
        if prefix.contains(['{', '}']) {
            return self.refuse(
                "/prefix",
                "template_invalid",
                "prefix is fixed text; variables go to auth.value",
            );
        }
        Some(prefix)
    }

    /// `prefix` + `auth.value`; by default the token, or the first secret field.
    fn value(&mut self, default_prefix: &str, spot: Spot) -> Option<Template> {
        let has_token = self.auth.token_url.is_some() || !self.auth.steps.is_empty();
        let body = match &self.auth.value {
            Some(text) => text.clone(),
            None if has_token => {
                if !self.captured.iter().any(|name| name == "access_token") {
                    let message = "no step captures access_token, which auth.value is by default";
                    return self.refuse("/steps", "auth_incomplete", message);
                }
                "{{cred.access_token}}".to_owned()
            }
            None => match self.fields.iter().find(|f| f.secret) {
                Some(field) => format!("{{{{cred.{}}}}}", field.name),
                None => {
                    let message = "this auth_type needs a secret field in auth_schema.fields";
                    self.errors.push(Violation::new("/auth_schema/fields", "auth_incomplete", message));
                    return None;
                }
            },
        };
        let prefix = self.prefix(default_prefix)?;
        let value = self.placed(&format!("{prefix}{body}"), "/value", spot)?;
        self.varies(&[&value], "/value")?;
        Some(value)
    }

    /// HTTP Basic.
    pub(super) fn basic(&mut self) -> Option<Injection> {
        let (Some(username), Some(password)) = (&self.auth.username, &self.auth.password) else {
            let message = "basic needs auth.username and auth.password, such as \"{{cred.email}}/token\" and \
                           \"{{cred.token}}\"; an empty text is legal";
            return self.refuse("", "auth_incomplete", message);
        };
        let scopes = [Scope::Cred, Scope::Config];
        let username = self.secret_template(username, "/username", &scopes)?;
        let password = self.secret_template(password, "/password", &scopes)?;
        self.no_colon(&username, "/username")?;
        self.varies(&[&username, &password], "")?;
        let fill = HeaderFill::Basic { username, password, encoded: false };
        Some(Injection { headers: vec![(http::header::AUTHORIZATION, fill)], ..Injection::default() })
    }

    fn no_colon(&mut self, template: &Template, member: &str) -> Option<()> {
        let has = |part: &Part| matches!(part, Part::Literal(text) if text.contains(':'));
        if template.parts.iter().any(has) {
            let message = "has a colon, which parts user name and password (RFC 7617)";
            return self.refuse(member, "template_invalid", message);
        }
        Some(())
    }

    /// `auth.places`: more values beside the key or token, each at its position.
    pub(super) fn places(&mut self, injection: &mut Injection) -> Option<()> {
        for (index, place) in self.auth.places.clone().into_iter().enumerate() {
            let at = format!("/places/{index}");
            let (member, value_at) = (format!("{at}/name"), format!("{at}/value"));
            // Why: what a login captured is called so where it is named beside fields.
            let text = place.value.replace("{{captured.", "{{cred.");
            let spot = match place.r#in {
                AuthPlace::Header => Spot::Header,
                AuthPlace::Cookie => Spot::Cookie,
                AuthPlace::Query | AuthPlace::Body => Spot::Any,
            };
            let value = self.placed(&text, &value_at, spot)?;
            self.varies(&[&value], &value_at)?;
            match place.r#in {
                AuthPlace::Header => {
                    let name = self.header_name(&place.name, &member)?;
                    let signed = injection.header_names();
                    if signed.into_iter().any(|other| is_same(other, name.as_str())) {
                        return self.twice(&member, &place.name);
                    }
                    injection.headers.push((name, HeaderFill::Text(value)));
                }
                AuthPlace::Query if injection.takes_query(&place.name) => {
                    return self.twice(&member, &place.name);
                }
                AuthPlace::Query => injection.query.push((place.name, value)),
                AuthPlace::Cookie => {
                    if HeaderName::from_bytes(place.name.as_bytes()).is_err() {
                        let message = format!("{:?} is not a cookie name", place.name);
                        return self.refuse(&member, "cookie_name", message);
                    }
                    if injection.cookies.iter().any(|(other, _)| *other == place.name) {
                        return self.twice(&member, &place.name);
                    }
                    injection.cookies.push((place.name, value));
                }
                AuthPlace::Body => {
                    let steps = body_place(&place.name, &format!("/auth{member}"), self.errors);
                    if injection.body.iter().any(|(other, _)| overlap(other, &steps)) {
                        return self.twice(&member, &place.name);
                    }
                    injection.body.push((steps, value));
                }
            }
        }
        Some(())
    }

    /// Several values, each at its position.
    pub(super) fn custom(&mut self) -> Option<Injection> {
        let Some(CustomAuthDef { headers, query, body }) = self.auth.custom.clone() else {
            let message = "custom needs auth.custom with headers, query or body";
            return self.refuse("/custom", "auth_incomplete", message);
        };
        let mut injection = Injection::default();
        for (text, value) in &headers {
            let member = format!("/custom/headers/{}", step(text));
            let name = self.header_name(text, &member)?;
            if injection.headers.iter().any(|(other, _)| is_same(other.as_str(), name.as_str())) {
                return self.twice(&member, text);
            }
            let value = self.placed(value, &member, Spot::Header)?;
            injection.headers.push((name, HeaderFill::Text(value)));
        }
        for (name, text) in query {
            let member = format!("/custom/query/{}", step(&name));
            if injection.takes_query(&name) {
                return self.twice(&member, &name);
            }
            let value = self.placed(&text, &member, Spot::Any)?;
            injection.query.push((name, value));
        }
        for (path, text) in &body {
            let member = format!("/custom/body/{}", step(path));
            let steps = body_place(path, &format!("/auth{member}"), self.errors);
            if injection.body.iter().any(|(other, _)| overlap(other, &steps)) {
                return self.twice(&member, path);
            }
            let value = self.placed(text, &member, Spot::Any)?;
            injection.body.push((steps, value));
        }
        if !injection.needs_credential() {
            return self.refuse("/custom", "auth_incomplete", "custom needs headers, query or body");
        }
        self.varies(&injection.templates().collect::<Vec<_>>(), "/custom")?;
        Some(injection)
    }

    fn twice<T>(&mut self, member: &str, name: &str) -> Option<T> {
        self.refuse(
            member,
            "auth_duplicate",
            format!("{name:?} is written twice, perhaps in another spelling"),
        )
    }
}
