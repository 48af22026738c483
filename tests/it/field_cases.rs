//! What was once given to the product and went wrong, a test for each case. The letter of a test's name is
//! the kind: `a` for answers that cannot be read, `b` for bytes and charsets, `c` for numbers, null and absence, `d` for
//! lists, `e` for tokens, `s` for what one tenant, upstream or definition may do to others, `h` for stores and the
//! process.

mod answers;
mod calls;
pub(crate) mod damage;
mod edge;
mod process;
mod secrets;
mod tokens;
mod values;
mod work;
mod work_off_thread;
