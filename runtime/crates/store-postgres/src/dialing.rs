//! The driver's connections, dialled as those of any peer of the operator.
//!
//! The driver's own dialling is not used, so that one crate of the product makes every connection that is no tenant's
//! call. Of several hosts one that takes writes is used: a standby's answers may be older than what was acknowledged.
//! Each has its own time, so that one that is silent does not use up that of the others.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use deadpool_postgres::Connect;
use portcullis_operator_peer::{OperatorPeer, PeerStream, dial};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_postgres::tls::{MakeTlsConnect, NoTlsStream};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, NoTls};

use crate::error::{OpenPostgresError, describe};
use crate::location::{Location, Reached};
use crate::tls::{DatabaseStream, VerifiedTls};

type Connecting<'a> = Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + 'a>>;

/// How long one of several hosts may take until it is known to take writes. Less than the 2 s for which a node waits for
/// the changes of others, so that the next host still gets its turn within them.
const HOST_TIME: Duration = Duration::from_millis(1500);

/// How long all hosts together may take. With more of them silent than fit, the next connection begins behind those.
const HOSTS_TIME_MAX: Duration = Duration::from_secs(12);

/// Fails on a server that takes no writes.
const TAKES_WRITES: &str = "DO $$ BEGIN IF current_setting('transaction_read_only') = 'on' THEN RAISE EXCEPTION \
                            'the server takes no writes: is it a standby?' USING ERRCODE = '25006'; END IF; END $$";

/// Dials the hosts of an address.
pub(crate) struct Dialling {
    first: Peer,
    others: Vec<Peer>,
    /// Number of the host that is tried first: the one of the last connection, or the one behind a host that failed.
    next: AtomicUsize,
    tls: Option<VerifiedTls>,
    /// How long a server that was asked may be silent.
    silence: Option<Duration>,
}

struct Peer {
    peer: OperatorPeer,
    /// What its certificate must be for.
    name: String,
}

impl Dialling {
    /// With `silence`, a connection ends whose server does not answer for so long: one that hangs acknowledges bytes and
    /// says nothing, and would hold whoever asked it for ever.
    ///
    /// # Errors
    /// Those of reading the certificates.
    pub(crate) fn new(
        location: &Location,
        ca_file: Option<&Path>,
        silence: Option<Duration>,
    ) -> Result<Self, OpenPostgresError> {
        match &location.reached {
            Reached::Socket(dir) => {
                let path = dir.join(format!(".s.PGSQL.{}", location.port));
                let first = Peer { peer: OperatorPeer::socket(path), name: String::new() };
                Ok(Self { first, others: Vec::new(), next: AtomicUsize::new(0), tls: None, silence })
            }
            Reached::Hosts(hosts) => {
                let peer = |host: &String| Peer {
                    peer: OperatorPeer::host(host.clone(), location.port),
                    name: host.clone(),
                };
                let mut peers = hosts.iter().map(peer);
                let nothing = || OpenPostgresError::Url("the address names no host".to_owned());
                let first = peers.next().ok_or_else(nothing)?;
                let tls = Some(VerifiedTls::new(ca_file)?);
                Ok(Self { first, others: peers.collect(), next: AtomicUsize::new(0), tls, silence })
            }
        }
    }

    /// How long [`Self::session`] takes at most for its turns, which a caller's own limit must not be below.
    pub(crate) fn time(&self) -> Duration {
        let hosts = u32::try_from(self.others.len()).unwrap_or(u32::MAX).saturating_add(1);
        // Why one more: what is made of a connection besides takes time, too.
        HOST_TIME.saturating_mul(hosts.saturating_add(1)).min(HOSTS_TIME_MAX)
    }

    /// A session with a host that takes writes.
    pub(crate) async fn session(&self, config: &Config) -> Result<(Client, Session), Error> {
        let begin = self.next.load(Ordering::Relaxed);
        let mut number = begin;
        loop {
            let tried = self.to_in_time(config, self.peer(number)).await;
            if tried.is_ok() {
                self.next.store(number, Ordering::Relaxed);
                return tried;
            }
            let following = if number >= self.others.len() { 0 } else { number.saturating_add(1) };
            // Why noted already here: a caller that gives up before a host has answered must not begin at the silent one
            // each time. Not where another one found meanwhile who answers.
            let _ = self.next.compare_exchange(number, following, Ordering::Relaxed, Ordering::Relaxed);
            if following == begin {
                return tried;
            }
            number = following;
        }
    }

