//! What the host keeps for one call while its guest runs, and the one import of the guest. Made by a call and
//! dropped with its instance; makes no decisions.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis_core::outbound::Outbound;
use portcullis_core::sync::lock;

use crate::bindings::portcullis::connector::{log, outbound_http, types};
use crate::bounds::Bounds;
use crate::guest_log::{GuestLog, LogLevel};
use crate::wasi::Wasi;
use crate::wire;

/// The data of one call's wasmtime store.
pub(crate) struct CallState {
    pub(crate) outbound: Arc<dyn Outbound>,
    pub(crate) bounds: Bounds,
    /// Epoch ticks for which the guest may still compute.
    pub(crate) ticks_left: u64,
    pub(crate) out_of_time: bool,
    /// Time spent waiting for the gate.
    pub(crate) waited: Duration,
    /// When the guest began to compute, after the last wait for the gate.
    pub(crate) since: Instant,
    /// Shared with the streams of a module's standard output.
    pub(crate) log: Arc<Mutex<GuestLog>>,
    /// What a module of the profile `std` uses, from its first use.
    pub(crate) wasi: Option<Box<Wasi>>,
    /// Bytes of the answers of the gate, if there was one.
    pub(crate) answered_bytes: Option<u64>,
    /// Requests that may still be refused or fail.
    pub(crate) failures_left: u64,
}

impl types::Host for CallState {}

impl log::Host for CallState {
    async fn log(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        lock(&self.log).write(level, &message);
    }
}

impl outbound_http::Host for CallState {
    async fn send(
        &mut self,
        request: types::Request,
    ) -> wasmtime::Result<Result<types::Response, types::Error>> {
        let started = Instant::now();
        let answer = self.outbound.send(wire::request(request)).await;
        self.since = Instant::now();
        self.waited += self.since.saturating_duration_since(started);
        if let Ok(answer) = &answer {
            *self.answered_bytes.get_or_insert(0) += answer.body.len() as u64;
        }
        if answer.is_err() {
            // Why: each refusal is a record on disk, and a guest can cause thousands in a moment.
            self.failures_left = self.failures_left.checked_sub(1).ok_or_else(|| {
                wasmtime::format_err!("more requests failed than limits.failed_requests_per_call allows")
            })?;
        }
        Ok(answer.map(wire::response).map_err(|e| wire::error(&e)))
    }
}
