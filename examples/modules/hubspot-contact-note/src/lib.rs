//! Finds a HubSpot contact by its email address or creates it, then attaches a note to it. Three requests in the order
//! search, create, attach: the search is HubSpot's and lags behind, so a conflict while creating is searched again.

use portcullis_guest::{Error, Invocation, Request, Response, Result, actions, find_or_create, info};
use serde::{Deserialize, Serialize};
use serde_json::json;

const OBJECTS: &str = "https://api.hubapi.com/crm/v3/objects";
/// HubSpot's number of the association from a note to a contact.
const NOTE_TO_CONTACT: u32 = 202;

#[derive(Deserialize)]
struct Input {
    email: String,
    firstname: Option<String>,
    note: String,
}

/// Anything of HubSpot's, by its id.
#[derive(Deserialize)]
struct Object {
    id: String,
}

#[derive(Deserialize)]
struct Matches {
    results: Vec<Object>,
}

#[derive(Serialize)]
struct Output {
    contact_id: String,
    contact_created: bool,
    note_id: String,
}

fn note_to_contact(call: &Invocation, input: Input) -> Result<Output> {
    let found = find_or_create(|| find(&input.email), || create(&input))?;
    let contact_created = found.is_new();
    let contact = found.into_inner();
    info!("contact {} is {}", contact.id, if contact_created { "new" } else { "known" });
    let note = attach(&contact, &input.note, call.now_ms)?;
    Ok(Output { contact_id: contact.id, contact_created, note_id: note.id })
}

fn find(email: &str) -> Result<Option<Object>> {
    let body = json!({
        "filterGroups": [{ "filters": [{ "propertyName": "email", "operator": "EQ", "value": email }] }],
        "limit": 1,
    });
    let matches: Matches = post("contacts/search", &body)?.json()?;
    Ok(matches.results.into_iter().next())
}

fn create(input: &Input) -> Result<Object> {
    let mut properties = json!({ "email": input.email });
    if let (Some(name), Some(members)) = (&input.firstname, properties.as_object_mut()) {
        members.insert("firstname".to_owned(), name.as_str().into());
    }
    post("contacts", &json!({ "properties": properties }))?.json()
}

fn attach(contact: &Object, note: &str, now_ms: u64) -> Result<Object> {
    let body = json!({
        "properties": { "hs_note_body": note, "hs_timestamp": now_ms.to_string() },
        "associations": [{
            "to": { "id": contact.id },
            "types": [{ "associationCategory": "HUBSPOT_DEFINED", "associationTypeId": NOTE_TO_CONTACT }],
        }],
    });
    let answer = post("notes", &body).map_err(|error| half_done(error, contact))?;
    answer.json()
}

fn post(path: &str, body: &serde_json::Value) -> Result<Response> {
    Request::post(format!("{OBJECTS}/{path}")).credential("default").json(body)?.send()?.ok()
}

/// The contact was made and the note was not; the error says both.
fn half_done(error: Error, contact: &Object) -> Error {
    let message = format!("contact {} is there, but has no note: {}", contact.id, error.message());
    Error::new("note_failed", message).class("permanent")
}

actions!(Module { "note-to-contact" => note_to_contact });
