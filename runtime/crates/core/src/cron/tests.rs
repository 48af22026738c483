//! Tests of cron expressions: fields, time zones, and every local time once.

use jiff::SignedDuration;
use jiff::civil::date;

use super::*;

fn times(cron: &str, zone: &str) -> Times {
    let cron = Cron::parse(cron).unwrap_or_else(|why| panic!("{cron}: {why}"));
    Times { cron, zone: time_zone(zone).unwrap() }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The first instants after a time, as local times with their offset.
fn after(cron: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let times = times(cron, zone);
    let mut last = at(from);
    let mut found = Vec::new();
    for _ in 0..count {
        last = times.next_after(last).unwrap();
        found.push(last.to_zoned(times.zone.clone()).strftime("%Y-%m-%d %H:%M %:z").to_string());
    }
    found
}

/// The instants in a window, found by walking through its minutes and looking at the clock on the wall: what becomes
/// due is every local time that was not reached before.
fn walked(times: &Times, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let minute = SignedDuration::from_mins(1);
    let (mut now, mut found) = (from, Vec::new());
    // Why from before the window: its first minutes may have been reached before a clock went back.
    let earlier = from - SignedDuration::from_hours(48);
    let mut reached = times.zone.to_datetime(earlier);
    let mut walk = earlier;
    while walk <= from {
        reached = reached.max(times.zone.to_datetime(walk));
        walk += minute;
    }
    while now < until {
        now += minute;
        let wall = times.zone.to_datetime(now);
        let mut is_due = false;
        while reached < wall {
            reached += minute;
            is_due |= matches(&times.cron, reached);
        }
        if is_due {
            found.push(now);
        }
    }
    found
}

fn matches(cron: &Cron, local: DateTime) -> bool {
    has(cron.minutes, local.minute()) && has(cron.hours, local.hour()) && has(cron.months, local.month()) && {
        let day = has(cron.days, local.day());
        let weekday = has(cron.weekdays, local.weekday().to_sunday_zero_offset());
        if cron.either { day || weekday } else { day && weekday }
    }
}

#[test]
fn every_local_time_fires_once_over_every_change_of_the_clocks() {
    let windows = [
        ("Europe/Berlin", "2026-03-28T12:00:00Z", 3),
        ("Europe/Berlin", "2026-10-24T12:00:00Z", 3),
        ("America/New_York", "2026-03-07T12:00:00Z", 3),
        ("America/New_York", "2026-10-31T12:00:00Z", 3),
        ("Australia/Lord_Howe", "2026-04-03T12:00:00Z", 3),
        ("Australia/Lord_Howe", "2026-10-02T12:00:00Z", 3),
        ("Africa/Casablanca", "2027-02-06T00:00:00Z", 3),
        ("Asia/Kathmandu", "2026-06-01T00:00:00Z", 2),
        ("Pacific/Apia", "2011-12-28T00:00:00Z", 5),
        ("UTC", "2026-02-27T00:00:00Z", 3),
    ];
    let crons = [
        "* * * * *",
        "*/15 * * * *",
        "30 2 * * *",
        "0 3 * * *",
        "45 1,2 * * *",
        "10-50/20 0-4 * * *",
        "0 0 * * *",
        "59 23 30 * FRI",
        "7 * */2 * *",
    ];
    for (zone, from, days) in windows {
        let from = at(from);
        let until = from + SignedDuration::from_hours(24 * days);
        for cron in crons {
            let times = times(cron, zone);
            let (mut last, mut found) = (from, Vec::new());
            while let Some(next) = times.next_after(last).filter(|next| *next <= until) {
                found.push(next);
                last = next;
            }
            assert_eq!(found, walked(&times, from, until), "{cron} {zone}");
        }
    }
}

#[test]
fn a_time_that_does_not_exist_fires_at_the_next_that_does() {
    // Clocks go from 02:00 to 03:00.
    let spring = "2026-03-28T12:00:00Z";
    assert_eq!(
        after("30 2 * * *", "Europe/Berlin", spring, 2),
        ["2026-03-29 03:00 +02:00", "2026-03-30 02:30 +02:00"]
    );
    assert_eq!(
        after("*/15 1-3 * * *", "Europe/Berlin", "2026-03-29T00:20:00Z", 5),
        [
            "2026-03-29 01:30 +01:00",
            "2026-03-29 01:45 +01:00",
            "2026-03-29 03:00 +02:00",
            "2026-03-29 03:15 +02:00",
            "2026-03-29 03:30 +02:00",
        ]
    );
    // From 02:00 to 02:30.
    assert_eq!(
        after("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 2),
        ["2026-10-04 02:30 +11:00", "2026-10-05 02:15 +11:00"]
    );
    // A whole day that was left out.
    assert_eq!(
        after("0 9 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", 4),
        [
            "2011-12-29 09:00 -10:00",
            "2011-12-31 00:00 +14:00",
            "2011-12-31 09:00 +14:00",
            "2012-01-01 09:00 +14:00",
        ]
    );
}

#[test]
fn a_time_that_exists_twice_fires_once() {
    // Clocks go back from 03:00 to 02:00.
    let autumn = "2026-10-24T12:00:00Z";
    assert_eq!(
        after("30 2 * * *", "Europe/Berlin", autumn, 2),
        ["2026-10-25 02:30 +02:00", "2026-10-26 02:30 +01:00"]
    );
    assert_eq!(
        after("*/30 * * * *", "America/New_York", "2026-11-01T04:59:00Z", 4),
        [
            "2026-11-01 01:00 -04:00",
            "2026-11-01 01:30 -04:00",
            "2026-11-01 02:00 -05:00",
            "2026-11-01 02:30 -05:00",
        ]
    );
    // Asked in the hour that comes again.
    assert_eq!(
        after("*/30 * * * *", "America/New_York", "2026-11-01T06:10:00Z", 1),
        ["2026-11-01 02:00 -05:00"]
    );
    assert_eq!(
        after("*/15 * * * *", "Australia/Lord_Howe", "2026-04-04T14:20:00Z", 4),
        [
            "2026-04-05 01:30 +11:00",
            "2026-04-05 01:45 +11:00",
            "2026-04-05 02:00 +10:30",
            "2026-04-05 02:15 +10:30",
        ]
    );
}

#[test]
fn fields_mean_what_they_mean_to_cron() {
    for (cron, from, expected) in [
        ("0 9 * * MON", "2026-11-27T00:00:00Z", "2026-11-30 09:00"),
        ("0 9 * * 7", "2026-11-27T00:00:00Z", "2026-11-29 09:00"),
        ("0 9 * * 0", "2026-11-27T00:00:00Z", "2026-11-29 09:00"),
        ("0 9 * * mon-fri", "2026-11-28T00:00:00Z", "2026-11-30 09:00"),
        ("0 9 * * FRI-SUN", "2026-11-29T10:00:00Z", "2026-12-04 09:00"),
        ("0 9 * * 5-7", "2026-11-28T10:00:00Z", "2026-11-29 09:00"),
        ("0 0 1 JAN *", "2026-11-28T00:00:00Z", "2027-01-01 00:00"),
        ("0 0 29 2 *", "2026-11-28T00:00:00Z", "2028-02-29 00:00"),
        ("0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29 00:00"),
        ("0 0 31 * *", "2026-11-01T00:00:00Z", "2026-12-31 00:00"),
        ("0 0 31 * *", "2027-01-31T00:00:00Z", "2027-03-31 00:00"),
        ("0 0 30 2 MON", "2026-11-28T00:00:00Z", "2027-02-01 00:00"),
        // Either, where both are given; both, where one begins with a star.
        ("0 0 13 * FRI", "2026-11-28T00:00:00Z", "2026-12-04 00:00"),
        ("0 0 13 * FRI", "2026-12-11T00:00:00Z", "2026-12-13 00:00"),
        ("0 0 */2 * FRI", "2026-11-28T00:00:00Z", "2026-12-11 00:00"),
        ("5-7,30-40/5 04 * * *", "2026-11-28T04:07:00Z", "2026-11-28 04:30"),
        ("*/25 0 * * *", "2026-11-28T00:26:00Z", "2026-11-28 00:50"),
        ("59 23 31 12 *", "2026-12-31T23:58:59Z", "2026-12-31 23:59"),
        ("59 23 31 12 *", "2026-12-31T23:59:00Z", "2027-12-31 23:59"),
        ("  0\t9  * * 1 ", "2026-11-27T00:00:00Z", "2026-11-30 09:00"),
    ] {
        let found = after(cron, "UTC", from, 1).remove(0);
        assert_eq!(found, format!("{expected} +00:00"), "{cron} after {from}");
    }
    assert_eq!(after("0 9 * * *", "Asia/Kathmandu", "2026-06-01T00:00:00Z", 1), ["2026-06-01 09:00 +05:45"]);
}

#[test]
fn what_is_no_cron_expression_is_refused_with_what_to_write() {
    for (cron, says) in [
        ("", "has 0 fields; it takes five"),
        ("0 9 * *", "has 4 fields"),
        ("0 0 9 * * MON", "Seconds and years are not supported"),
        ("0 9 * * MON 2027", "has 6 fields"),
        ("@daily", "write \"0 0 * * *\""),
        ("@Hourly", "write \"0 * * * *\""),
        ("@reboot", "write five fields"),
        ("60 * * * *", "minute is a number from 0 to 59"),
        ("* 24 * * *", "hour is a number from 0 to 23"),
        ("* * 0 * *", "day of month is a number from 1 to 31"),
        ("* * 32 * *", "day of month"),
        ("* * * 0 *", "month is a number from 1 to 12 or a name from JAN to DEC"),
        ("* * * 13 *", "month"),
        ("* * * * 8", "weekday is a number from 0 to 7 or a name from SUN to SAT"),
        ("* * * MON *", "month"),
        ("* * * * MONDAY", "weekday"),
        ("JAN * * * *", "minute"),
        ("0 0 L * *", "day of month"),
        ("0 0 15W * *", "day of month"),
        ("0 0 * * 5#3", "weekday"),
        ("0 0 ? * MON", "day of month"),
        ("H * * * *", "minute"),
        ("-1 * * * *", "minute"),
        ("+1 * * * *", "minute"),
        ("1, * * * *", "minute"),
        ("1-2-3 * * * *", "minute"),
        ("*/0 * * * *", "a step is a number from 1 to 59"),
        ("*/60 * * * *", "a step is a number from 1 to 59"),
        ("*/ * * * *", "a step"),
        ("5/15 * * * *", "write \"5-59/15\""),
        ("* 22-4 * * *", "write two ranges, such as \"22-23,0-4\""),
        ("* * * * SAT-MON", "\"6-6,0-1\""),
        ("0 0 30 2 *", "it would never fire"),
        ("0 0 31 2,4,6,9,11 *", "it would never fire"),
        ("０ 9 * * *", "minute"),
    ] {
        let why = Cron::parse(cron).unwrap_err();
        assert!(why.contains(says), "{cron}: {why}");
    }
    // Beside them, what is just inside.
    for cron in
        ["59 23 31 12 7", "0 0 1 1 0", "*/59 */23 */30 */11 */6", "0 0 29 2 */6", "1-1 2-2 3-3 4-4 5-5"]
    {
        assert!(Cron::parse(cron).is_ok(), "{cron}");
    }
}

#[test]
fn time_zones_have_the_names_of_the_database() {
    for name in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kathmandu", "Etc/GMT+3"] {
        assert_eq!(time_zone(name).unwrap().iana_name(), Some(name));
    }
    for (name, says) in [
        ("Europe/Berln", "did you mean \"Europe/Berlin\"?"),
        ("europe/berlin", "did you mean \"Europe/Berlin\"?"),
        ("CEST", "is no time zone"),
        ("+02:00", "is no time zone"),
        ("Etc/Unknown", "is no time zone"),
        ("../../etc/passwd", "is no time zone"),
        ("", "is no time zone"),
        (":/etc/localtime", "is no time zone"),
    ] {
        let why = time_zone(name).unwrap_err();
        assert!(why.contains(says), "{name}: {why}");
    }
}

#[test]
fn the_last_of_many_instants_is_found_without_walking_through_them() {
    for (cron, first, until) in [
        ("* * * * *", "2026-01-01T00:00:00Z", "2046-01-01T00:00:30Z"),
        ("*/7 3 * * *", "2026-01-01T03:00:00Z", "2026-10-26T00:00:00Z"),
        ("0 0 29 2 *", "2028-02-28T23:00:00Z", "2060-01-01T00:00:00Z"),
        ("0 9 * * MON", "2026-11-30T08:00:00Z", "2026-11-30T08:00:00Z"),
        ("0 9 * * MON", "2026-11-30T08:00:00Z", "2026-12-07T07:59:59Z"),
        ("0 9 * * MON", "2026-11-30T08:00:00Z", "2026-12-07T08:00:00Z"),
    ] {
        let times = times(cron, "Europe/Berlin");
        let (first, until) = (at(first), at(until));
        let last = times.last_until(first, until);
        assert!(first <= last && last <= until, "{cron}");
        assert!(times.next_after(last).unwrap() > until, "{cron}");
        if last > first {
            let before = last - SignedDuration::from_secs(1);
            assert_eq!(times.next_after(before), Some(last), "{cron}: it is one of the instants");
        }
    }
}

#[test]
fn expressions_that_fire_rarely_are_found_over_the_turn_of_a_century() {
    let times = times("0 0 29 2 */6", "UTC");
    let next = times.next_after(date(2072, 3, 1).at(0, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp());
    assert!(next.is_some_and(|next| next.to_zoned(TimeZone::UTC).year() <= 2112));
}
