//! One operation: from its description to an action of the draft.

use std::collections::HashMap;

use portcullis_action::UrlTemplate;
use portcullis_action::template::{TEMPLATE_BYTES_MAX, TEMPLATE_VARIABLES_MAX};
use portcullis_core::definition::FieldFormat;
use portcullis_core::format::breach;
use serde_json::{Map, Value, json};

use crate::bases::Bases;
use crate::body;
use crate::context::Context;
use crate::inputs::Inputs;
use crate::limits::{DESCRIPTION_CHARS_MAX, DOCS_URL_CHARS_MAX, NAME_CHARS_MAX};
use crate::names::{Unique, action_id, one_line, paragraph, shown};
use crate::parameters::{self, Carried};
use crate::response;
use crate::security::Credentials;
use crate::select::Operation;
use crate::url::{Piece, path_problem, pieces, push_encoded};

/// Why an operation is left out: code and sentence.
pub(crate) type LeftOut = (&'static str, String);

/// What an action is made from.
pub(crate) struct Maker<'m> {
    pub(crate) bases: &'m mut Bases,
    pub(crate) credentials: &'m Credentials,
    pub(crate) ids: &'m mut Unique,
    pub(crate) inputs_max: usize,
}

impl Maker<'_> {
    /// The action of an operation.
    pub(crate) fn action<'a>(
        &mut self,
        context: &mut Context<'a>,
        operation: &Operation<'a>,
    ) -> Result<Value, LeftOut> {
        if operation.method == "trace" {
            return Err(("method_not_supported", "TRACE is no method of an action".to_owned()));
        }
        if let Some(why) = path_problem(operation.path) {
            return Err(("path_not_usable", format!("path {:?} {why}", shown(operation.path))));
        }
        let parts = pieces(operation.path)
            .map_err(|why| ("path_not_usable", format!("path {:?} {why}", shown(operation.path))))?;
        let mut inputs = Inputs::default();
        let list = parameters::effective(context, operation)?;
        let Carried { texts, mut headers } =
            parameters::carry(context, operation, &list, self.credentials, &mut inputs)?;
        let body = body::carry(context, operation, &list, &mut inputs)?;
        let Some(inputs) = inputs.finish(context, self.inputs_max, &operation.at) else {
            return Err(("inputs_over_limit", format!("it requires more than {} inputs", self.inputs_max)));
        };
        let (own, at) = match operation.object.get("servers") {
            Some(own) => (Some(own), operation.at.as_str()),
            None => (operation.item.get("servers"), operation.item_at.as_str()),
        };
        let at = format!("{at}/servers");
        let base = self.bases.of(context, own, &at).map_err(|why| ("server_not_usable", why))?;
        let url = url(&base, &parts, &texts)?;
        self.credentials.compare(context, operation);
        report_unsaid(context, operation);
        let mut action = Map::new();
        action.insert("action_id".to_owned(), json!(self.id(context, operation)));
        texts_of(context, operation, &mut action);
        action.insert("http_method".to_owned(), json!(operation.method.to_ascii_uppercase()));
        action.insert("url_template".to_owned(), json!(url));
        let response = response::carry(&*context, operation, &mut headers);
        if !headers.is_empty() {
            action.insert("headers".to_owned(), Value::Object(headers));
        }
        action.insert("body_schema".to_owned(), Value::Array(inputs));
        for (name, value) in [("body", body), ("response", response)] {
            if let Some(value) = value {
                action.insert(name.to_owned(), value);
            }
        }
        Ok(Value::Object(action))
    }

    fn id(&mut self, context: &mut Context<'_>, operation: &Operation<'_>) -> String {
        let given = operation.id().map(action_id).filter(|id| !id.is_empty());
        let slug = given.unwrap_or_else(|| action_id(&format!("{} {}", operation.method, operation.path)));
        let id = self.ids.take(&slug, 63);
        match operation.id() {
            Some(written) if written == id => {}
            // Why counted: a `/` in every id of a description is one fact, not a thousand.
            Some(written) if written.chars().count() == id.chars().count() => {
                let what = "characters of an operationId became `-`";
                context.report.tally(&operation.at, "action_id_changed", what);
            }
            Some(written) => {
                let message = format!("operationId {:?} became {id:?}", shown(written));
                context.report.add(&operation.at, "action_id_renamed", message);
            }
            None => {
                let what = "an operation without operationId is named by method and path";
                context.report.tally(&operation.at, "action_id_made", what);
            }
        }
        id
    }
}

