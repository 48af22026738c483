//! The real binary where the store is PostgreSQL: one node and several, a database that goes away, nodes that are killed,
//! and everything moved into a database and back.
//!
//! The tests start a PostgreSQL of their own. Where none is installed they say so and do nothing; with
//! `PORTCULLIS_REQUIRE_POSTGRES` set they fail.

mod engines;
mod installation;
mod kills;
mod moves;
mod nodes;
mod roles;
mod rotation;
mod starting;
