//! Which runs are wanted: of whom, with what in their heads, in which order, from where on.
//!
//! A head is what every run has at the top of its body, such as its status. It is read from the body, so that runs
//! of every version are found alike. It does no I/O. Called by the backends and by the engine.

use std::borrow::Cow;
use std::fmt;

use portcullis_core::id::{OrgId, RunId, WorkspaceId};
use serde::Deserialize;

use super::RunRecord;

/// Whose runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunScope {
    Workspace(OrgId, WorkspaceId),
    Org(OrgId),
    All,
}

/// The order of a list. A workspace's runs are in the order in which they ended, exactly; those of several workspaces
/// by the time of their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunOrder {
    #[default]
    NewestFirst,
    OldestFirst,
}

/// What runs have in common; `None` matches everything.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    pub status: Option<String>,
    /// Class of the upstream's error.
    pub class: Option<String>,
    pub code: Option<String>,
    pub connector_id: Option<String>,
    /// The name of a connection.
    pub connection: Option<String>,
    pub action_id: Option<String>,
    pub automation_id: Option<String>,
    pub event_id: Option<String>,
    /// Ended at this time or later, microseconds since 1970.
    pub since_us: Option<u64>,
    /// Ended before this time, microseconds since 1970.
    pub until_us: Option<u64>,
}

/// A request for one page of runs.
#[derive(Debug, Clone)]
pub struct RunQuery {
    pub scope: RunScope,
    pub filter: RunFilter,
    pub order: RunOrder,
    /// Only runs after this place in that order.
    pub after: Option<RunCursor>,
    pub limit: usize,
}

/// One page of runs.
#[derive(Debug, Clone, Default)]
pub struct RunPage {
    /// Fewer than the limit if a look at more would have taken too long; then `next` is there.
    pub records: Vec<RunRecord>,
    /// Where the next page begins; `None` at the end of the list.
    pub next: Option<RunCursor>,
}

/// A place in a list of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunCursor {
    /// Before everything: what a page without any progress ends with.
    Start,
    /// After a run; only in the list of its workspace.
    Run(RunId),
    At(RunPlace),
}

/// A place that a page ended at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPlace {
    pub key: RunKey,
    /// Whether the place is before the record with this key, not after it.
    pub inclusive: bool,
    /// Whether it is one of a list of several workspaces.
    pub timed: bool,
}

/// What orders runs: a place in one log, and for several logs the time before it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunKey {
    /// When it ended, or a run before it in its log if that was later; zero in lists of one workspace.
    // Why not its own end alone: a log's order never changes, and the clock may go back.
    pub us: u64,
    pub org: OrgId,
    pub workspace: WorkspaceId,
    /// The file.
    pub unit: u64,
    /// Position in the file, or in the table.
    pub record: u64,
}

/// Hexadecimal digits of a UUID.
const UUID_DIGITS: usize = 32;

/// What a cursor's text begins with: whether it is of several workspaces, and whether it is inclusive.
const KINDS: [(&str, bool, bool); 4] =
    [("tx", true, false), ("ti", true, true), ("wx", false, false), ("wi", false, true)];

const START: &str = "at.start";

impl RunCursor {
    /// A cursor from its text: `next` of a page, or the id of a run.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == START {
            return Some(Self::Start);
        }
        if !text.contains('.') {
            return RunId::parse(text).ok().map(Self::Run);
        }
        let mut parts = text.split('.');
        let mut next = || parts.next();
        let kind = next()?;
        let (_, timed, inclusive) = KINDS.into_iter().find(|(name, ..)| *name == kind)?;
        let us = next()?.parse().ok()?;
        let org = OrgId::parse(next()?).ok()?;
        let workspace = WorkspaceId::parse(next()?).ok()?;
        let (unit, record) = (next()?.parse().ok()?, next()?.parse().ok()?);
        let key = RunKey { us, org, workspace, unit, record };
        next().is_none().then_some(Self::At(RunPlace { key, inclusive, timed }))
    }
}

impl fmt::Display for RunCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str(START),
            Self::Run(run) => f.write_str(run.as_str()),
            Self::At(RunPlace { key, inclusive, timed }) => {
                let kinds = KINDS.iter().find(|(_, t, i)| t == timed && i == inclusive);
                let kind = kinds.map_or("wx", |(name, ..)| name);
                let RunKey { us, org, workspace, unit, record } = key;
                write!(f, "{kind}.{us}.{org}.{workspace}.{unit}.{record}")
            }
        }
    }
}

