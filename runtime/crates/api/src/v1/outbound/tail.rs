//! `/org/{org}/outbound/stream`: the ledger as it grows, as server-sent events (WHATWG HTML 9.2).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use hyper::body::Bytes;
use portcullis_engine::Error;
use portcullis_engine::audit::{self, LedgerLine};
use schemars::SchemaGenerator;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;

use super::stream_body::StreamBody;
use crate::answer::{Answer, Content};
use crate::request::{Context, NoParameters};
use crate::service::Api;

/// Events that wait for a slow reader; a slower one receives the number of those it missed.
const EVENTS: usize = 64;
/// Media type of server-sent events.
const MEDIA: &str = "text/event-stream";
/// How often the stream checks whether the process is stopping.
const BEAT: Duration = Duration::from_secs(1);
/// Beats between comments that keep proxies from closing an idle stream.
const BEATS_PER_COMMENT: u32 = 15;

/// A stream of server-sent events.
pub(crate) struct EventStream(Response<Body>);

impl Answer for EventStream {
    fn content(_: &mut SchemaGenerator) -> Content {
        vec![(MEDIA, None)]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        Ok(self.0)
    }
}

/// Follows the ledger.
pub(crate) async fn stream(context: Context, _: NoParameters, (): ()) -> Result<EventStream, Error> {
    let org = context.org().await?;
    let lines = audit::follow(context.engine(), context.caller()?, &org)?;
    let (sender, receiver) = mpsc::channel(EVENTS);
    tokio::spawn(pump(Arc::clone(&context.api), lines, sender));
    let mut response = Response::new(Body::new(StreamBody(receiver)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA));
    Ok(EventStream(response))
}

type Lines = broadcast::Receiver<Arc<LedgerLine>>;
type Pieces = mpsc::Sender<std::io::Result<Bytes>>;

async fn pump(api: Arc<Api>, mut lines: Lines, sender: Pieces) {
    let mut beats = 0_u32;
    if sender.send(Ok(Bytes::from_static(b": following\n\n"))).await.is_err() {
        return;
    }
    while !api.is_draining() {
        let text = tokio::select! {
            line = lines.recv() => match event(line) {
                Some(event) => event,
                None => return,
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

/// A line as an event; none when no more will come.
fn event(line: Result<Arc<LedgerLine>, RecvError>) -> Option<String> {
    match line {
        // Why safe: a stored line is one line of JSON.
        Ok(line) => Some(format!("id: {}\nevent: record\ndata: {}\n\n", line.seq, line.as_text().trim_end())),
        Err(RecvError::Lagged(missed)) => Some(format!("event: lagged\ndata: {{\"missed\":{missed}}}\n\n")),
        Err(RecvError::Closed) => None,
    }
}
