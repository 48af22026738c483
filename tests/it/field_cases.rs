//! What was once given to the product and went wrong, a test for each case. The letter of a test's name is
//! the kind: `s` for what one tenant, upstream or definition may do to others, `h` for stores and the process.

mod calls;
mod damage;
mod edge;
mod process;
mod secrets;
mod work;
mod work_off_thread;
