//! Master keys that stay in a service, such as a KMS, a PKCS#11 token or Vault: a program of the operator's asks it.
//!
//! ```text
//! one process a question; one line of JSON in, one line out, base64 where it says so
//! {"op":"keys"}                                                        {"keys":["name",…]}
//! {"op":"wrap","key":"name","plaintext":"…","associated":"…"}          {"ciphertext":"text"}
//! {"op":"unwrap","key":"name","ciphertext":"text","associated":"…"}    {"plaintext":"…"}
//!                                                          any of them {"error":"text"}
//! ```
//!
//! What the service wraps is a key of 32 bytes that is used once: the key of a workspace is wrapped with that one, here,
//! and bound to what it is for, whatever the service does with `associated`. The program is started without a shell, in a
//! process group of its own that is killed a moment after it has answered, or when its time is up. A question goes on to its
//! end if whoever asked is gone: its place among those that run, and what is noted of a failure, belong to it.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portcullis_core::sync::lock;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::task::BoxFuture;

use self::program::{ANSWER_BYTES_MAX, Program};
use super::kek::{KekProvider, KeyId};
use super::random::{OsRandom, RandomSource};
use super::{KeyBytes, VaultError, wrap};

mod program;

/// Longest text of a wrapped key. Those of known services have some 200 bytes, those of RSA with 4096 bits 700.
const CIPHERTEXT_BYTES_MAX: usize = 4096;
/// Longest name of a key.
const NAME_BYTES_MAX: usize = 200;
/// Keys that a service may list: as many as a ring of lines has.
const KEYS_MAX: usize = 16;
/// Programs at once: a service answers some in parallel, and more would only wait there. A question waits for one of these
/// places as long as for an answer.
const AT_ONCE: usize = 8;
/// How long nothing is asked after a service did not answer: callers are told at once, and it is not flooded.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// What of an error's text is told.
const WORDS_MAX: usize = 300;
/// Version of the form in which a key is stored.
const FORM: u8 = 1;

/// How the program is used.
#[derive(Debug, Clone)]
pub struct CommandOptions {
    /// The program and its arguments; at least the program.
    pub argv: Vec<String>,
    /// How long one answer may take, and how long a question waits before its program is started.
    pub timeout: Duration,
    /// How long what it opened may be used before it is asked again.
    pub opened_for: Duration,
}

/// Master keys behind a program.
pub struct CommandKeys {
    asked: Arc<Asked>,
    /// Ids and names.
    keys: Vec<(KeyId, String)>,
    turns: Arc<Semaphore>,
    random: OsRandom,
}

/// What a question needs that goes on by itself.
struct Asked {
    options: CommandOptions,
    /// When it last did not answer, and why.
    failed: Mutex<Option<(Instant, String)>>,
}

impl fmt::Debug for CommandKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandKeys").field("keys", &self.keys).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Question<'a> {
    Keys,
    Wrap { key: &'a str, plaintext: &'a str, associated: &'a str },
    Unwrap { key: &'a str, ciphertext: &'a str, associated: &'a str },
}

/// Why not `deny_unknown_fields`: a program may pass on more of what its service says.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    keys: Option<Vec<String>>,
    #[serde(default)]
    ciphertext: Option<String>,
    #[serde(default)]
    plaintext: Option<Wiped>,
    #[serde(default)]
    error: Option<String>,
}

/// A text that is wiped when it is dropped.
#[derive(Deserialize)]
#[serde(from = "String")]
struct Wiped(Zeroizing<String>);

impl From<String> for Wiped {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

fn failed(why: impl Into<String>) -> VaultError {
    VaultError::Provider(why.into())
}

impl CommandKeys {
    /// Asks the program for its keys.
    ///
    /// # Errors
    /// [`VaultError::Provider`] if it does not start, does not answer in time, or answers something else.
    pub async fn open(options: CommandOptions) -> Result<Self, VaultError> {
        let own = Self {
            asked: Arc::new(Asked { options, failed: Mutex::default() }),
            keys: Vec::new(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            random: OsRandom,
        };
        let names = own.ask(&Question::Keys).await?.keys.ok_or_else(|| failed("the answer has no `keys`"))?;
        let mut keys: Vec<(KeyId, String)> = Vec::with_capacity(names.len());
        for name in names {
            let fits = !name.is_empty()
                && name.len() <= NAME_BYTES_MAX
                && name.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
            let id = KeyId::derive("portcullis master key name v1", name.as_bytes());
            if !fits || keys.iter().any(|(own, _)| *own == id) {
                return Err(failed(
                    "a name in `keys` is there twice, or is not 1 to 200 printable characters",
                ));
            }
            keys.push((id, name));
        }
        if keys.is_empty() || keys.len() > KEYS_MAX {
            return Err(failed(format!("`keys` has {} names; it must have 1 to {KEYS_MAX}", keys.len())));
        }
        Ok(Self { keys, ..own })
    }

    fn name(&self, id: &KeyId) -> Result<&str, VaultError> {
        let found = self.keys.iter().find(|(own, _)| own == id);
        let (_, name) = found.ok_or_else(|| VaultError::MasterKeyMissing { key_id: id.to_string() })?;
        Ok(name)
    }

    async fn ask(&self, question: &Question<'_>) -> Result<Answer, VaultError> {
        let waiting = timeout(self.asked.options.timeout, Arc::clone(&self.turns).acquire_owned());
        let turn = match waiting.await {
            Ok(turn) => turn.map_err(|_| failed("the process stops"))?,
            Err(_) => {
                return Err(failed(format!(
                    "master_key_command: {AT_ONCE} programs run, and none of them ended"
                )));
            }
        };
        if let Some((at, why)) = &*lock(&self.asked.failed)
            && at.elapsed() < AFTER_FAILURE
        {
            return Err(failed(why.clone()));
        }
        let mut line = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX));
        serde_json::to_writer(&mut *line, question).map_err(|_| failed("the question cannot be written"))?;
        line.push(b'\n');
        let (told, answered) = oneshot::channel();
        let asked = Arc::clone(&self.asked);
        // Why not awaited: the program may go on for a moment when it has answered.
        drop(tokio::task::spawn_blocking(move || asked.exchange(line, turn, told)));
        let answer = answered.await.unwrap_or_else(|_| Err("the thread that asks it ended".to_owned()));
        let answer = answer.map_err(failed)?;
        match &answer.error {
            Some(text) => Err(failed(format!("master_key_command: it says: {}", words(text)))),
            None => Ok(answer),
        }
    }
}