    fn peer(&self, number: usize) -> &Peer {
        number.checked_sub(1).and_then(|number| self.others.get(number)).unwrap_or(&self.first)
    }

    async fn to_in_time(&self, config: &Config, peer: &Peer) -> Result<(Client, Session), Error> {
        if self.others.is_empty() {
            // There is nobody else to turn to: it has all the time that its caller has.
            return self.to(config, peer).await;
        }
        match timeout(HOST_TIME, self.to(config, peer)).await {
            Ok(tried) => tried,
            Err(_) => {
                let late = io::Error::new(io::ErrorKind::TimedOut, "the host does not answer in time");
                plain(config, Dialled::Failed(Some(late))).await
            }
        }
    }

    async fn to(&self, config: &Config, peer: &Peer) -> Result<(Client, Session), Error> {
        let stream = match dial(&peer.peer).await {
            Ok(stream) => Dialled::Open(Answering::new(stream, self.silence)),
            Err(error) => Dialled::Failed(Some(error)),
        };
        let (client, mut session) = match self.tls.clone() {
            None => plain(config, stream).await?,
            Some(mut tls) => match MakeTlsConnect::<Dialled>::make_tls_connect(&mut tls, &peer.name) {
                Ok(tls) => {
                    let (client, connection) = config.connect_raw(stream, tls).await?;
                    (client, Session::Verified(connection))
                }
                // Why this way: the driver has no other door for an error from outside.
                Err(error) => plain(config, Dialled::Failed(Some(io::Error::other(error)))).await?,
            },
        };
        takes_writes(&client, &mut session).await?;
        Ok((client, session))
    }
}

impl Connect for Dialling {
    fn connect(&self, config: &Config) -> Connecting<'_> {
        let config = config.clone();
        Box::pin(async move {
            let (client, session) = self.session(&config).await?;
            let driven = tokio::spawn(async move {
                if let Err(error) = session.drive(|_| ()).await {
                    tracing::debug!(reason = describe(&error), "a connection to the database ended");
                }
            });
            Ok((client, driven))
        })
    }
}

async fn plain(config: &Config, stream: Dialled) -> Result<(Client, Session), Error> {
    let (client, connection) = config.connect_raw(stream, NoTls).await?;
    Ok((client, Session::Plain(connection)))
}

