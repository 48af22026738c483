//! One program that is asked one question: started, heard, and ended with all that it started. Nothing here waits without
//! a limit; what cannot be ended keeps its place until it has.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::OwnedSemaphorePermit;
use zeroize::Zeroizing;

/// Longest answer: a wrapped key and base64 around it, many times over.
pub(super) const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// How long a program that has answered may go on before it is killed: time for a script to remove what it made, on a busy
/// machine, too. Nobody waits for it, but its place is taken for as long.
const GRACE: Duration = Duration::from_secs(2);
/// How long a program that was killed is waited for by the thread that asked it. All others end at once.
const REAPED_WITHIN: Duration = Duration::from_millis(500);
/// How often it is looked whether a program has ended: less than one takes to start.
const LOOK: Duration = Duration::from_millis(2);

/// The place of a program among those that run at once. Whatever goes on of it has a share, so it is free when all is over.
pub(super) type Turn = Arc<OwnedSemaphorePermit>;

/// A program in a process group of its own. Whatever happens, the whole group is killed when it is dropped.
pub(super) struct Program {
    name: String,
    /// Invariant: there until it is dropped. It is not reaped before it is killed, so that its number is nobody else's.
    child: Option<Child>,
    turn: Turn,
}

impl Program {
    /// Starts it.
    pub(super) fn start(argv: &[String], turn: Turn) -> Result<Self, String> {
        let (name, arguments) = argv.split_first().ok_or("no program is named")?;
        let child = Command::new(name)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Standard error stays that of this process: what goes wrong there is for the operator.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{name} cannot be started: {error}"))?;
        Ok(Self { name: name.clone(), child: Some(child), turn })
    }

    /// Gives it the question, and returns the line that it answers.
    pub(super) fn ask(
        &mut self,
        question: Zeroizing<Vec<u8>>,
        most: Duration,
    ) -> Result<Zeroizing<Vec<u8>>, String> {
        let name = &self.name;
        let pipes = self.child.as_mut().map(|child| (child.stdin.take(), child.stdout.take()));
        let Some((Some(mut stdin), Some(stdout))) = pipes else { return Err(format!("{name} has no pipes")) };
        let threads = |error: std::io::Error| format!("a thread for {name} cannot be started: {error}");
        // Why ignored: a program that does not read to the end answers all the same, or not.
        beside(&self.turn, move || drop(stdin.write_all(&question))).map_err(threads)?;
        let (done, answer) = sync_channel(1);
        // Why ignored: nobody waits any more.
        beside(&self.turn, move || drop(done.send(read_line(stdout)))).map_err(threads)?;
        match answer.recv_timeout(most) {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(Ok(None)) => Err(format!("{name} ended without an answer")),
            Ok(Err(error)) => Err(format!("the answer of {name} cannot be read: {error}")),
            Err(RecvTimeoutError::Timeout) => {
                Err(format!("{name} did not answer within {} ms", most.as_millis()))
            }
            Err(RecvTimeoutError::Disconnected) => Err("the thread that reads its answer ended".to_owned()),
        }
    }

    /// Lets one that has answered end by itself, for a moment.
    pub(super) fn end(self) {
        let pid = self.child.as_ref().and_then(pid_of);
        // Why it stays to be reaped: so that its group can be killed by its number.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        holds_within(GRACE, || pid.is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None))));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else { return };
        // Why ignored: all of it may have ended.
        let _ = pid_of(&child).map(|group| kill_process_group(group, Signal::KILL));
        reap(&self.name, child, &self.turn);
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Waits for the end of a program that was killed. One that does not end, because the kernel or another user has it, is
/// waited for elsewhere.
fn reap(name: &str, mut child: Child, turn: &Turn) {
    if holds_within(REAPED_WITHIN, || !matches!(child.try_wait(), Ok(None))) {
        return;
    }
    tracing::error!(program = name, "it cannot be killed; it counts among those that run until it ends");
    if let Err(error) = beside(turn, move || drop(child.wait())) {
        tracing::error!(program = name, %error, "its end will not be seen; its place is lost");
        std::mem::forget(Arc::clone(turn));
    }
}

/// A thread that has a share of the place.
fn beside(turn: &Turn, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let turn = Arc::clone(turn);
    let thread = thread::Builder::new().name("key-program".to_owned());
    thread.spawn(move || {
        work();
        drop(turn);
    })?;
    Ok(())
}

/// Whether something comes to hold within this time.
fn holds_within(most: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if start.elapsed() >= most {
            return false;
        }
        thread::sleep(LOOK);
    }
}

/// The first line, without its end; `None` where there is none.
fn read_line(mut from: impl std::io::Read) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    // Allocated in full at once: growing would leave a copy behind.
    let mut line = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX));
    let mut chunk = Zeroizing::new([0; 1024]);
    loop {
        let read = from.read(chunk.as_mut_slice())?;
        let bytes = chunk.get(..read).unwrap_or_default();
        let end = bytes.iter().position(|b| *b == b'\n');
        let bytes = bytes.get(..end.unwrap_or(read)).unwrap_or_default();
        if line.len().saturating_add(bytes.len()) > ANSWER_BYTES_MAX {
            return Err(std::io::Error::other(format!("it is longer than {ANSWER_BYTES_MAX} bytes")));
        }
        line.extend_from_slice(bytes);
        if end.is_some() {
            return Ok(Some(line));
        }
        if read == 0 {
            return Ok((!line.is_empty()).then_some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::kill_process;
    use tokio::sync::Semaphore;

    use super::*;

    fn place() -> (Arc<Semaphore>, Turn) {
        let places = Arc::new(Semaphore::new(1));
        let turn = Arc::clone(&places).try_acquire_owned().unwrap();
        (places, Arc::new(turn))
    }

    fn until_free(places: &Semaphore) {
        assert!(
            holds_within(Duration::from_secs(20), || places.available_permits() == 1),
            "the place is free"
        );
    }

    #[test]
    fn a_program_that_does_not_end_is_not_waited_for_and_keeps_its_place_until_it_does() {
        let (places, turn) = place();
        // Nothing kills it: like one that the kernel or another user has.
        let child = Command::new("sleep").arg("987").spawn().unwrap();
        let pid = pid_of(&child).unwrap();
        let (told, returned) = sync_channel(1);
        thread::spawn(move || {
            reap("sleep", child, &turn);
            drop(turn);
            told.send(()).unwrap();
        });
        returned.recv_timeout(Duration::from_secs(60)).expect("who asked it waits for it");
        assert_eq!(places.available_permits(), 0, "it counts still");
        kill_process(pid, Signal::KILL).unwrap();
        until_free(&places);
    }

    #[test]
    fn a_program_that_ends_gives_its_place_back_with_all_that_it_started() {
        let (places, turn) = place();
        let argv = ["/bin/sh", "-c", "sleep 987 & read -r question; echo \"$question\"; sleep 987"];
        let mut program = Program::start(&argv.map(str::to_owned), turn).unwrap();
        let line = program.ask(Zeroizing::new(b"a question\n".to_vec()), Duration::from_secs(20)).unwrap();
        assert_eq!(line.as_slice(), b"a question");
        assert_eq!(places.available_permits(), 0);
        drop(program);
        until_free(&places);
    }
}
