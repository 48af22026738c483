//! The body of a request that uploads a definition.

use portcullis_core::fault::Code;
use portcullis_engine::Error;
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use super::{Context, RawRequest, RequestBody, TYPED_CODES};

/// A connector definition, which the engine checks as a whole.
pub(crate) struct DefinitionBody(pub(crate) Value);

impl RequestBody for DefinitionBody {
    const CODES: &'static [Code] = TYPED_CODES;

    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        Some(Schema::new_ref("#/components/schemas/Definition".to_owned()))
    }

    fn read(context: &Context, request: &RawRequest) -> Result<Self, Error> {
        let document = request.json(context)?;
        if is_shown_connector(&document) {
            let message = "this is a connector as GET shows it; send the value of its \"definition\"";
            return Err(Error::violation("/definition", "send_definition", message));
        }
        Ok(Self(document))
    }
}

/// Whether a document is the answer to a GET of a connector instead of its definition.
fn is_shown_connector(document: &Value) -> bool {
    document.get("definition").is_some_and(Value::is_object)
        && document.get("revision").is_some()
        && document.get("actions").is_none()
}
