//! A module that misbehaves as its input says: `{"do": "loop"}`. One component for everything that a guest can do once
//! it runs; what is wrong with a component's bytes is made by `tests/it/modules/guests.rs`.
//!
//! Built for `wasm32-unknown-unknown` and encoded by `wit-component`, like any module in Rust. Each behaviour says how
//! its call has to end. Whatever it is, the process goes on, the next call of another tenant is as fast as before, and
//! the ledger has every request that left.

use std::hint::black_box;

use portcullis_guest::log::{Level, log};
use portcullis_guest::{
    Error, Failure, GateError, Handler, Invocation, Method, Request, export_handler, send,
};
use serde::Deserialize;
use serde_json::{Value, json};

mod memory;
mod outside;

/// What the call is about.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Behaviour {
    /// Never returns. Ends: `guest_timeout`.
    Loop {},
    /// Never returns, in bulk instructions of 16 MiB each. Ends: `guest_timeout`, as soon as a plain loop.
    BulkLoop {},
    /// Allocates and writes until there is no more. Ends: `guest_trapped`.
    MemoryBomb {},
    /// Grows its memory until that is refused, and returns the pages it had. Ends: an output within the limit.
    Grow {},
    /// Calls itself without end. Ends: `guest_trapped`.
    Recursion {},
    /// Executes `unreachable`. Ends: `guest_trapped`.
    Trap {},
    /// Panics, with a line in the log. Ends: `guest_trapped`.
    Panic {},
    /// Panics after a request has left. Ends: `guest_trapped`; the ledger has the request.
    PanicAfterSend {
        /// Where to.
        url: String,
    },
    /// Returns text that is no UTF-8. Ends: `guest_trapped`, or `guest_output_invalid`.
    InvalidUtf8 {},
    /// Returns an output of that size. Ends: refused above the host's limit, and the host copies no more than that.
    Output {
        /// Bytes.
        bytes: usize,
    },
    /// Returns this text in the place of a document. Ends: `guest_output_invalid` for all but `{"output": …}`.
    Document {
        /// The text.
        text: String,
    },
    /// Fails by itself. Ends: `guest_failed` with this code and message, made printable and cut.
    Fail {
        /// The code.
        code: String,
        /// The message.
        message: String,
    },
    /// Fails with a code that belongs to the host or the gate. Ends: `guest_failed`; a guest cannot speak for them.
    Pretend {
        /// Such as `credential_missing`.
        code: String,
    },
    /// Sends the same request so many times and counts. Ends: an output in which nothing beyond the definition's
    /// number of requests was answered, or `calls_exceeded`.
    SendMany {
        /// Where to.
        url: String,
        /// How many times.
        times: u32,
    },
    /// Sends one request that is whatever the input says, and returns the outcome. For hosts that are not allowed,
    /// paths (`/v1/../admin`, `%2e%2e`, `\`, a second `//host`), headers (`host`, `content-length`, `authorization`,
    /// CR LF, a name with a space), user information, ports and credential slots. Ends: an output with the gate's
    /// refusal, nothing looked up, nothing sent.
    Send(Wanted),
    /// A request with so many headers and such a body. Ends: refused by the gate, without the host holding a multiple.
    SendLarge {
        /// Where to.
        url: String,
        /// Headers.
        headers: usize,
        /// Bytes.
        body_bytes: usize,
    },
    /// Looks for what another call left: static memory, memory that it grows, and its own global counter. Leaves a mark
    /// in all three. Ends: `{"zero": true}`, in every call.
    Canary {},
    /// Writes so many lines. Ends: an output; 256 KiB are kept.
    LogFlood {
        /// Lines.
        lines: u32,
        /// Bytes of each.
        bytes: usize,
    },
    /// Writes this line. Ends: an output; in the record control characters are escaped and secrets are gone.
    Log {
        /// The line.
        text: String,
    },
    /// Looks for everything that WASI could give it, in the profile `std`. Ends: an output that names what it found.
    Outside {},
    /// Writes to standard output and standard error. Ends: an output; the lines are in the log.
    Print {
        /// What it writes to both.
        text: String,
    },
    /// Sleeps, in the profile `std`. Ends: `upstream_timeout` or another end of the call's own time; nothing computes.
    Sleep {
        /// How long.
        ms: u64,
    },
    /// Leaves the process, in the profile `std`. Ends: `guest_trapped`.
    Exit {},
    /// Opens a connection of its own, in the profile `std`. Ends: `guest_trapped`, nothing connected.
    Connect {
        /// Host and port, a name or an address.
        to: String,
    },
    /// Returns everything it was told. Ends: an output without a secret in it.
    Echo {},
}

/// A request as a guest may want it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    url: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    credential: Option<String>,
}

