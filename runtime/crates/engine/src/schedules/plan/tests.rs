//! Tests of the steps of a schedule, with a clock that goes where the test wants it.

use portcullis_core::cron::{Cron, time_zone};
use portcullis_core::id::{AutomationId, OrgId};

use super::*;

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

fn ms(text: &str) -> u64 {
    millis(text.parse().unwrap())
}

fn times(cron: &str, zone: &str) -> Times {
    Times { cron: Cron::parse(cron).unwrap(), zone: time_zone(zone).unwrap() }
}

fn moment(now_ms: u64) -> Moment {
    Moment { now_ms, grace_ms: MINUTE, lease_ms: 15_000 }
}

/// A schedule as it is saved at this time.
fn saved(times: &Times, now_ms: u64) -> ScheduleRecord {
    let next_at_ms = next_ms(times, now_ms);
    ScheduleRecord {
        org: OrgId::parse("acme").unwrap(),
        automation_id: AutomationId::parse("auto_1").unwrap(),
        cron: String::new(),
        timezone: String::new(),
        due_ms: next_at_ms,
        next_at_ms,
        previous_at_ms: None,
        since_ms: now_ms,
        missed: None,
        firing: None,
        last: None,
    }
}

/// A process with a clock.
struct Process<'t> {
    times: &'t Times,
    record: ScheduleRecord,
    catches_up: bool,
    last_ms: u64,
    /// What fired: the time, and the one before.
    fired: Vec<(u64, Option<u64>)>,
}

impl<'t> Process<'t> {
    fn new(times: &'t Times, catches_up: bool, now: &str) -> Self {
        let now_ms = ms(now);
        Self { times, record: saved(times, now_ms), catches_up, last_ms: now_ms, fired: Vec::new() }
    }

    /// The clock shows this, and everything is done that is due.
    fn at(&mut self, now_ms: u64) {
        if now_ms < self.last_ms {
            rewind(self.times, &mut self.record, now_ms);
        }
        self.last_ms = now_ms;
        for _ in 0..10_000 {
            if self.record.due_ms.is_none_or(|due| due > now_ms) {
                return;
            }
            if step(self.times, self.catches_up, moment(now_ms), &mut self.record) != Step::Rest {
                let firing = self.record.firing.clone().unwrap();
                self.fired.push((firing.at_ms, firing.previous_at_ms));
                advance(&mut self.record, Batch { after: None, runs: 1, is_over: true }, now_ms);
            }
        }
        panic!("it does not come to rest: {:?}", self.record);
    }

    /// Runs from one time to another, a look each ten seconds.
    fn run(&mut self, from: &str, until: &str) {
        let mut now = ms(from);
        while now <= ms(until) {
            self.at(now);
            now += 10_000;
        }
    }

    fn told(&self) -> Vec<String> {
        self.fired.iter().map(|(at, _)| timestamp(*at).to_string()).collect()
    }
}

#[test]
fn each_time_fires_once_and_knows_the_one_before() {
    let times = times("*/15 * * * *", "UTC");
    let mut process = Process::new(&times, false, "2026-11-30T08:59:59Z");
    process.run("2026-11-30T08:59:59Z", "2026-11-30T09:31:00Z");
    let at = |text| ms(text);
    assert_eq!(
        process.fired,
        [
            (at("2026-11-30T09:00:00Z"), None),
            (at("2026-11-30T09:15:00Z"), Some(at("2026-11-30T09:00:00Z"))),
            (at("2026-11-30T09:30:00Z"), Some(at("2026-11-30T09:15:00Z"))),
        ]
    );
    assert_eq!(process.record.last, Some(ScheduleOutcome { at_ms: at("2026-11-30T09:30:00Z"), runs: 1 }));
}

#[test]
fn a_day_on_which_clocks_change_has_each_local_time_once() {
    let times = times("30 * * * *", "Europe/Berlin");
    for (day, fired) in [("2026-03-28T23:00:00Z", 24), ("2026-10-24T22:00:00Z", 24)] {
        let mut process = Process::new(&times, false, day);
        let hours = if day.contains("-03-") { 23 } else { 25 };
        let end = timestamp(ms(day) + hours * 60 * MINUTE).to_string();
        process.run(day, &end);
        assert_eq!(process.fired.len(), fired, "{:?}", process.told());
        assert!(process.fired.is_sorted());
    }
}

