//! The server's end of the control socket: a backup for the operator at the machine.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as Stream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_engine::{Caller, Engine, backup};
use tokio::net::UnixListener;

use crate::control::{Address, Kind, Made, Request, SOCKET, receive, send};

/// How long a command may be silent while it asks.
const REQUEST_TIME: Duration = Duration::from_secs(60);

/// The socket while the process serves; its file goes with this value.
pub(super) struct Control {
    path: PathBuf,
}

impl Drop for Control {
    fn drop(&mut self) {
        // Why ignored: one that nobody listens at does no harm.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Listens in the data directory, which this process has alone. Without the socket the server serves as well, so a failure
/// is told and no more.
pub(super) fn start(engine: &Arc<Engine>, data_dir: &Path) -> Option<Control> {
    match listen(data_dir) {
        Ok((listener, control)) => {
            tokio::spawn(accept(Arc::clone(engine), listener));
            Some(control)
        }
        Err(error) => {
            let dir = data_dir.display();
            tracing::warn!(%error, %dir, "there is no control socket: `portcullis backup` cannot ask this server");
            None
        }
    }
}

fn listen(data_dir: &Path) -> io::Result<(UnixListener, Control)> {
    let path = data_dir.join(SOCKET);
    // What a process that was killed left.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let address = Address::of(data_dir)?;
    let listener = UnixListener::bind(&address.path)?;
    // The process's umask made it so already, but for the right to execute.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok((listener, Control { path }))
}

async fn accept(engine: Arc<Engine>, listener: UnixListener) {
    loop {
        let accepted = listener.accept().await;
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Why go on: too many open files end by themselves.
                tracing::warn!(%error, "a command could not be answered");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let own = rustix::process::geteuid().as_raw();
        // Besides the file's mode: whoever is neither this user nor root has no business here.
        let may_ask = stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0);
        if !may_ask {
            tracing::warn!("another user's process was refused at the control socket");
            continue;
        }
        let stream = stream.into_std().and_then(|stream| stream.set_nonblocking(false).map(|()| stream));
        match stream {
            Ok(stream) => drop(tokio::spawn(answer(Arc::clone(&engine), stream))),
            Err(error) => tracing::warn!(%error, "a command could not be answered"),
        }
    }
}

async fn answer(engine: Arc<Engine>, stream: Stream) {
    let patience = Duration::from_millis(engine.limits().backup_patience_ms);
    let prepared = stream
        .set_read_timeout(Some(REQUEST_TIME))
        .and_then(|()| stream.set_write_timeout(Some(patience)))
        .and_then(|()| Ok((stream.try_clone()?, stream.try_clone()?)));
    let Ok((mut asking, data)) = prepared else { return };
    let request = tokio::task::spawn_blocking(move || {
        let (kind, bytes) = receive(&mut asking)?;
        let request = serde_json::from_slice::<Request>(&bytes).ok().filter(|_| kind == Kind::Request);
        request.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no request of this version"))
    });
    let done = match request.await {
        Ok(Ok(Request::Backup { since })) => make(&engine, since.map(|since| *since), data).await,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => return,
    };
    let ended = tokio::task::spawn_blocking(move || {
        let mut stream = stream;
        match done {
            Ok(made) => send(&mut stream, Kind::Done, &serde_json::to_vec(&made)?),
            Err(reason) => send(&mut stream, Kind::Failed, reason.as_bytes()),
        }
    });
    // Why ignored: the command is gone, and knows that nothing is whole.
    let _ = ended.await;
}

async fn make(engine: &Engine, since: Option<backup::KnownBackup>, to: Stream) -> Result<Made, String> {
    let told = |error: portcullis_engine::Error| {
        let detail = if error.detail.is_empty() { error.code.title().to_owned() } else { error.detail };
        format!("{}: {detail}", error.code)
    };
    let begun = backup::plain(engine, &Caller::operator(), since).await.map_err(told)?;
    let report = begun.write(Box::new(Frames(to)), Box::new(|_| ())).await.map_err(|error| {
        tracing::error!(%error, "a backup ended early");
        error.to_string()
    })?;
    let backup::BackupReport { id, seq, records, logs, bytes } = report;
    tracing::info!(id, seq, bytes, "a backup was made for the operator");
    Ok(Made { seq, records, logs, bytes })
}

/// Sends what is written as frames of data.
struct Frames(Stream);

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        send(&mut self.0, Kind::Data, bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
