//! Which fields of a form belong to the OAuth client: one client serves many workspaces, so an org or the platform may
//! save it for all of them.

use portcullis_action::template::{Scope, Template};

use super::Reader;
use crate::definition::{AuthType, ClientAuthDef, FieldScope};
use crate::injection::Injection;
use crate::token_plan::TokenPlan;
use crate::violation::Violation;

/// What of a form belongs to the OAuth client.
#[derive(Debug, Clone, Default)]
pub struct ClientFields {
    /// Whether an org or the platform may save a client for all workspaces: a person consents for each of them, or the
    /// definition says which fields are the client's.
    pub may_be_shared: bool,
    /// How the client's id is made of the fields; absent where the auth type has none.
    pub id_template: Option<Template>,
    /// The field that is the client's id and nothing else.
    pub id: Option<String>,
    /// The field with its secret or with its private key.
    pub secret: Option<String>,
    /// Whether that is a private key (RFC 7523).
    pub secret_is_key: bool,
    /// All of its fields, in the order of the form.
    pub names: Vec<String>,
}

impl ClientFields {
    /// Whether a field is the client's.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
    }
}

impl Reader<'_> {
    /// Finds the client's fields, and refuses a field that is called the client's where it would go anywhere but to
    /// token requests. `placement` is what goes with the requests of actions.
    pub(super) fn client_fields(
        &mut self,
        auth_type: AuthType,
        token: Option<&TokenPlan>,
        placement: &Injection,
    ) -> ClientFields {
        let placed: Vec<&str> = placement.fields().collect();
        for (index, field) in self.fields.iter().enumerate() {
            // Why not of a config field: that is refused where it is read.
            if field.scope != FieldScope::Client || !self.is_of_form(index) {
                continue;
            }
            let message = if token.is_none() {
                "is the client's, and this auth_type makes no token request"
            } else if field.secret && placed.contains(&field.name.as_str()) {
                "is the client's, and goes to token requests alone; here requests of actions would carry it"
            } else {
                continue;
            };
            let at = format!("/auth_schema/fields/{index}/scope");
            self.errors.push(Violation::new(at, "field_scope", format!("{} {message}", field.name)));
        }
        let Some(token) = token else { return ClientFields::default() };
        let (id_template, id) = self.client_id_of(auth_type);
        let secret_is_key = self.auth.client_auth == Some(ClientAuthDef::PrivateKeyJwt);
        let secret = match secret_is_key {
            true => self.auth.key_field.clone(),
            false => self.client_secret_of(auth_type),
        };
        let in_id = |name: &str| {
            id_template.iter().flat_map(Template::variables).any(|variable| variable.name == name)
        };
        let is_own = |name: &str| in_id(name) || secret.as_deref() == Some(name);
        let form = self.fields.iter().take(self.form_fields);
        let own = form.filter(|f| f.scope == FieldScope::Client || is_own(&f.name));
        let names: Vec<String> = own.map(|field| field.name.clone()).collect();
        let is_marked = self.fields.iter().any(|field| field.scope == FieldScope::Client);
        // Why: its list of hosts is that of token requests, so nothing else could open it.
        let leaves = names.iter().any(|name| self.is_secret(name) && placed.contains(&name.as_str()));
        let may_be_shared = (token.consent.is_some() || is_marked) && !names.is_empty() && !leaves;
        ClientFields { may_be_shared, id_template, id, secret, secret_is_key, names }
    }

    /// Whether a field, by its index, belongs to the form: those come before the connection's other values.
    fn is_of_form(&self, index: usize) -> bool {
        index < self.form_fields
    }

    /// The client id's template, and the field that it is.
    fn client_id_of(&self, auth_type: AuthType) -> (Option<Template>, Option<String>) {
        let has_field = self.fields.iter().any(|field| field.name == "client_id");
        if auth_type == AuthType::TokenExchange || (self.auth.client_id.is_none() && !has_field) {
            return (None, None);
        }
        let template = self.template_of(self.auth.client_id.as_deref(), "client_id");
        let field = template.as_ref().and_then(|template| self.field_of(template));
        (template, field)
    }

    /// The field that is the client's secret and nothing else.
    fn client_secret_of(&self, auth_type: AuthType) -> Option<String> {
        if auth_type == AuthType::TokenExchange {
            return None;
        }
        let template = self.template_of(self.auth.client_secret.as_deref(), "client_secret")?;
        self.field_of(&template)
    }

    /// A template of `auth` as it is written, otherwise the field with its name. Whether it is one was checked before.
    fn template_of(&self, written: Option<&str>, field: &str) -> Option<Template> {
        let own = format!("{{{{cred.{field}}}}}");
        Template::parse(written.unwrap_or(&own)).ok()
    }

    /// The field of the form that a template is, unchanged.
    fn field_of(&self, template: &Template) -> Option<String> {
        let variable = template.as_single_variable()?;
        let is_field = matches!(variable.scope, Scope::Cred | Scope::Config) && variable.filters.is_empty();
        let mut form = self.fields.iter().take(self.form_fields);
        form.find(|field| is_field && field.name == variable.name).map(|field| field.name.clone())
    }
}
