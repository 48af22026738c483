//! The ledger as a file: every record with its hash, oldest first, streamed in bounded memory.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::Body;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, Response};
use hyper::body::Bytes;
use portcullis_core::id::OrgId;
use portcullis_engine::Error;
use portcullis_engine::audit::{self, ExportSink, LedgerLine, LedgerQuery};
use serde_json::Value;
use tokio::sync::mpsc;

use super::stream_body::StreamBody;
use crate::request::Context;

/// Media type of one JSON object per line.
pub(super) const NDJSON: &str = "application/x-ndjson";
/// Media type of RFC 4180.
pub(super) const CSV: &str = "text/csv";
/// Pieces that wait for a slow reader; after that the export waits.
const PIECES: usize = 16;

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
];

/// Records exactly as stored, so that the chain can be checked from the export.
pub(super) fn ndjson(context: &Context, org: OrgId, query: LedgerQuery) -> Result<Response<Body>, Error> {
    export(context, org, query, NDJSON, String::new(), |line| format!("{}\n", line.as_text().trim_end()))
}

/// Records as a table.
pub(super) fn csv(context: &Context, org: OrgId, query: LedgerQuery) -> Result<Response<Body>, Error> {
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    export(context, org, query, CSV, format!("{}\r\n", names.join(",")), row)
}

fn export(
    context: &Context,
    org: OrgId,
    query: LedgerQuery,
    media: &'static str,
    head: String,
    text: fn(&LedgerLine) -> String,
) -> Result<Response<Body>, Error> {
    let (sender, receiver) = mpsc::channel(PIECES);
    let (engine, caller) = (Arc::clone(&context.api.engine), context.caller()?.clone());
    let sink = sink(sender.clone(), text);
    tokio::spawn(async move {
        if !head.is_empty() && sender.send(Ok(Bytes::from(head))).await.is_err() {
            return;
        }
        if let Err(error) = audit::export(&engine, &caller, &org, &query, sink).await {
            tracing::error!(code = %error.code, "an export ended early");
            // Why ignored: a reader that is gone needs no error.
            let _ = sender.send(Err(io::Error::other("the ledger cannot be read further"))).await;
        }
    });
    Ok(attachment(media, receiver))
}

/// Where the ledger puts each record; it ends when the reader is gone.
fn sink(sender: mpsc::Sender<io::Result<Bytes>>, text: fn(&LedgerLine) -> String) -> ExportSink {
    Box::new(move |line| match sender.blocking_send(Ok(Bytes::from(text(line)))) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    })
}

fn attachment(media: &'static str, pieces: mpsc::Receiver<io::Result<Bytes>>) -> Response<Body> {
    let mut response = Response::new(Body::new(StreamBody(pieces)));
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
