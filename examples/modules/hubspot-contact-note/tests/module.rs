//! The module as ordinary code, against the examples of its definition.

use hubspot_contact_note::Module;
use portcullis_guest::testing::examples;

#[test]
fn the_examples_of_the_definition_come_out() {
    assert_eq!(examples::<Module>(include_str!("../connector.json")), 4);
}
