//! What [`actions!`](crate::actions) is made of: typed inputs and outputs around the texts of the interface.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Invocation, Result};

/// Exports a module: its name for tests, and a function for each action of the definition whose `handler` is
/// `module`. A function takes the call and its input, as any type that `serde` reads, and returns a
/// [`Result`](crate::Result) of any type that `serde` writes.
///
/// ```
/// use portcullis_guest::testing::FakeGate;
/// use portcullis_guest::{Invocation, Result, actions};
/// use serde_json::{Value, json};
///
/// fn greet(call: &Invocation, input: Value) -> Result<Value> {
///     Ok(json!({ "greeting": format!("hello {}", input["name"]), "run": call.run_id }))
/// }
///
/// fn count(_call: &Invocation, letters: Vec<String>) -> Result<usize> {
///     Ok(letters.len())
/// }
///
/// actions!(Module {
///     "greet" => greet,
///     "count" => count,
/// });
///
/// # fn main() {
/// assert_eq!(FakeGate::new([]).call::<Module>("count", &json!(["a", "b"])).unwrap(), json!(2));
/// # }
/// ```
///
/// In WebAssembly a panic is written to the log before it ends the call.
#[macro_export]
macro_rules! actions {
    ($module:ident { $($action:literal => $function:path),+ $(,)? }) => {
        #[doc = "The module: every action of it."]
        #[derive(Debug)]
        pub struct $module;

        impl $crate::Handler for $module {
            fn invoke(call: $crate::Invocation) -> ::std::result::Result<::std::string::String, $crate::Failure> {
                $crate::action::log_panics();
                let document = match call.operation.as_str() {
                    $($action => $crate::action::run(&call, $function),)+
                    _ => ::std::result::Result::Err($crate::action::unknown(&call)),
                };
                document.map_err($crate::Failure::from)
            }
        }

        $crate::export_handler!($module);
    };
}

impl Invocation {
    /// The input as a type. [`actions!`](crate::actions) does this before it calls an action.
    ///
    /// ```
    /// let call = portcullis_guest::testing::invocation("greet", r#"{"name":"Ada"}"#);
    /// let input: serde_json::Value = call.read_input().unwrap();
    /// assert_eq!(input["name"], "Ada");
    /// ```
    ///
    /// # Errors
    /// The code `input_invalid`, if the input is not of that type. The host has checked it by `body_schema`.
    pub fn read_input<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.input).map_err(|error| Error::new("input_invalid", error.to_string()))
    }

    /// The values of the connection that are not secret (`config_fields`), as a type.
    ///
    /// ```
    /// let mut call = portcullis_guest::testing::invocation("greet", "{}");
    /// call.config = r#"{"region":"eu"}"#.to_owned();
    /// let config: std::collections::BTreeMap<String, String> = call.read_config().unwrap();
    /// assert_eq!(config["region"], "eu");
    /// ```
    ///
    /// # Errors
    /// The code `config_invalid`, if they are not of that type.
    pub fn read_config<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.config).map_err(|error| Error::new("config_invalid", error.to_string()))
    }
}

/// The document that the host reads.
#[derive(Serialize)]
struct Document<O> {
    output: O,
}

/// One action: input read, function called, output written.
#[doc(hidden)]
pub fn run<I, O>(call: &Invocation, action: impl FnOnce(&Invocation, I) -> Result<O>) -> Result<String>
where
    I: DeserializeOwned,
    O: Serialize,
{
    let output = action(call, call.read_input()?)?;
    Ok(serde_json::to_string(&Document { output })?)
}

/// An action of the definition that the module does not have.
#[doc(hidden)]
#[must_use]
pub fn unknown(call: &Invocation) -> Error {
    Error::new("unknown_action", format!("this module has no action {:?}", call.operation))
}

/// Writes a panic to the log, because the trap that follows says nothing.
#[doc(hidden)]
pub fn log_panics() {
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|panic| crate::log::log(crate::log::Level::Error, &panic.to_string())));
}
