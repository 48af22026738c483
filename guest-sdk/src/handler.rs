//! The way in: what a component exports.

/// Exports a [`Handler`](crate::Handler) as the component's `handler` interface. [`actions!`](crate::actions) does
/// this by itself; this is for modules without `serde`, or with a way of their own to read inputs.
///
/// ```
/// use portcullis_guest::{Failure, Handler, Invocation, Request};
///
/// struct Ping;
///
/// impl Handler for Ping {
///     fn invoke(_call: Invocation) -> Result<String, Failure> {
///         let response = Request::get("https://api.example.com/ping").credential("default").send()?;
///         Ok(format!(r#"{{"output":{{"status":{}}}}}"#, response.status))
///     }
/// }
///
/// portcullis_guest::export_handler!(Ping);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_handler {
    ($handler:ident) => {
        // Why only there: the exports' names are none that a linker of another target takes in a library.
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, reason = "generated export glue")]
        mod portcullis_guest_export {
            use super::$handler;
            $crate::bindings::export!($handler with_types_in $crate::bindings);
        }
        #[cfg(not(target_family = "wasm"))]
        const _: fn($crate::Invocation) -> ::std::result::Result<::std::string::String, $crate::Failure> =
            <$handler as $crate::Handler>::invoke;
    };
}
