//! Lines on their way to a reader that may be slow, stalled or gone: a bounded queue and the thread that empties it.
//!
//! Why not `tracing-appender`: its queue is bounded in lines and not in bytes, and a line that could not be written is
//! not counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use portcullis_core::limits::Limits;
use portcullis_core::sync::{lock, whole};

/// Bytes of one write, in whole lines: a pipe takes so many at once or not at all (PIPE_BUF), so lines of several
/// processes do not mix.
const WRITE_BYTES: usize = 4096;
/// Pause before a file that takes nothing at the moment is tried again.
const PAUSE: Duration = Duration::from_millis(10);

/// The queue.
pub(crate) struct LineQueue {
    state: Mutex<State>,
    changed: Condvar,
    bytes_max: AtomicUsize,
    lost: AtomicU64,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Whether the thread is writing what it took.
    writing: bool,
}

impl LineQueue {
    /// Starts the thread, which ends with the process. `report` is called after a write that succeeded, with the
    /// number of lines lost since the last one.
    pub(crate) fn start(
        to: impl Write + Send + 'static,
        report: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            bytes_max: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
        });
        queue.bound(Limits::default().log_queue_bytes);
        let of_thread = Arc::clone(&queue);
        let writer = Writer { to, torn: false };
        std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || of_thread.run(writer, &report))?;
        Ok(queue)
    }

    /// How many bytes may wait.
    pub(crate) fn bound(&self, bytes: u64) {
        self.bytes_max.store(usize::try_from(bytes).unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// Takes whole lines, or counts them as lost if there is no room. Never waits for the reader.
    pub(crate) fn push(&self, lines: &[u8]) {
        let mut state = lock(&self.state);
        if state.waiting.len().saturating_add(lines.len()) > self.bytes_max.load(Ordering::Relaxed) {
            drop(state);
            self.lose(lines);
            return;
        }
        state.waiting.extend_from_slice(lines);
        drop(state);
        self.changed.notify_all();
    }

    /// Number of lines that were never written.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, at most this long.
    pub(crate) fn wait_until_written(&self, at_most: Duration) {
        let until = Instant::now() + at_most;
        let mut state = lock(&self.state);
        while state.writing || !state.waiting.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = whole(self.changed.wait_timeout(state, left)).0;
        }
    }

    fn lose(&self, lines: &[u8]) {
        let count = lines.iter().filter(|byte| **byte == b'\n').count();
        self.lost.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn run<W: Write>(&self, mut writer: Writer<W>, report: &impl Fn(u64)) {
        let mut taken = Vec::new();
        let mut reported = 0;
        loop {
            self.take(&mut taken);
            let mut rest = taken.as_slice();
            while !rest.is_empty() {
                let (piece, more) = rest.split_at_checked(whole_lines(rest)).unwrap_or((rest, &[]));
                match writer.write(piece) {
                    Ok(()) if self.lost() > reported => {
                        let lost = self.lost();
                        report(lost - reported);
                        reported = lost;
                    }
                    Ok(()) => {}
                    Err(unwritten) => self.lose(unwritten),
                }
                rest = more;
            }
            taken.clear();
        }
    }

    /// Waits for lines and takes all of them.
    fn take(&self, into: &mut Vec<u8>) {
        let mut state = lock(&self.state);
        state.writing = false;
        self.changed.notify_all();
        while state.waiting.is_empty() {
            state = whole(self.changed.wait(state));
        }
        std::mem::swap(&mut state.waiting, into);
        state.writing = true;
    }
}

/// How many bytes of a text are whole lines for one write; a line that is longer goes alone.
fn whole_lines(text: &[u8]) -> usize {
    let end = |piece: &[u8]| piece.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
    let first = || text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at + 1);
    text.get(..WRITE_BYTES).map_or(Some(text.len()), end).unwrap_or_else(first)
}

struct Writer<W> {
    to: W,
    /// Whether a line was written in part, so that the next one has to begin anew.
    torn: bool,
}

