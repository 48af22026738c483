//! Lines for the people who run the module: in the run's record, in `portcullis module run` and in tests. Never log
//! personal data; secrets that the host knows are removed. Of a line 4 KiB are kept, of a call 256 KiB.
//!
//! ```
//! use portcullis_guest::{info, warn};
//!
//! info!("{} contacts were found", 3);
//! warn!("the list is older than the export");
//! ```

pub use crate::bindings::portcullis::connector::log::Level;

/// Writes one line. The macros [`debug!`](crate::debug), [`info!`](crate::info), [`warn!`](crate::warn) and
/// [`error!`](crate::error) format it.
///
/// ```
/// use portcullis_guest::log::{Level, log};
/// log(Level::Info, "started");
/// ```
pub fn log(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    crate::bindings::portcullis::connector::log::log(level, message);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::log(level, message);
}

macro_rules! levels {
    ($dollar:tt $($name:ident $level:ident $what:literal),+) => {$(
        #[doc = concat!("Writes one line ", $what, ", formatted as by `format!`.")]
        ///
        /// ```
        #[doc = concat!("portcullis_guest::", stringify!($name), "!(\"{} of {}\", 1, 2);")]
        /// ```
        #[macro_export]
        macro_rules! $name {
            ($dollar($dollar argument:tt)+) => {
                $crate::log::log($crate::log::Level::$level, &::std::format!($dollar($dollar argument)+))
            };
        }
    )+};
}

levels!($ debug Debug "for the module's author", info Info "about what was done", warn Warn "about what is odd",
    error Error "about what failed");
