//! The module as ordinary code, against recorded exchanges: `cargo test`.

use module::Module;
use portcullis_guest::Method;
use portcullis_guest::testing::{FakeGate, examples, expect};
use serde_json::json;

#[test]
fn the_examples_of_the_definition_come_out() {
    assert_eq!(examples::<Module>(include_str!("../connector.json")), 3);
}

#[test]
fn requests_name_the_credential_and_carry_the_input_as_it_is() {
    let contact = json!({ "email": "a&b@example.org", "name": null });
    let gate = FakeGate::new([
        expect(Method::Get, "https://api.example.com/v1/contacts?email=a%26b%40example.org")
            .credential("default")
            .answer_json(200, &json!({ "items": [] })),
        expect(Method::Post, "https://api.example.com/v1/contacts")
            .credential("default")
            .header("content-type", "application/json")
            .json(&contact)
            .answer_json(201, &json!({ "id": "c_1" })),
    ]);
    let input = json!({ "email": "a&b@example.org" });
    let output = gate.call::<Module>("find-or-create-contact", &input).unwrap();
    assert_eq!(output, json!({ "id": "c_1", "created": true }));
    assert_eq!(gate.logged()[0].1, "the contact is new");
}
