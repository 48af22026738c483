//! The HTTP API and the server: HTTP and nothing else. Every use case is a function of the engine.
//!
//! [`ROUTES`] lists every route with its roles, its admission class and its handler; the types of parameters, body and
//! answer are the handler's. The router, the OpenAPI document and the test of all routes are made from it.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests fail by panicking"
    )
)]

mod answer;
mod auth;
mod connect;
mod dispatch;
mod login_delay;
mod login_log;
pub mod openapi;
mod pieces;
mod problem;
mod request;
mod request_id;
mod route;
mod routes;
pub mod serve;
mod service;
mod v1;

pub use dispatch::router;
pub use route::{Admission, Route};
pub use routes::ROUTES;
pub use service::Api;
