//! `/org/{org}/outbound/stream`: the ledger as it grows, as server-sent events (WHATWG HTML 9.2).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use hyper::body::Bytes;
use portcullis_store::LedgerLine;
use tokio::sync::{broadcast, mpsc};

use super::stream_body::StreamBody;
use crate::api::context::Ctx;
use crate::app::App;
use crate::problem::Problem;

/// Events that wait for a slow reader; one that is slower is told what it missed.
const EVENTS: usize = 64;
/// How often it is looked whether the process is stopping.
const BEAT: Duration = Duration::from_secs(1);
/// Beats between comments that keep proxies from closing a quiet stream.
const BEATS_PER_COMMENT: u32 = 15;

/// Follows the ledger.
pub(in crate::api) async fn stream(ctx: Ctx) -> Result<Response<Body>, Problem> {
    let org = ctx.org().await?;
    let lines = ctx.app.ledger.subscribe(&org);
    let (sender, receiver) = mpsc::channel(EVENTS);
    tokio::spawn(pump(Arc::clone(&ctx.app), lines, sender));
    let mut response = Response::new(Body::new(StreamBody(receiver)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

async fn pump(
    app: Arc<App>,
    mut lines: broadcast::Receiver<Arc<LedgerLine>>,
    sender: mpsc::Sender<std::io::Result<Bytes>>,
) {
    let mut beats = 0_u32;
    if sender.send(Ok(Bytes::from_static(b": following\n\n"))).await.is_err() {
        return;
    }
    while !app.draining.load(Ordering::SeqCst) {
        let text = tokio::select! {
            line = lines.recv() => match line {
                Ok(line) => event(&line),
                Err(broadcast::error::RecvError::Lagged(missed)) => format!("event: lagged\ndata: {{\"missed\":{missed}}}\n\n"),
                Err(broadcast::error::RecvError::Closed) => return,
            },
            () = tokio::time::sleep(BEAT) => {
                beats += 1;
                if !beats.is_multiple_of(BEATS_PER_COMMENT) {
                    continue;
                }
                ": still here\n\n".to_owned()
            }
            () = sender.closed() => return,
        };
        if sender.send(Ok(Bytes::from(text))).await.is_err() {
            return;
        }
    }
}

fn event(line: &LedgerLine) -> String {
    // Why safe: a stored line is one line of JSON.
    format!("id: {}\nevent: record\ndata: {}\n\n", line.seq, line.as_text().trim_end())
}
