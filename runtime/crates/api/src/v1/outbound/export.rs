//! The ledger as a file: every record with its hash, oldest first, streamed in bounded memory.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, Response};
use hyper::body::Bytes;
use portcullis_core::id::OrgId;
use portcullis_engine::audit::{self, ExportSink, LedgerLine, LedgerQuery, Place};
use portcullis_engine::{Caller, Engine, Error, api_token};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::request::Context;
use crate::v1::stream_body::{Broken, StreamBody};

/// Media type of one JSON object per line.
pub(super) const NDJSON: &str = "application/x-ndjson";
/// Media type of RFC 4180.
pub(super) const CSV: &str = "text/csv";
/// Pieces that wait for a slow reader; after that the export waits.
const PIECES: usize = 16;
/// How often it is checked whether the token of an export still stands.
const BEAT: Duration = Duration::from_secs(1);
/// How long an export waits for a reader that takes nothing. Why not for ever: it holds a thread.
const PATIENCE: Duration = Duration::from_secs(60);

/// Columns of the CSV, as pointers into a record.
const COLUMNS: &[(&str, &str)] = &[
    ("seq", "/seq"),
    ("at", "/event/at"),
    ("phase", "/event/phase"),
    ("entry_id", "/event/entry_id"),
    ("workspace", "/event/workspace"),
    ("connector_id", "/event/connector_id"),
    ("revision", "/event/revision"),
    ("action_id", "/event/action_id"),
    ("run_id", "/event/run_id"),
    ("automation_id", "/event/automation_id"),
    ("method", "/event/method"),
    ("origin", "/event/origin"),
    ("path", "/event/path"),
    ("verdict", "/event/verdict"),
    ("code", "/event/code"),
    ("matched_connector", "/event/matched_connector"),
    ("matched_org", "/event/matched_org"),
    ("chosen_address", "/event/chosen_address"),
    ("tls_version", "/event/tls_version"),
    ("status", "/event/status"),
    ("bytes_out", "/event/bytes_out"),
    ("bytes_in", "/event/bytes_in"),
    ("total_us", "/event/durations/total_us"),
    ("credential_slot", "/event/credential_slot"),
    ("credential_version", "/event/credential_version"),
    ("redacted", "/event/redacted"),
    ("prev", "/prev"),
    ("hash", "/hash"),
    // Why last: those who read columns by their place go on doing so.
    ("connection", "/event/connection"),
];

/// Records exactly as stored, so that the chain can be checked from the export.
pub(super) async fn ndjson(
    context: &Context,
    org: OrgId,
    query: LedgerQuery,
) -> Result<Response<Body>, Error> {
    let text = |line: &LedgerLine| format!("{}\n", line.as_text().trim_end());
    export(context, org, query, NDJSON, String::new(), text).await
}

/// Records as a table.
pub(super) async fn csv(context: &Context, org: OrgId, query: LedgerQuery) -> Result<Response<Body>, Error> {
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    export(context, org, query, CSV, format!("{}\r\n", names.join(",")), row).await
}

async fn export(
    context: &Context,
    org: OrgId,
    query: LedgerQuery,
    media: &'static str,
    head: String,
    text: fn(&LedgerLine) -> String,
) -> Result<Response<Body>, Error> {
    // Why here: once the answer has begun there is no other way to say what is wrong.
    let query = audit::checked(&query)?;
    // Why first: what is streamed cannot be taken back, and a stream that only ends early looks whole to many.
    let place = audit::begin_export(&context.api.engine, context.caller()?, &org).await?;
    let (sender, receiver) = mpsc::channel(PIECES);
    let (engine, caller) = (Arc::clone(&context.api.engine), context.caller()?.clone());
    let broken = Broken::default();
    let sink = sink(sender.clone(), broken.clone(), text);
    let body = StreamBody { pieces: receiver, broken: broken.clone() };
    tokio::spawn(async move {
        if head.is_empty() || sender.send(Bytes::from(head)).await.is_ok() {
            run(&engine, &caller, &org, &query, (sink, &place), &broken).await;
        }
    });
    Ok(attachment(media, body))
}

/// Exports to the end, or until the caller's token is taken away.
async fn run(
    engine: &Engine,
    caller: &Caller,
    org: &OrgId,
    query: &LedgerQuery,
    (sink, place): (ExportSink, &Place),
    broken: &Broken,
) {
    let revoked = async {
        while api_token::still_stands(engine, caller).await {
            tokio::time::sleep(BEAT).await;
        }
    };
    tokio::select! {
        ended = audit::export(engine, caller, org, query, sink, place) => if let Err(error) = ended {
            tracing::error!(code = %error.code, "an export ended early");
            broken.set();
        },
        () = revoked => broken.set(),
    }
}

/// Where the ledger puts each record; it ends when the reader is gone or takes nothing for too long.
fn sink(sender: mpsc::Sender<Bytes>, broken: Broken, text: fn(&LedgerLine) -> String) -> ExportSink {
    let runtime = Handle::current();
    Box::new(move |line| {
        let send = sender.send_timeout(Bytes::from(text(line)), PATIENCE);
        match runtime.block_on(send) {
            Ok(()) if !broken.is_set() => ControlFlow::Continue(()),
            _ => {
                broken.set();
                ControlFlow::Break(())
            }
        }
    })
}

fn attachment(media: &'static str, body: StreamBody) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    response
}

fn row(line: &LedgerLine) -> String {
    let record: Value = serde_json::from_str(line.as_text()).unwrap_or_default();
    let cells: Vec<String> = COLUMNS.iter().map(|(_, pointer)| cell(record.pointer(pointer))).collect();
    format!("{}\r\n", cells.join(","))
}

/// One cell, quoted where RFC 4180 requires it. A text that a spreadsheet would run as a formula gets
/// an apostrophe in front.
fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => return String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => return other.to_string(),
    };
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text };
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_are_quoted_and_formulas_are_disarmed() {
        assert_eq!(cell(Some(&json!("plain"))), "plain");
        assert_eq!(cell(Some(&json!("a,\"b\""))), "\"a,\"\"b\"\"\"");
        assert_eq!(cell(Some(&json!("=cmd()"))), "'=cmd()");
        assert_eq!(cell(Some(&json!(5))), "5");
        assert_eq!(cell(None), "");
    }
}