impl<W: Write> Writer<W> {
    /// Writes whole lines; the error is what was not written.
    fn write<'l>(&mut self, lines: &'l [u8]) -> Result<(), &'l [u8]> {
        if self.torn && self.all(b"\n").is_err() {
            return Err(lines);
        }
        self.torn = false;
        self.all(lines).map_err(|written| {
            let (done, left) = lines.split_at_checked(written).unwrap_or((lines, &[]));
            self.torn = done.last().is_some_and(|byte| *byte != b'\n');
            left
        })
    }

    /// Writes everything; the error is how much was written before the one that ended it.
    fn all(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.to.write(rest) {
                Ok(0) => return Err(written),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                Err(_) => return Err(written),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A reader that takes what the test lets it take: each `Some(n)` is a write of at most `n` bytes, each `None` a
    /// full disk.
    struct Reader {
        allowed: mpsc::Receiver<Option<usize>>,
        text: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most = self.allowed.recv().unwrap_or(Some(usize::MAX));
            let most = most.ok_or_else(|| io::Error::from(io::ErrorKind::StorageFull))?;
            let count = bytes.len().min(most);
            lock(&self.text).extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Scene {
        queue: Arc<LineQueue>,
        allow: mpsc::Sender<Option<usize>>,
        text: Arc<Mutex<Vec<u8>>>,
        reports: mpsc::Receiver<u64>,
    }

    fn scene() -> Scene {
        let (allow, allowed) = mpsc::channel();
        let (tell, reports) = mpsc::channel();
        let text = Arc::new(Mutex::new(Vec::new()));
        let reader = Reader { allowed, text: Arc::clone(&text) };
        let queue = LineQueue::start(reader, move |lost| tell.send(lost).unwrap()).unwrap();
        Scene { queue, allow, text, reports }
    }

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_stalled_reader_costs_lines_beyond_the_bound_and_no_time() {
        let Scene { queue, allow, text, reports } = scene();
        queue.bound(20);
        queue.push(b"taken\n");
        // The thread has it and waits for the reader.
        while !lock(&queue.state).writing {
            std::thread::yield_now();
        }
        for _ in 0..5 {
            queue.push(b"0123456789\n");
        }
        assert_eq!(queue.lost(), 4);
        queue.wait_until_written(Duration::from_millis(1));
        drop(allow);
        queue.wait_until_written(SOON);
        assert_eq!(*lock(&text), b"taken\n0123456789\n");
        assert_eq!(reports.recv_timeout(SOON), Ok(4));
        queue.push(b"again\n");
        queue.wait_until_written(SOON);
        assert!(lock(&text).ends_with(b"again\n"));
        assert!(reports.try_recv().is_err(), "it is told once");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_the_next_line_begins_anew() {
        let Scene { queue, allow, text, reports } = scene();
        allow.send(None).unwrap();
        queue.push(b"a\nb\n");
        queue.wait_until_written(SOON);
        assert_eq!(queue.lost(), 2);
        // Cut in the middle of its second line.
        allow.send(Some(4)).unwrap();
        allow.send(None).unwrap();
        queue.push(b"ok\nlost\n");
        queue.wait_until_written(SOON);
        assert_eq!(queue.lost(), 3);
        drop(allow);
        queue.push(b"whole\n");
        queue.wait_until_written(SOON);
        assert_eq!(*lock(&text), b"ok\nl\nwhole\n");
        assert_eq!(reports.recv_timeout(SOON), Ok(3));
    }

    #[test]
    fn writes_are_of_whole_lines() {
        let line = [b"x".repeat(1500), b"\n".to_vec()].concat();
        assert_eq!(whole_lines(&line.repeat(2)), 3002);
        assert_eq!(whole_lines(&line.repeat(3)), 3002, "two fit");
        let long = [b"x".repeat(9000), b"\n".to_vec()].concat();
        assert_eq!(whole_lines(&[long.clone(), line].concat()), 9001, "one that is longer goes alone");
        assert_eq!(whole_lines(b"a\n"), 2);
    }
}
