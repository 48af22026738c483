//! Fields that nobody is asked for, because the org or the platform saved them with a shared OAuth client.

use std::borrow::Cow;
use std::collections::BTreeMap;

use portcullis_core::connector::{Connector, DEFAULT_METHOD};
use portcullis_core::fault::Code;
use portcullis_core::form::Field;
use portcullis_core::id::OrgId;
use portcullis_core::violation::{Violation, step};
use serde_json::{Map, Value};

use super::Subject;
use super::save::GivenConfig;
use crate::engine::Engine;
use crate::error::Error;
use crate::oauth_clients;

/// Names of fields that nobody is asked for, by the id of each method with some.
pub type LeftOut = BTreeMap<String, Vec<String>>;

/// The fields that a workspace of this org is not asked for.
///
/// # Errors
/// `store_unavailable`.
pub(crate) async fn left_out(engine: &Engine, org: &OrgId, connector: &Connector) -> Result<LeftOut, Error> {
    let records = &engine.resources.records;
    let others = connector.methods.iter().map(|method| (method.id.as_str(), &method.connector));
    let mut left_out = LeftOut::new();
    for (method, connector) in std::iter::once((DEFAULT_METHOD, connector)).chain(others) {
        let names = oauth_clients::shared_fields(records, org, connector, method).await?;
        if !names.is_empty() {
            left_out.insert(method.to_owned(), names);
        }
    }
    Ok(left_out)
}

impl Subject {
    /// The fields that nobody is asked for, by method.
    pub(crate) async fn left_out(&self, engine: &Engine) -> Result<LeftOut, Error> {
        left_out(engine, &self.key.org, &self.loaded.connector).await
    }

    /// Names of those of one method; the connector's own if absent.
    pub(super) async fn left_out_under(
        &self,
        engine: &Engine,
        method: Option<&str>,
    ) -> Result<Vec<String>, Error> {
        let (records, connector) = (&engine.resources.records, self.loaded.connector.under(method));
        oauth_clients::shared_fields(records, &self.key.org, connector, oauth_clients::method_id(method))
            .await
    }
}

/// Refuses values of fields that a shared OAuth client has: kept, they would not be used, and nobody would know. Takes
/// those out that are null, which give no value.
///
/// # Errors
/// `validation_failed` with each of them.
pub(super) fn checked_left_out(
    left_out: &[String],
    mut config: GivenConfig,
) -> Result<Map<String, Value>, Error> {
    let given = &mut config.0;
    let mut violations = Vec::new();
    for name in left_out {
        match given.get(name) {
            None => {}
            Some(Value::Null) => drop(given.shift_remove(name)),
            Some(_) => {
                let message = format!(
                    "{name} is a shared OAuth client's, which the org or the platform saved; leave it out"
                );
                let pointer = format!("/config/{}", step(name));
                violations.push(Violation::new(pointer, "field_of_client", message));
            }
        }
    }
    if !violations.is_empty() {
        return Err(Error::violations(Code::ValidationFailed, violations));
    }
    Ok(std::mem::take(given))
}

/// The fields of a form, without those that a shared OAuth client has.
pub(crate) fn asked_fields<'c>(connector: &'c Connector, left_out: &[String]) -> Cow<'c, [Field]> {
    if left_out.is_empty() {
        return Cow::Borrowed(&connector.fields);
    }
    let fields = connector.fields.iter().filter(|field| !left_out.contains(&field.name));
    Cow::Owned(fields.cloned().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_of_a_field_that_is_left_out_is_refused_and_null_gives_none() {
        let left_out = ["client_id".to_owned(), "a/b".to_owned()];
        let given = |given: Value| GivenConfig(given.as_object().cloned().unwrap());
        let checked =
            checked_left_out(&left_out, given(json!({ "client_id": null, "region": "eu" }))).unwrap();
        assert_eq!(Value::Object(checked), json!({ "region": "eu" }));
        let both = given(json!({ "client_id": "", "a/b": 1, "region": "eu" }));
        let refused = checked_left_out(&left_out, both).unwrap_err();
        let at: Vec<&str> = refused.violations.iter().map(|violation| violation.pointer.as_str()).collect();
        assert_eq!(at, ["/config/client_id", "/config/a~1b"]);
    }
}