fn url(base: &str, parts: &[Piece<'_>], texts: &HashMap<String, String>) -> Result<String, LeftOut> {
    let mut url = base.to_owned();
    for part in parts {
        match part {
            Piece::Literal(text) => push_encoded(text, &mut url),
            Piece::Variable(name) => match texts.get(*name) {
                Some(text) => url.push_str(text),
                None => return Err(("path_not_usable", format!("{:?} is no input's name", shown(name)))),
            },
        }
    }
    match UrlTemplate::parse(&url) {
        Ok(template) if template.variables().count() <= TEMPLATE_VARIABLES_MAX => Ok(url),
        Ok(_) => Err(("path_not_usable", format!("more than {TEMPLATE_VARIABLES_MAX} variables"))),
        Err(e) if url.len() > TEMPLATE_BYTES_MAX => Err(("path_not_usable", e.to_string())),
        Err(e) => Err(("path_not_usable", format!("{:?}: {e}", shown(&url)))),
    }
}

/// Name, description, documentation and deprecation.
fn texts_of(context: &mut Context<'_>, operation: &Operation<'_>, action: &mut Map<String, Value>) {
    let text = |name: &str| operation.object.get(name).and_then(Value::as_str).unwrap_or_default();
    let (name, name_cut) = one_line(text("summary"), NAME_CHARS_MAX);
    let (description, description_cut) = paragraph(text("description"), DESCRIPTION_CHARS_MAX);
    if name_cut || description_cut {
        context.report.tally(&operation.at, "text_cut", "a text is longer than the format allows");
    }
    for (key, text) in [("name", name), ("description", description)] {
        if !text.is_empty() {
            action.insert(key.to_owned(), json!(text));
        }
    }
    if let Some(url) = docs_url(context, operation.object, &operation.at) {
        action.insert("docs_url".to_owned(), json!(url));
    }
    if operation.object.get("deprecated").and_then(Value::as_bool) == Some(true) {
        let reason = "The API's description marks it as deprecated.";
        action.insert("deprecated".to_owned(), json!({ "reason": reason }));
    }
}

/// `externalDocs.url` of an object; one that a definition may not link to is reported.
pub(crate) fn docs_url<'d>(
    context: &mut Context<'_>,
    object: &'d Map<String, Value>,
    at: &str,
) -> Option<&'d str> {
    let url = object.get("externalDocs")?.get("url")?.as_str()?.trim();
    let sound = !url.chars().any(|c| c.is_control() || c.is_whitespace());
    let fits = sound && url.chars().nth(DOCS_URL_CHARS_MAX).is_none();
    if fits && breach(FieldFormat::Url, url).is_none() {
        return Some(url);
    }
    let message = format!("link {:?} is left out: a definition links to https alone", shown(url));
    context.report.add(&format!("{at}/externalDocs"), "link_not_carried", message);
    None
}

/// Reports what an action cannot express.
fn report_unsaid<'a>(context: &mut Context<'a>, operation: &Operation<'a>) {
    let filled = |value: &Value| value.as_object().is_some_and(|map| !map.is_empty());
    if operation.object.get("callbacks").is_some_and(filled) {
        let at = format!("{}/callbacks", operation.at);
        context.report.add(&at, "callbacks", "calls in the other direction are not carried");
    }
    let responses = operation.object.get("responses").and_then(Value::as_object);
    let links = responses.into_iter().flatten().any(|(_, response)| {
        let response = crate::refs::resolve(context.root, response).ok();
        response.and_then(|r| r.get("links")).is_some_and(filled)
    });
    if links {
        let at = format!("{}/responses", operation.at);
        context.report.add(&at, "links", "links from an answer to other operations are not carried");
    }
}
