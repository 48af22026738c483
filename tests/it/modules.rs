//! Custom modules from outside: uploaded, refused, used by a connector, called, and replaced. What they do once they run
//! is `tests/guests`; what is wrong with their bytes is `guests`.

mod calls;
mod capability;
mod command_line;
mod compiling;
mod examples;
mod gate;
pub(crate) mod guests;
pub(crate) mod harness;
mod logs;
mod refusals;
mod replacing;
mod signatures;
mod std_profile;
mod stopping;
mod uploads;
mod wrong_code;