#[test]
fn a_time_within_the_grace_was_not_missed_and_one_beyond_was() {
    let times = times("0 9 * * *", "UTC");
    for (late_ms, skip, once) in [(0, 1, 1), (MINUTE, 1, 1), (MINUTE + 1, 0, 1), (DAY - 1, 0, 1)] {
        for (catches_up, fired) in [(false, skip), (true, once)] {
            let mut process = Process::new(&times, catches_up, "2026-11-30T08:00:00Z");
            process.at(ms("2026-11-30T09:00:00Z") + late_ms);
            assert_eq!(process.fired.len(), fired, "{late_ms} late, {catches_up}");
            assert_eq!(process.record.next_at_ms, Some(ms("2026-12-01T09:00:00Z")));
        }
    }
}

#[test]
fn of_many_missed_times_the_newest_fires_once_with_the_last_that_fired() {
    let times = times("*/10 * * * *", "UTC");
    let mut process = Process::new(&times, true, "2026-11-30T08:55:00Z");
    process.run("2026-11-30T08:55:00Z", "2026-11-30T09:05:00Z");
    process.at(ms("2027-11-30T12:34:56Z"));
    let last = process.fired.pop().unwrap();
    assert_eq!(last, (ms("2027-11-30T12:30:00Z"), Some(ms("2026-11-30T09:00:00Z"))));
    assert_eq!(process.told(), ["2026-11-30T09:00:00Z"]);
    // Just after a time that is not missed yet, both fire: the newest that was missed, and that one.
    let mut process = Process::new(&times, true, "2026-11-30T08:55:00Z");
    process.at(ms("2026-11-30T09:30:30Z"));
    assert_eq!(process.told(), ["2026-11-30T09:20:00Z", "2026-11-30T09:30:00Z"]);
    let mut process = Process::new(&times, false, "2026-11-30T08:55:00Z");
    process.at(ms("2026-11-30T09:30:30Z"));
    assert_eq!(process.told(), ["2026-11-30T09:30:00Z"], "dropped, but for the one that is not late");
}

#[test]
fn a_clock_that_goes_back_fires_nothing_twice() {
    let times = times("* * * * *", "UTC");
    let mut process = Process::new(&times, false, "2026-11-30T09:00:30Z");
    process.run("2026-11-30T09:00:30Z", "2026-11-30T09:20:30Z");
    assert_eq!(process.fired.len(), 20);
    process.run("2026-11-30T09:05:00Z", "2026-11-30T09:20:50Z");
    assert_eq!(process.fired.len(), 20, "{:?}", process.told());
    process.run("2026-11-30T09:20:50Z", "2026-11-30T09:22:30Z");
    assert_eq!(process.fired.len(), 22, "and from there it goes on");
}

#[test]
fn times_that_a_wrong_clock_dropped_fire_once_it_is_right_again() {
    let times = times("*/5 * * * *", "UTC");
    let mut process = Process::new(&times, false, "2026-11-30T09:00:00Z");
    process.run("2026-11-30T09:00:00Z", "2026-11-30T09:11:00Z");
    assert_eq!(process.told(), ["2026-11-30T09:05:00Z", "2026-11-30T09:10:00Z"]);
    process.run("2031-05-05T05:04:00Z", "2031-05-05T05:11:00Z");
    assert_eq!(process.told()[2..], ["2031-05-05T05:05:00Z", "2031-05-05T05:10:00Z"]);
    process.run("2026-11-30T09:12:00Z", "2026-11-30T09:21:00Z");
    assert_eq!(process.told()[4..], ["2026-11-30T09:15:00Z", "2026-11-30T09:20:00Z"], "none is lost");
    assert_eq!(process.fired[4].1, None, "what came before by the wrong clock did not come before");
}