/// Where a list starts, in its order.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) order: RunOrder,
    pub(super) place: Option<RunPlace>,
}

impl Start {
    /// Whether a record is after the start.
    pub(super) fn allows(&self, key: &RunKey) -> bool {
        let Some(place) = &self.place else { return true };
        if place.inclusive && *key == place.key {
            return true;
        }
        match self.order {
            RunOrder::NewestFirst => *key < place.key,
            RunOrder::OldestFirst => *key > place.key,
        }
    }

    /// Whether something between two keys may be after the start.
    pub(super) fn allows_between(&self, low: &RunKey, high: &RunKey) -> bool {
        match self.order {
            RunOrder::NewestFirst => self.allows(low),
            RunOrder::OldestFirst => self.allows(high),
        }
    }

    /// The key, or the start if the key is before it.
    pub(super) fn clip(&self, key: RunKey) -> RunKey {
        match (&self.place, self.order) {
            (None, _) => key,
            (Some(place), RunOrder::NewestFirst) => key.min(place.key.clone()),
            (Some(place), RunOrder::OldestFirst) => key.max(place.key.clone()),
        }
    }
}

/// The head of a run.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    class: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    code: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    connector_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    connection: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    action_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    automation_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    event_id: Option<Cow<'a, str>>,
}

/// A record of which only the head of its body is read.
#[derive(Deserialize)]
struct Around<'a> {
    #[serde(borrow)]
    body: Head<'a>,
}

impl Head<'_> {
    fn each(self, mut seen: impl FnMut(&'static str, &str)) {
        // Destructured, so that a new member is not forgotten.
        let Self { status, class, code, connector_id, connection, action_id, automation_id, event_id } = self;
        let terms = [
            ("status", status),
            ("class", class),
            ("code", code),
            ("connector_id", connector_id),
            ("connection", connection),
            ("action_id", action_id),
            ("automation_id", automation_id),
            ("event_id", event_id),
        ];
        for (name, value) in terms {
            if let Some(value) = value {
                seen(name, &value);
            }
        }
    }
}

