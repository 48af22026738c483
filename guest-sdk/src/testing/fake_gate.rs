//! The gate of a test, and how requests find it: one for each thread, while a closure runs.
#![allow(
    clippy::panic,
    reason = "what differs from the recording ends the test, whatever the module makes of errors"
)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::Exchange;
use crate::log::Level;
use crate::{GateError, Request, Response};

thread_local! {
    static INSTALLED: RefCell<Option<FakeGate>> = const { RefCell::new(None) };
}

/// A gate that answers recorded exchanges in order. A request that is not the next one ends the test, and so does an
/// exchange that was not asked for.
///
/// ```
/// use portcullis_guest::testing::{FakeGate, expect};
/// use portcullis_guest::{Method, Request, info};
///
/// let gate = FakeGate::new([expect(Method::Get, "https://api.example.com/").answer(200, "hello")]);
/// let length = gate.run(|| {
///     let answer = Request::get("https://api.example.com/").send().unwrap();
///     info!("{} bytes", answer.body.len());
///     answer.body.len()
/// });
/// assert_eq!(length, 5);
/// assert_eq!(gate.logged()[0].1, "5 bytes");
/// ```
#[derive(Debug, Clone, Default)]
pub struct FakeGate(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    exchanges: VecDeque<Exchange>,
    sent: usize,
    lines: Vec<(Level, String)>,
}

impl FakeGate {
    /// A gate with these exchanges.
    ///
    /// ```
    /// let gate = portcullis_guest::testing::FakeGate::new([]);
    /// assert_eq!(gate.run(|| 7), 7);
    /// ```
    #[must_use]
    pub fn new(exchanges: impl IntoIterator<Item = Exchange>) -> Self {
        let exchanges = exchanges.into_iter().collect();
        Self(Rc::new(RefCell::new(State { exchanges, ..State::default() })))
    }

    /// Runs a closure whose requests and log lines come to this gate.
    ///
    /// ```should_panic
    /// use portcullis_guest::Request;
    /// use portcullis_guest::testing::FakeGate;
    ///
    /// // Nothing is recorded, so there is nothing to ask.
    /// FakeGate::new([]).run(|| Request::get("https://api.example.com/").send());
    /// ```
    ///
    /// # Panics
    /// If a request differs from the next exchange, or if an exchange is left.
    pub fn run<T>(&self, module: impl FnOnce() -> T) -> T {
        let installed = Installed::new(self.clone());
        let value = module();
        drop(installed);
        let state = self.0.borrow();
        if let Some(left) = state.exchanges.front() {
            panic!(
                "the module sent {} requests; the next one should have been {:?}",
                state.sent, left.expected
            );
        }
        value
    }

    /// Calls an action of a module and returns its output.
    ///
    /// ```
    /// # use portcullis_guest::{Invocation, Result, actions, testing::FakeGate};
    /// # use serde_json::json;
    /// fn double(_call: &Invocation, number: u32) -> Result<u32> {
    ///     Ok(number * 2)
    /// }
    /// actions!(Module { "double" => double });
    /// # fn main() {
    /// assert_eq!(FakeGate::new([]).call::<Module>("double", &json!(4)).unwrap(), json!(8));
    /// assert_eq!(FakeGate::new([]).call::<Module>("half", &json!(4)).unwrap_err().code, "unknown_action");
    /// # }
    /// ```
    ///
    /// # Errors
    /// The module's failure.
    ///
    /// # Panics
    /// As [`run`](Self::run), and if the module's document has no `output`.
    #[cfg(feature = "json")]
    #[allow(clippy::result_large_err, reason = "the failure's shape is the interface's")]
    pub fn call<H: crate::Handler>(
        &self,
        action: &str,
        input: &serde_json::Value,
    ) -> Result<serde_json::Value, crate::Failure> {
        self.invoke::<H>(super::invocation(action, &input.to_string()))
    }

    /// Makes a call and returns its output. For calls with a config or another time than
    /// [`invocation`](super::invocation) gives.
    ///
    /// ```
    /// # use portcullis_guest::{Invocation, Result, actions, testing::{FakeGate, invocation}};
    /// fn time(call: &Invocation, _input: serde_json::Value) -> Result<u64> {
    ///     Ok(call.now_ms)
    /// }
    /// actions!(Module { "time" => time });
    /// # fn main() {
    /// let mut call = invocation("time", "{}");
    /// call.now_ms = 7;
    /// assert_eq!(FakeGate::new([]).invoke::<Module>(call).unwrap(), 7);
    /// # }
    /// ```
    ///
    /// # Errors
    /// The module's failure.
    ///
    /// # Panics
    /// As [`call`](Self::call).
    #[cfg(feature = "json")]
    #[allow(clippy::result_large_err, reason = "the failure's shape is the interface's")]
    pub fn invoke<H: crate::Handler>(
        &self,
        call: crate::Invocation,
    ) -> Result<serde_json::Value, crate::Failure> {
        let text = self.run(|| H::invoke(call))?;
        let document: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        match document.get("output") {
            Some(output) => Ok(output.clone()),
            None => panic!("the module's document has no output: {text}"),
        }
    }

    /// The lines that the module logged, in order.
    ///
    /// ```
    /// let gate = portcullis_guest::testing::FakeGate::new([]);
    /// gate.run(|| portcullis_guest::warn!("odd"));
    /// assert_eq!(gate.logged().len(), 1);
    /// ```
    #[must_use]
    pub fn logged(&self) -> Vec<(Level, String)> {
        self.0.borrow().lines.clone()
    }

    fn answer(&self, request: &Request) -> Result<Response, GateError> {
        let mut state = self.0.borrow_mut();
        let asked = format!("request {}: {:?} {}", state.sent, request.method, request.url);
        let Some(exchange) = state.exchanges.pop_front() else {
            panic!("{asked}: nothing more is recorded");
        };
        state.sent += 1;
        if let Some(difference) = exchange.expected.difference(request) {
            panic!("{asked}: {difference}");
        }
        exchange.outcome
    }
}

/// The gate before this one comes back when it is dropped, also by a panic.
struct Installed(Option<FakeGate>);

impl Installed {
    fn new(gate: FakeGate) -> Self {
        Self(INSTALLED.with(|installed| installed.borrow_mut().replace(gate)))
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let before = self.0.take();
        INSTALLED.with(|installed| *installed.borrow_mut() = before);
    }
}

fn installed() -> Option<FakeGate> {
    INSTALLED.with(|installed| installed.borrow().clone())
}

/// What `send` is outside of WebAssembly.
pub(crate) fn send(request: &Request) -> Result<Response, GateError> {
    match installed() {
        Some(gate) => gate.answer(request),
        None => panic!("there is no gate here; in a test call the module inside FakeGate::run"),
    }
}

/// What `log` is outside of WebAssembly. Without a gate a line is dropped.
pub(crate) fn log(level: Level, message: &str) {
    if let Some(gate) = installed() {
        gate.0.borrow_mut().lines.push((level, message.to_owned()));
    }
}