async fn takes_writes(client: &Client, session: &mut Session) -> Result<(), Error> {
    let mut asked = std::pin::pin!(client.batch_execute(TAKES_WRITES));
    let driven = std::future::poll_fn(|cx| {
        while let Poll::Ready(message) = session.poll_message(cx) {
            match message {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
        Poll::Pending
    });
    tokio::select! {
        answer = &mut asked => return answer,
        ended = driven => ended?,
    }
    // The connection was closed: this says so.
    asked.await
}

/// A session that has to be driven for its client to get answers.
pub(crate) enum Session {
    Plain(Connection<Dialled, NoTlsStream>),
    Verified(Connection<Dialled, DatabaseStream<Dialled>>),
}

impl Session {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<AsyncMessage, Error>>> {
        match self {
            Self::Plain(connection) => connection.poll_message(cx),
            Self::Verified(connection) => connection.poll_message(cx),
        }
    }

    /// Drives it to its end, and hands on what the server says by itself.
    pub(crate) async fn drive(
        mut self,
        mut on_message: impl FnMut(AsyncMessage) + Send,
    ) -> Result<(), Error> {
        while let Some(message) = std::future::poll_fn(|cx| self.poll_message(cx)).await {
            on_message(message?);
        }
        Ok(())
    }
}

/// A stream, or why there is none: told to the driver when it first uses it.
pub(crate) enum Dialled {
    Open(Answering),
    Failed(Option<io::Error>),
}

impl Dialled {
    fn open(self: Pin<&mut Self>) -> Result<Pin<&mut Answering>, io::Error> {
        match self.get_mut() {
            Self::Open(stream) => Ok(Pin::new(stream)),
            Self::Failed(error) => Err(error.take().unwrap_or_else(|| io::ErrorKind::NotConnected.into())),
        }
    }
}

/// A stream that ends when its peer is silent for too long after it was asked.
pub(crate) struct Answering {
    stream: PeerStream,
    silence: Option<Duration>,
    /// Whether something was sent since the last answer. Of questions sent together the first answer counts.
    asked: bool,
    until: Pin<Box<Sleep>>,
}

impl Answering {
    fn new(stream: PeerStream, silence: Option<Duration>) -> Self {
        Self { stream, silence, asked: false, until: Box::pin(sleep(Duration::ZERO)) }
    }
}

impl AsyncRead for Answering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, to) {
            Poll::Ready(read) => {
                self.asked = false;
                Poll::Ready(read)
            }
            Poll::Pending if self.asked && self.until.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the database does not answer")))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Answering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let (Some(silence), false, Poll::Ready(Ok(_))) = (self.silence, self.asked, &written) {
            self.asked = true;
            self.until.as_mut().reset(Instant::now() + silence);
            // Why here: the read may wait already, and is to be woken at the new time. It is not over yet.
            let _ = self.until.as_mut().poll(cx);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Dialled {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.open() {
            Ok(stream) => stream.poll_read(cx, to),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Dialled {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.open() {
            Ok(stream) => stream.poll_write(cx, bytes),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.open() {
            Ok(stream) => stream.poll_flush(cx),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.open() {
            Ok(stream) => stream.poll_shutdown(cx),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as Backlog;
    use std::path::PathBuf;

    use portcullis_store_conformance::cluster::{Cluster, SUPERUSER};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;
    use tokio_postgres::config::SslMode;

    use super::*;

    const SILENCE: Duration = Duration::from_millis(100);

    /// Asks a server once; it answers if it is to.
    async fn asked(answers: bool) -> io::Result<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let question = stream.read_u8().await.unwrap();
            if answers {
                stream.write_u8(question).await.unwrap();
            }
            // Keeps the connection open until the test has ended.
            (stream.read(&mut [0]).await, stream)
        });
        let stream = dial(&OperatorPeer::socket(path)).await.unwrap();
        let mut stream = Answering::new(stream, Some(SILENCE));
        stream.write_u8(7).await.unwrap();
        let answer = stream.read_u8().await;
        if answers {
            // Nothing was asked since, so silence is no fault.
            tokio::time::timeout(SILENCE * 3, stream.read_u8()).await.unwrap_err();
        }
        server.abort();
        answer
    }

    #[tokio::test]
    async fn a_connection_whose_server_is_silent_after_a_question_ends_and_its_neighbour_stays() {
        assert_eq!(asked(false).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(asked(true).await.unwrap(), 7);
    }

    fn hosts(first: PathBuf, other: PathBuf) -> Dialling {
        let peer = |path: PathBuf| Peer { peer: OperatorPeer::socket(path), name: String::new() };
        let next = AtomicUsize::new(0);
        Dialling { first: peer(first), others: vec![peer(other)], next, tls: None, silence: None }
    }

    /// A host that takes connections and never says a word, as one that was stopped.
    fn silent(dir: &Path, name: &str) -> (Backlog, PathBuf) {
        let path = dir.join(name);
        let listener = Backlog::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        (listener, path)
    }

    fn asked_times(listener: &Backlog) -> usize {
        std::iter::from_fn(|| listener.accept().ok()).count()
    }

    fn as_owner() -> Config {
        let mut config = Config::new();
        config.user(SUPERUSER).dbname("postgres").ssl_mode(SslMode::Disable);
        config
    }

    #[tokio::test]
    async fn a_host_that_says_nothing_is_passed_over_and_not_asked_first_again() {
        let Some(cluster) = Cluster::shared() else { return };
        let dir = tempfile::tempdir().unwrap();
        let (listener, path) = silent(dir.path(), "silent");
        let hosts = hosts(path, cluster.dir().join(format!(".s.PGSQL.{}", cluster.port())));
        for _ in 0..3 {
            hosts.session(&as_owner()).await.map(drop).unwrap();
        }
        assert_eq!(asked_times(&listener), 1, "only the first connection waited for it");
    }

    #[tokio::test]
    async fn who_gives_up_early_begins_behind_the_host_that_was_silent() {
        let dir = tempfile::tempdir().unwrap();
        let ((one, first), (two, other)) = (silent(dir.path(), "1"), silent(dir.path(), "2"));
        let hosts = hosts(first, other);
        let config = as_owner();
        // Ended while the other host is asked.
        timeout(HOST_TIME * 3 / 2, hosts.session(&config)).await.map(drop).unwrap_err();
        assert_eq!((asked_times(&one), asked_times(&two)), (1, 1));
        let error = hosts.session(&config).await.map(drop).unwrap_err();
        assert!(describe(&error).contains("does not answer in time"), "{error}");
        assert_eq!((asked_times(&one), asked_times(&two)), (1, 1), "each once, and then it is an error");
        assert!(hosts.time() > HOST_TIME * 2, "both turns fit into the time of a caller");
    }
}
