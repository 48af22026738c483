//! Templates of `auth`: which variables are allowed, and where URLs that the host requests may lead.

use portcullis_action::UrlTemplate;
use portcullis_action::template::{Part, Scope, Template};

use super::Reader;
use crate::connector::place::check_config_variables;
use crate::violation::Violation;

/// What the fixed text of a template may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    /// Printable ASCII.
    Header,
    /// What a cookie's value may contain (RFC 6265 section 4.1.1).
    Cookie,
    /// Anything: it is encoded.
    Any,
}

impl Reader<'_> {
    /// A template in which every variable exists and is allowed.
    pub(super) fn secret_template(&mut self, text: &str, member: &str, scopes: &[Scope]) -> Option<Template> {
        let template = match Template::parse_text(text) {
            Ok(template) => template,
            Err(e) => return self.refuse(member, "template_invalid", e.to_string()),
        };
        let before = self.errors.len();
        for variable in template.variables() {
            let name = &variable.name;
            let message = match variable.scope {
                scope if !scopes.contains(&scope) => {
                    let words: Vec<String> = scopes.iter().map(|s| format!("{}.<name>", s.word())).collect();
                    format!("{variable} is not available here; write {}", words.join(" or "))
                }
                Scope::Config if self.is_secret(name) => {
                    format!("{variable} is a secret; write cred.{name} where cred is available")
                }
                Scope::Cred | Scope::Config if !self.knows(variable.scope, name) => {
                    format!("{variable}: there is no field {name:?}, and no answer before this gives one")
                }
                _ if !variable.filters.is_empty() => {
                    format!("{variable}: filters are not available in auth; a computed field can have them")
                }
                _ => continue,
            };
            let at = format!("/auth{member}");
            self.errors.push(Violation::new(at, "template_unknown_variable", message));
        }
        (self.errors.len() == before).then_some(template)
    }

    /// Whether `cred.<name>` or `config.<name>` can have a value: a field, or a value captured from an earlier
    /// answer.
    fn knows(&self, scope: Scope, name: &str) -> bool {
        self.fields.iter().any(|f| f.name == name) || (scope == Scope::Cred && self.captured.contains(name))
    }

    /// [`Self::secret_template`] over `cred.*` and `config.*` whose fixed text is allowed at its position.
    pub(super) fn placed(&mut self, text: &str, member: &str, spot: Spot) -> Option<Template> {
        let template = self.secret_template(text, member, &[Scope::Cred, Scope::Config])?;
        self.fixed(&template, member, spot)?;
        Some(template)
    }

    /// Refuses fixed text that can never be sent.
    pub(super) fn fixed(&mut self, template: &Template, member: &str, spot: Spot) -> Option<()> {
        let fits = |byte: u8| match spot {
            Spot::Header => (0x20..=0x7e).contains(&byte),
            Spot::Cookie => matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e),
            Spot::Any => true,
        };
        let sound = template.parts.iter().all(|part| match part {
            Part::Literal(text) => text.bytes().all(fits),
            Part::Variable(_) => true,
        });
        if !sound {
            let place = if spot == Spot::Cookie { "cookie" } else { "header" };
            let message = format!("has a character that cannot stand in a {place}");
            return self.refuse(member, "template_invalid", message);
        }
        Some(())
    }

    /// Refuses a credential that is the same for every workspace: the secret would be in the definition.
    pub(super) fn varies(&mut self, templates: &[&Template], member: &str) -> Option<()> {
        if templates.iter().all(|template| template.as_literal().is_some()) {
            let message = "names no field: a credential is a workspace's, never the definition's; write \
                           {{cred.<field>}}";
            return self.refuse(member, "credential_in_definition", message);
        }
        Some(())
    }

    /// A URL that the host requests: over `config.*`, inside `allowed_domains`.
    pub(super) fn url(&mut self, text: &str, member: &str) -> Option<UrlTemplate> {
        let url = self.config_url(text, member)?;
        self.reach.check(&url, &format!("/auth{member}"), self.errors).then_some(url)
    }

    /// A URL over `config.*`.
    pub(super) fn config_url(&mut self, text: &str, member: &str) -> Option<UrlTemplate> {
        let url = match UrlTemplate::parse(text) {
            Ok(url) => url,
            Err(e) => return self.refuse(member, "template_invalid", e.to_string()),
        };
        let before = self.errors.len();
        check_config_variables(url.variables(), self.fields, &format!("/auth{member}"), self.errors);
        (self.errors.len() == before).then_some(url)
    }

    /// A member that may be absent: `Some(None)` where it is absent, `None` after an error.
    pub(super) fn optional<T>(
        &mut self,
        text: Option<&String>,
        read: impl FnOnce(&mut Self, &str) -> Option<T>,
    ) -> Option<Option<T>> {
        match text {
            None => Some(None),
            Some(text) => read(self, text).map(Some),
        }
    }
}
