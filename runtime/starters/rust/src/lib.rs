//! {{name}}: finds a contact by its email address, or creates it.

use portcullis_guest::{Found, Invocation, Request, Result, actions, find_or_create, info};
use serde::{Deserialize, Serialize};

const CONTACTS: &str = "https://api.example.com/v1/contacts";

#[derive(Deserialize, Serialize)]
struct Input {
    email: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Contact {
    id: String,
}

#[derive(Deserialize)]
struct Matches {
    items: Vec<Contact>,
}

#[derive(Serialize)]
struct Output {
    id: String,
    created: bool,
}

fn find(input: &Input) -> Result<Option<Contact>> {
    let answer = Request::get(CONTACTS).query("email", &input.email).credential("default").send()?;
    Ok(answer.ok()?.json::<Matches>()?.items.into_iter().next())
}

fn create(input: &Input) -> Result<Contact> {
    Request::post(CONTACTS).credential("default").json(input)?.send()?.ok()?.json()
}

fn find_or_create_contact(_call: &Invocation, input: Input) -> Result<Output> {
    let found: Found<Contact> = find_or_create(|| find(&input), || create(&input))?;
    info!("the contact is {}", if found.is_new() { "new" } else { "known" });
    Ok(Output { created: found.is_new(), id: found.into_inner().id })
}

actions!(Module { "find-or-create-contact" => find_or_create_contact });
