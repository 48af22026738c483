//! `/admin/backup`: everything in one file, sealed, while calls go on.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, Response};
use hyper::body::Bytes;
use portcullis_engine::backup::{self, Backup};
use portcullis_engine::{Caller, Engine, Error, api_token};
use schemars::SchemaGenerator;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::stream_body::{Broken, StreamBody};
use crate::answer::{Answer, Content};
use crate::request::{Context, NoParameters};

/// Media type of a backup.
const MEDIA: &str = "application/octet-stream";
/// Pieces that wait for a slow receiver; after that the backup waits.
const PIECES: usize = 16;
/// How often it is checked whether the token of a backup still stands.
const BEAT: Duration = Duration::from_secs(1);

/// A file that is sent while it is made. One that is not whole ends the connection with an error.
pub(crate) struct BackupFile(StreamBody);

impl Answer for BackupFile {
    fn content(_: &mut SchemaGenerator) -> Content {
        vec![(MEDIA, Some(schemars::json_schema!({ "type": "string", "format": "binary" })))]
    }

    fn into_response(self) -> Result<Response<Body>, Error> {
        let mut response = Response::new(Body::new(self.0));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA));
        let name = HeaderValue::from_static("attachment; filename=\"portcullis.backup.age\"");
        headers.insert(CONTENT_DISPOSITION, name);
        Ok(response)
    }
}

/// Makes a backup.
pub(crate) async fn create(context: Context, _: NoParameters, (): ()) -> Result<BackupFile, Error> {
    let (engine, caller) = (Arc::clone(&context.api.engine), context.caller()?.clone());
    // Why here: once the answer has begun there is no other way to say what is wrong.
    let begun = backup::sealed(&engine, &caller).await?;
    let (sender, receiver) = mpsc::channel(PIECES);
    let broken = Broken::default();
    let patience = Duration::from_millis(engine.limits().backup_patience_ms);
    let to = Pieces { sender, broken: broken.clone(), patience, runtime: Handle::current() };
    tokio::spawn(write(engine, caller, begun, to, broken.clone()));
    Ok(BackupFile(StreamBody { pieces: receiver, broken }))
}

/// Writes to the end, or until the caller's token is taken away.
async fn write(engine: Arc<Engine>, caller: Caller, begun: Backup, to: Pieces, broken: Broken) {
    let revoked = async {
        while api_token::still_stands(&engine, &caller).await {
            tokio::time::sleep(BEAT).await;
        }
    };
    // Why kept: the answer must not end before it is known whether it is whole.
    let open = to.sender.clone();
    tokio::select! {
        ended = begun.write(Box::new(to), Box::new(|_| ())) => match ended {
            Ok(report) => {
                let backup::BackupReport { id, seq, bytes, .. } = report;
                tracing::info!(id, seq, bytes, "a backup was made");
            }
            Err(error) => {
                tracing::error!(%error, "a backup ended early");
                broken.set();
            }
        },
        () = revoked => broken.set(),
    }
    drop(open);
}

/// What a backup is written to: it ends when the receiver is gone or takes nothing for too long.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    broken: Broken,
    patience: Duration,
    runtime: Handle,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let send = self.sender.send_timeout(Bytes::copy_from_slice(bytes), self.patience);
        match self.runtime.block_on(send) {
            Ok(()) if !self.broken.is_set() => Ok(bytes.len()),
            _ => {
                self.broken.set();
                Err(io::Error::new(io::ErrorKind::BrokenPipe, "its receiver is gone, or takes nothing"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
