//! The HTTP edge, and streams whose token ends.

mod heads;
mod parameters;
mod streams;
