//! Calls that run right now, and how they are ended from outside.
//!
//! A call is registered before anything about it is read, so a kill switch, an opt-out or a tighter
//! list that is committed while the call resolves ends it too. Ending drops the call's future:
//! sandbox, sockets and credential handle go with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_core::fault::Code;
use tokio::sync::watch;

/// What is known of a running call.
#[derive(Debug, Clone)]
pub struct RunningCall {
    /// Org.
    pub org: String,
    /// Workspace.
    pub workspace: String,
    /// Connector.
    pub connector: String,
    /// The host it goes to; unknown until it is resolved, or when an input chooses it.
    pub host: Option<String>,
}

#[derive(Default)]
struct Calls {
    next: u64,
    running: HashMap<u64, (RunningCall, watch::Sender<Option<Code>>)>,
    /// Why every call is ended from now on, whenever it begins.
    all_ended: Option<Code>,
}

/// Every running call of the process.
#[derive(Default)]
pub struct Running(Arc<Mutex<Calls>>);

/// A call's place among the running; given up when dropped.
pub struct Ticket {
    calls: Arc<Mutex<Calls>>,
    number: u64,
    ended: watch::Receiver<Option<Code>>,
}

impl Running {
    /// Registers a call.
    #[must_use]
    pub fn register(&self, call: RunningCall) -> Ticket {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, ended) = watch::channel(calls.all_ended);
        let number = calls.next;
        calls.next += 1;
        calls.running.insert(number, (call, sender));
        Ticket { calls: Arc::clone(&self.0), number, ended }
    }

    /// Ends every call for which `reason` gives one.
    pub fn end_where(&self, reason: impl Fn(&RunningCall) -> Option<Code>) {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (call, sender) in calls.running.values() {
            if let Some(code) = reason(call) {
                sender.send_replace(Some(code));
            }
        }
    }

    /// Ends every call, and every one that begins later.
    pub fn end_all(&self, reason: Code) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all_ended = Some(reason);
        self.end_where(|_| Some(reason));
    }

    /// How many calls run.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).running.len()
    }
}

impl Ticket {
    /// Notes the host once it is known.
    pub fn set_host(&self, host: Option<String>) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((call, _)) = calls.running.get_mut(&self.number) {
            call.host = host;
        }
    }

    /// Resolves with the reason when the call is ended from outside.
    pub async fn ended(&self) -> Code {
        let mut ended = self.ended.clone();
        loop {
            if let Some(code) = *ended.borrow_and_update() {
                return code;
            }
            if ended.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).running.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(connector: &str) -> RunningCall {
        RunningCall { org: "acme".into(), workspace: "main".into(), connector: connector.into(), host: None }
    }

    #[tokio::test]
    async fn only_the_calls_that_are_meant_are_ended() {
        let running = Running::default();
        let (a, b) = (running.register(call("a")), running.register(call("b")));
        assert_eq!(running.count(), 2);
        running.end_where(|c| (c.connector == "a").then_some(Code::ConnectorDisabled));
        assert_eq!(a.ended().await, Code::ConnectorDisabled);
        let still = tokio::time::timeout(std::time::Duration::from_millis(20), b.ended()).await;
        assert!(still.is_err());
        drop((a, b));
        assert_eq!(running.count(), 0);
    }

    #[tokio::test]
    async fn a_call_that_begins_after_the_end_of_all_is_ended_too() {
        let running = Running::default();
        let before = running.register(call("a"));
        running.end_all(Code::CallEnded);
        let after = running.register(call("a"));
        assert_eq!((before.ended().await, after.ended().await), (Code::CallEnded, Code::CallEnded));
    }
}