/// Calls `seen` with each member of the head in the text of a record; not at all if it has none.
pub fn each_term(record: &[u8], seen: impl FnMut(&'static str, &str)) {
    if let Ok(Around { body }) = serde_json::from_slice(record) {
        body.each(seen);
    }
}

impl RunFilter {
    /// What must be in a head.
    pub fn terms(&self) -> impl Iterator<Item = (&'static str, &str)> {
        // Destructured, so that a new member is not forgotten.
        let Self {
            status,
            class,
            code,
            connector_id,
            connection,
            action_id,
            automation_id,
            event_id,
            since_us: _,
            until_us: _,
        } = self;
        let terms = [
            ("status", status),
            ("class", class),
            ("code", code),
            ("connector_id", connector_id),
            ("connection", connection),
            ("action_id", action_id),
            ("automation_id", automation_id),
            ("event_id", event_id),
        ];
        terms.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// Whether a time is in the range.
    #[must_use]
    pub fn matches_time(&self, ended_us: u64) -> bool {
        self.since_us.is_none_or(|since| ended_us >= since)
            && self.until_us.is_none_or(|until| ended_us < until)
    }

    /// Whether some time from `from_us` to `to_us` is in the range.
    pub(super) fn overlaps(&self, from_us: u64, to_us: u64) -> bool {
        self.since_us.is_none_or(|since| to_us >= since) && self.until_us.is_none_or(|until| from_us < until)
    }

    /// Whether the head in the text of a record has all that is wanted.
    #[must_use]
    pub fn matches_record(&self, record: &[u8]) -> bool {
        self.matches(|seen| each_term(record, seen))
    }

    /// Whether the head of a body has all that is wanted.
    pub(super) fn matches_body(&self, body: &str) -> bool {
        self.matches(|seen| {
            if let Ok(head) = serde_json::from_str::<Head<'_>>(body) {
                head.each(seen);
            }
        })
    }

    fn matches(&self, head: impl FnOnce(&mut dyn FnMut(&'static str, &str))) -> bool {
        let wanted = self.terms().count();
        let mut met = 0_usize;
        if wanted > 0 {
            head(&mut |name, value| {
                if self.terms().any(|(other, wish)| other == name && wish == value) {
                    met = met.saturating_add(1);
                }
            });
        }
        met == wanted
    }
}

/// When a run ended, microseconds since 1970; its start if the time cannot be read.
#[must_use]
pub fn ended_us(created_at: &str, run: &str) -> u64 {
    let ended = created_at.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond);
    let ended = ended.and_then(|us| u64::try_from(us).ok());
    ended.or_else(|| started_ms(run).map(|ms| ms.saturating_mul(1000))).unwrap_or_default()
}

/// When a run started: the first 48 bits of its UUIDv7 (RFC 9562 section 5.7), milliseconds since 1970. `None` for an id
/// of another form: no run has such a one.
pub(super) fn started_ms(run: &str) -> Option<u64> {
    let uuid = run.strip_prefix("run_").filter(|uuid| uuid.len() == UUID_DIGITS)?;
    let is_made = uuid.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_version_7 = uuid.as_bytes().get(12) == Some(&b'7');
    u64::from_str_radix(uuid.get(..12).filter(|_| is_made && is_version_7)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(timed: bool, inclusive: bool) -> RunCursor {
        let (org, workspace) = (OrgId::parse("a-b_c").unwrap(), WorkspaceId::parse("main").unwrap());
        let key = RunKey { us: 1_795_343_400_000_001, org, workspace, unit: 1 << 32, record: u64::MAX };
        RunCursor::At(RunPlace { key, inclusive, timed })
    }

    #[test]
    fn a_cursor_comes_back_from_its_text_and_its_neighbours_are_none() {
        let run = RunCursor::Run(RunId::parse("run_1").unwrap());
        let places = [place(true, true), place(true, false), place(false, true), place(false, false)];
        for cursor in places.into_iter().chain([RunCursor::Start, run]) {
            assert_eq!(RunCursor::parse(&cursor.to_string()), Some(cursor));
        }
        let sound = place(true, true).to_string();
        for bad in
            ["", ".", "at.", "tx.", "tx.1.acme.main.1", "xx.1.acme.main.1.1", "tx.-1.acme.main.1.1", "a/b"]
        {
            assert_eq!(RunCursor::parse(bad), None, "{bad:?}");
        }
        assert_eq!(RunCursor::parse(&format!("{sound}.1")), None);
    }

    #[test]
    fn a_filter_matches_what_a_head_has_and_nothing_deeper() {
        let body =
            r#"{"run_id":"run_1","status":"failed","code":"upstream\u005fstatus","error":{"class":"auth"}}"#;
        let filter = |change: fn(&mut RunFilter)| {
            let mut filter = RunFilter::default();
            change(&mut filter);
            filter
        };
        assert!(RunFilter::default().matches_body("[]"), "nothing is wanted");
        assert!(filter(|f| f.status = Some("failed".to_owned())).matches_body(body));
        assert!(filter(|f| f.code = Some("upstream_status".to_owned())).matches_body(body), "escaped");
        for other in [
            filter(|f| f.status = Some("succeeded".to_owned())),
            filter(|f| f.class = Some("auth".to_owned())),
            filter(|f| (f.status, f.event_id) = (Some("failed".to_owned()), Some("1".to_owned()))),
        ] {
            assert!(!other.matches_body(body), "{other:?}");
        }
        assert!(!filter(|f| f.status = Some("failed".to_owned())).matches_body("[]"));
    }

    #[test]
    fn only_an_id_as_runs_have_it_says_when_its_run_started() {
        let made = "run_0000000000ff7abc8def0123456789ab";
        assert_eq!(started_ms(made), Some(255));
        for other in [
            "run_x",
            "run_0000000000ff",
            &made.replace("run", "job"),
            &made.replace('7', "4"),
            &made.to_uppercase().replace("RUN", "run"),
            &format!("{made}0"),
            &made[..made.len() - 1],
        ] {
            assert_eq!(started_ms(other), None, "{other}");
        }
    }

    #[test]
    fn the_time_of_an_end_is_read_and_the_start_stands_in_for_one_that_is_none() {
        assert_eq!(ended_us("2026-01-01T00:00:00.000001Z", "run_1"), 1_767_225_600_000_001);
        assert_eq!(ended_us("no time", "run_0000000000ff7abc8def0123456789ab"), 255_000);
        assert_eq!((ended_us("", "x"), ended_us("1960-01-01T00:00:00Z", "x")), (0, 0));
    }
}