#[test]
fn times_that_fired_after_a_gap_do_not_fire_again_when_the_clock_steps_back_into_it() {
    let times = times("* * * * *", "UTC");
    let mut process = Process::new(&times, false, "2026-11-30T08:00:30Z");
    process.run("2026-11-30T09:00:30Z", "2026-11-30T09:03:30Z");
    assert_eq!(process.told().first().map(String::as_str), Some("2026-11-30T09:00:00Z"));
    assert_eq!(process.fired.len(), 4);
    process.run("2026-11-30T08:55:30Z", "2026-11-30T09:06:30Z");
    let mut told = process.told();
    assert_eq!(told.len(), 4 + 4 + 3, "56 to 59, and 04 to 06: {told:?}");
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 11, "each once");
}

#[test]
fn a_schedule_that_was_saved_by_a_wrong_clock_begins_by_the_right_one() {
    let times = times("0 9 * * *", "UTC");
    let mut process = Process::new(&times, false, "2031-05-05T05:00:00Z");
    process.at(ms("2026-11-30T08:00:00Z"));
    assert_eq!(process.record.next_at_ms, Some(ms("2026-11-30T09:00:00Z")));
    process.at(ms("2026-11-30T09:00:00Z"));
    process.at(ms("2026-12-01T09:00:00Z"));
    assert_eq!(process.told(), ["2026-11-30T09:00:00Z", "2026-12-01T09:00:00Z"]);
}

#[test]
fn a_firing_goes_through_its_workspaces_and_others_have_turns_between() {
    let times = times("0 9 * * *", "UTC");
    let mut record = saved(&times, ms("2026-11-30T08:00:00Z"));
    let now = ms("2026-11-30T09:00:00Z");
    assert_eq!(step(&times, false, moment(now), &mut record), Step::Fire);
    assert_eq!(record.due_ms, Some(now + 15_000), "nobody else takes it meanwhile");
    assert_eq!(record.next_at_ms, Some(now + DAY));
    let part = |name: &str, is_over| Batch { after: WorkspaceId::parse(name).ok(), runs: 2, is_over };
    advance(&mut record, part("b", false), now + 100);
    assert_eq!(record.due_ms, Some(now + 100));
    assert_eq!(step(&times, false, moment(now + 200), &mut record), Step::Fire, "nobody was cut off");
    // The process is gone; the next one finds it held.
    assert_eq!(step(&times, false, moment(now + 20_000), &mut record), Step::TakeOver);
    let firing = record.firing.clone().unwrap();
    assert_eq!((firing.at_ms, firing.begun_ms, firing.runs), (now, now, 2), "it is the same firing");
    assert_eq!(firing.after, WorkspaceId::parse("b").ok());
    advance(&mut record, part("d", true), now + 30_000);
    assert_eq!((record.firing.clone(), record.due_ms), (None, Some(now + DAY)));
    assert_eq!(record.last, Some(ScheduleOutcome { at_ms: now, runs: 4 }));
    assert_eq!(record.previous_at_ms, Some(now));
}

#[test]
fn a_firing_that_takes_longer_than_the_time_between_two_loses_none_within_the_grace() {
    let times = times("* * * * *", "UTC");
    let mut record = saved(&times, ms("2026-11-30T08:59:30Z"));
    let nine = ms("2026-11-30T09:00:00Z");
    assert_eq!(step(&times, false, moment(nine), &mut record), Step::Fire);
    let late = nine + MINUTE + 50_000;
    advance(&mut record, Batch { after: None, runs: 1, is_over: true }, late);
    assert_eq!(record.due_ms, Some(nine + MINUTE));
    assert_eq!(step(&times, false, moment(late), &mut record), Step::Fire);
    assert_eq!(record.firing.unwrap().at_ms, nine + MINUTE);
}

#[test]
fn what_is_switched_off_rests() {
    let times = times("* * * * *", "UTC");
    let mut record = saved(&times, 0);
    (record.next_at_ms, record.due_ms) = (None, Some(0));
    assert_eq!(step(&times, true, moment(DAY), &mut record), Step::Rest);
    assert_eq!(record.due_ms, None);
    assert!(!rewind(&times, &mut record, 1));
}