/// The module.
#[derive(Debug)]
pub struct Hostile;

impl Handler for Hostile {
    fn invoke(call: Invocation) -> Result<String, Failure> {
        let behaviour = call.read_input::<Behaviour>()?;
        match behaviour {
            Behaviour::InvalidUtf8 {} => Ok(memory::invalid_text()),
            Behaviour::Document { text } => Ok(text),
            Behaviour::Output { bytes } => Ok(format!(r#"{{"output":"{}"}}"#, "x".repeat(bytes))),
            other => Ok(json!({ "output": act(&call, other)? }).to_string()),
        }
    }
}

export_handler!(Hostile);

#[allow(clippy::panic, reason = "a guest that panics is one of the cases")]
fn act(call: &Invocation, behaviour: Behaviour) -> Result<Value, Error> {
    match behaviour {
        Behaviour::Loop {} => loop {
            black_box(0_u8);
        },
        Behaviour::BulkLoop {} => {
            let mut block = vec![0_u8; 16 << 20];
            for value in (0..=u8::MAX).cycle() {
                black_box(&mut block).fill(value);
            }
        }
        Behaviour::MemoryBomb {} => {
            let mut blocks = Vec::new();
            loop {
                blocks.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        Behaviour::Grow {} => return Ok(json!({ "pages": memory::grow_to_the_limit() })),
        Behaviour::Recursion {} => return Ok(json!(memory::recurse(0))),
        Behaviour::Trap {} => memory::trap(),
        Behaviour::Panic {} => {
            log(Level::Error, "about to panic");
            panic!("as asked");
        }
        Behaviour::PanicAfterSend { url } => {
            let answer = Request::get(url).credential("default").send();
            panic!("as asked, after {answer:?}");
        }
        Behaviour::Fail { code, message } => return Err(Error::new(code, message)),
        Behaviour::Pretend { code } => {
            return Err(Error::new(code, "this is the host speaking").class("auth"));
        }
        Behaviour::SendMany { url, times } => return Ok(send_many(&url, times)),
        Behaviour::Send(wanted) => return outcome(&wanted.request()?),
        Behaviour::SendLarge { url, headers, body_bytes } => {
            let mut request = Request::post(url).body(vec![b'x'; body_bytes]);
            for index in 0..headers {
                request = request.header(format!("x-{index}"), "x");
            }
            return outcome(&request);
        }
        Behaviour::Canary {} => return Ok(json!({ "zero": memory::is_clean() })),
        Behaviour::LogFlood { lines, bytes } => {
            let line = "x".repeat(bytes);
            for _ in 0..lines {
                log(Level::Info, &line);
            }
        }
        Behaviour::Log { text } => log(Level::Info, &text),
        Behaviour::Outside {} => return Ok(outside::found()),
        Behaviour::Print { text } => outside::print(&text),
        Behaviour::Sleep { ms } => std::thread::sleep(std::time::Duration::from_millis(ms)),
        Behaviour::Exit {} => std::process::exit(0),
        Behaviour::Connect { to } => return Ok(json!(outside::connects(&to))),
        Behaviour::Echo {} => {
            let Invocation { operation, plan, input, config, run_id, now_ms, idempotency_key } = call;
            return Ok(json!({ "operation": operation, "plan": plan, "input": input, "config": config,
                "run_id": run_id, "now_ms": now_ms, "idempotency_key": idempotency_key }));
        }
        Behaviour::InvalidUtf8 {} | Behaviour::Document { .. } | Behaviour::Output { .. } => {}
    }
    Ok(Value::Null)
}

fn send_many(url: &str, times: u32) -> Value {
    let request = Request::get(url).credential("default");
    let (mut answered, mut limited, mut other) = (0, 0, 0);
    for _ in 0..times {
        match send(&request) {
            Ok(_) => answered += 1,
            Err(GateError::Limit(_)) => limited += 1,
            Err(_) => other += 1,
        }
    }
    json!({ "answered": answered, "limited": limited, "other": other })
}

/// What came of it, as text: a guest that handles every error.
fn outcome(request: &Request) -> Result<Value, Error> {
    Ok(match send(request) {
        Ok(answer) => json!({ "status": answer.status, "redacted": answer.redacted,
            "body": String::from_utf8_lossy(&answer.body) }),
        Err(error) => json!({ "error": format!("{error:?}") }),
    })
}

impl Wanted {
    fn request(self) -> Result<Request, Error> {
        let method = match self.method.as_deref().unwrap_or("GET") {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            other => return Err(Error::new("no_such_method", other)),
        };
        let mut request = Request::new(method, self.url);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body = self.body.map(String::into_bytes);
        request.credential = self.credential;
        Ok(request)
    }
}