/// What of a text can be shown in one line.
fn words(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX).collect()
}

impl Asked {
    /// Asks the program. What it answers is told at once; then the program ends.
    fn exchange(
        &self,
        question: Zeroizing<Vec<u8>>,
        turn: OwnedSemaphorePermit,
        told: oneshot::Sender<Result<Answer, String>>,
    ) {
        let mut started = None;
        let line = Program::start(&self.options.argv, Arc::new(turn))
            .and_then(|program| started.insert(program).ask(question, self.options.timeout));
        let has_answered = line.is_ok();
        let answer = line.and_then(|line| {
            serde_json::from_slice::<Answer>(&line)
                .map_err(|_| "it does not answer with a line of JSON".to_owned())
        });
        let answer = answer.map_err(|why| {
            let why = format!("master_key_command: {why}");
            *lock(&self.failed) = Some((Instant::now(), why.clone()));
            why
        });
        // Why ignored: whoever asked may be gone.
        drop(told.send(answer));
        if let Some(program) = started.filter(|_| has_answered) {
            program.end();
        }
    }
}

impl KekProvider for CommandKeys {
    fn key_ids(&self) -> Vec<KeyId> {
        self.keys.iter().map(|(id, _)| id.clone()).collect()
    }

    fn name_of(&self, id: &KeyId) -> Option<String> {
        self.name(id).ok().map(str::to_owned)
    }

    fn wrap_key<'a>(
        &'a self,
        id: &'a KeyId,
        associated: &'a [u8],
        key: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Vec<u8>, VaultError>> {
        Box::pin(async move {
            let name = self.name(id)?;
            let mut once = KeyBytes::default();
            self.random.fill(&mut *once)?;
            let mut plaintext = Zeroizing::new(String::with_capacity(64));
            BASE64.encode_string(*once, &mut plaintext);
            let bound = BASE64.encode(associated);
            let question = Question::Wrap { key: name, plaintext: &plaintext, associated: &bound };
            let ciphertext = self.ask(&question).await?.ciphertext;
            let ciphertext = ciphertext.ok_or_else(|| failed("the answer has no `ciphertext`"))?;
            let fits = !ciphertext.is_empty() && ciphertext.bytes().all(|b| b.is_ascii_graphic());
            let length = u16::try_from(ciphertext.len()).ok();
            let length = length.filter(|length| fits && usize::from(*length) <= CIPHERTEXT_BYTES_MAX);
            let length = length.ok_or_else(|| {
                failed(format!(
                    "`ciphertext` is not 1 to {CIPHERTEXT_BYTES_MAX} printable characters without spaces"
                ))
            })?;
            let mut stored = vec![FORM];
            stored.extend_from_slice(&length.to_be_bytes());
            stored.extend_from_slice(ciphertext.as_bytes());
            stored.extend_from_slice(&wrap::wrap(&once, associated, key, &self.random)?);
            Ok(stored)
        })
    }

    fn unwrap_key<'a>(
        &'a self,
        id: &'a KeyId,
        associated: &'a [u8],
        wrapped: &'a [u8],
    ) -> BoxFuture<'a, Result<Zeroizing<[u8; 32]>, VaultError>> {
        Box::pin(async move {
            let name = self.name(id)?;
            let (ciphertext, body) = split(wrapped)?;
            let bound = BASE64.encode(associated);
            let answer = self.ask(&Question::Unwrap { key: name, ciphertext, associated: &bound }).await?;
            let Wiped(text) = answer.plaintext.ok_or_else(|| failed("the answer has no `plaintext`"))?;
            let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
            let decoded = BASE64.decode_vec(text.as_bytes(), &mut bytes).is_ok();
            let once = bytes.first_chunk::<32>().filter(|_| decoded && bytes.len() == 32);
            let once = Zeroizing::new(*once.ok_or_else(|| failed("`plaintext` is not base64 of 32 bytes"))?);
            wrap::unwrap(&once, associated, body)
        })
    }

    fn opened_for(&self) -> Option<Duration> {
        Some(self.asked.options.opened_for)
    }
}

/// The service's text and what is wrapped with the key in it.
fn split(wrapped: &[u8]) -> Result<(&str, &[u8]), VaultError> {
    const MALFORMED: VaultError = VaultError::Malformed("a key was not wrapped by a service");
    let (form, rest) = wrapped.split_first().ok_or(MALFORMED)?;
    let (length, rest) = rest.split_first_chunk::<2>().filter(|_| *form == FORM).ok_or(MALFORMED)?;
    let (text, body) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(MALFORMED)?;
    Ok((std::str::from_utf8(text).map_err(|_| MALFORMED)?, body))
}

#[cfg(test)]
mod tests;
