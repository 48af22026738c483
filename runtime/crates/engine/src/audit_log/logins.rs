//! Failed logins in the audit log: counted by source in memory, and written once a minute, a record for each source. A
//! flood is a few records a minute, in a chain of its own, whatever its size and wherever it comes from.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;

use portcullis_core::sync::lock;
use portcullis_store::{AuditActor, AuditEvent, AuditScope, StoreError};

use super::{NOBODY, acts};
use crate::clock::now_ms;
use crate::engine::Engine;

/// What the records name.
const TARGET: &str = "login";

/// The failed logins since they were last written.
#[derive(Default)]
pub(super) struct FailedLogins(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    /// By address, or by the /64 that a host of IPv6 has.
    sources: HashMap<IpAddr, u64>,
    /// Those of further sources, and of unknown ones.
    others: u64,
}

impl FailedLogins {
    fn note(&self, source: Option<IpAddr>, sources_max: usize) {
        let mut counts = lock(&self.0);
        let Some(source) = source.map(network) else {
            counts.others = counts.others.saturating_add(1);
            return;
        };
        let has_room = counts.sources.len() < sources_max;
        match counts.sources.get_mut(&source) {
            Some(count) => *count = count.saturating_add(1),
            None if has_room => drop(counts.sources.insert(source, 1)),
            None => counts.others = counts.others.saturating_add(1),
        }
    }

    fn take(&self) -> Counts {
        std::mem::take(&mut *lock(&self.0))
    }

    /// Notes that these could not be written. Those of sources that have no room any more are counted with the others.
    fn give_back(&self, taken: Counts, sources_max: usize) {
        let mut counts = lock(&self.0);
        counts.others = counts.others.saturating_add(taken.others);
        for (source, count) in taken.sources {
            if counts.sources.len() < sources_max || counts.sources.contains_key(&source) {
                let own = counts.sources.entry(source).or_default();
                *own = own.saturating_add(count);
            } else {
                counts.others = counts.others.saturating_add(count);
            }
        }
    }
}

impl Counts {
    /// A record for each source, in the order of their addresses, and one for all others.
    fn events(&self) -> Vec<AuditEvent> {
        let mut sources: Vec<(&IpAddr, u64)> =
            self.sources.iter().map(|(source, count)| (source, *count)).collect();
        sources.sort();
        let of = |address: Option<String>, count| AuditEvent {
            at_ms: now_ms(),
            actor: AuditActor { role: NOBODY.to_owned(), ..AuditActor::default() },
            address,
            action: acts::FAILED_LOGIN.to_owned(),
            target: TARGET.to_owned(),
            before: None,
            after: None,
            request_id: None,
            count: Some(count),
        };
        let mut events: Vec<AuditEvent> =
            sources.into_iter().map(|(source, count)| of(Some(shown(source)), count)).collect();
        if self.others > 0 {
            events.push(of(None, self.others));
        }
        events
    }
}

/// What counts as one source: an IPv4 address, or the /64 that a host of IPv6 has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

fn shown(source: &IpAddr) -> String {
    match source {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(network) => format!("{network}/64"),
    }
}

fn sources_max(engine: &Engine) -> usize {
    usize::try_from(engine.limits().audit_login_sources).unwrap_or(usize::MAX)
}

/// Counts a failed login of this source.
pub fn note(engine: &Engine, source: Option<IpAddr>) {
    engine.resources.audit.logins.note(source, sources_max(engine));
}

/// Writes the failed logins that are not written yet. Called once a minute, and when the process stops.
///
/// # Errors
/// Those of the store; what could not be written is tried again the next time.
pub async fn keep(engine: &Engine) -> Result<(), StoreError> {
    let desk = &engine.resources.audit;
    let taken = desk.logins.take();
    let events = taken.events();
    if events.is_empty() {
        return Ok(());
    }
    let written = desk.add(AuditScope::Logins, events).await;
    if written.is_err() {
        desk.logins.give_back(taken, sources_max(engine));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn told(counts: &Counts) -> Vec<(Option<String>, u64)> {
        counts.events().into_iter().map(|event| (event.address, event.count.unwrap())).collect()
    }

    #[test]
    fn a_flood_of_many_sources_is_a_few_records_and_none_is_left_uncounted() {
        let logins = FailedLogins::default();
        for number in 0..1000_u32 {
            logins.note(Some(IpAddr::V4(number.into())), 2);
        }
        for host in ["2001:db8::1", "2001:db8::2"] {
            logins.note(at(host), 3);
        }
        logins.note(None, 3);
        let counts = logins.take();
        let text = |address: &str| Some(address.to_owned());
        let expected = [(text("0.0.0.0"), 1), (text("0.0.0.1"), 1), (text("2001:db8::/64"), 2), (None, 999)];
        assert_eq!(told(&counts), expected);
        assert!(told(&logins.take()).is_empty());
        logins.note(at("192.0.2.1"), 3);
        logins.give_back(counts, 3);
        let again = logins.take();
        assert_eq!(again.sources.len(), 3);
        assert_eq!(again.sources.values().sum::<u64>() + again.others, 1004);
    }
}
