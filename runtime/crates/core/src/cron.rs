//! Times of schedules: cron expressions of five fields, in a time zone.
//!
//! A [`Cron`] names local times; [`Times`] are their instants. The rules, which hold for every expression alike:
//!
//! * Day of month and weekday both given means either, unless one of them begins with `*` (as cron does).
//! * Each local time fires once. One that exists twice fires the first time that it comes.
//! * A local time that does not exist fires at the next that does, which is the end of the gap. Several of one gap fire
//!   there together, once.
//!
//! No clock is read here, and no file: the time zones are those that are built in. Called by the engine.

use std::sync::LazyLock;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

use crate::violation::nearest;

mod fields;

use fields::{DAY, Field, HOUR, MINUTE, MONTH, WEEKDAY};

/// Years that are looked through for a date: the longest time between two 29ths of February on the same weekday, over
/// a turn of a century without a leap year.
const YEARS_MAX: i16 = 41;
/// Local times that are tried for one instant: as many minutes as the longest day that came twice, and some.
const TRIED_MAX: usize = 3000;

/// The time zones that are built in.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A cron expression: which local times it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    // Invariant: sets of values as bits, none empty, and there is a date that they name.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day need not have both the day of month and the weekday.
    either: bool,
}

impl Cron {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong and what would be right, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim_start().starts_with('@') {
            return Err(fields::of_name(text.trim()));
        }
        let parts: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = *parts.as_slice() else {
            return Err(format!(
                "has {} fields; it takes five: minute, hour, day of month, month, weekday, such as \"0 9 * * MON\". \
                 Seconds and years are not supported",
                parts.len()
            ));
        };
        let set = |field: &Field, text: &str| field.set(text);
        let cron = Self {
            minutes: set(&MINUTE, minute)?,
            hours: set(&HOUR, hour)?,
            days: set(&DAY, day)?,
            months: set(&MONTH, month)?,
            weekdays: set(&WEEKDAY, weekday)?,
            either: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        // Why this year: within 28 years each date has been on each weekday.
        match cron.next_local(Date::constant(2000, 1, 1).at(0, 0, 0, 0)) {
            Some(_) => Ok(cron),
            None => {
                Err(format!("no date is day {day} of month {month} (weekday {weekday}): it would never fire"))
            }
        }
    }

    /// The first local time after this one.
    fn next_local(&self, after: DateTime) -> Option<DateTime> {
        let mut date = after.date();
        let mut time = self.time_after(after.hour(), after.minute());
        while date.year() <= after.year().saturating_add(YEARS_MAX) {
            if !has(self.months, date.month()) {
                date = date.last_of_month().tomorrow().ok()?;
            } else if let Some((hour, minute)) = time.filter(|_| self.is_on(date)) {
                return Some(date.at(hour, minute, 0, 0));
            } else {
                date = date.tomorrow().ok()?;
            }
            time = self.first_time();
        }
        None
    }

    fn is_on(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        if self.either { day || weekday } else { day && weekday }
    }

    fn first_time(&self) -> Option<(i8, i8)> {
        Some((next_in(self.hours, 0)?, next_in(self.minutes, 0)?))
    }

    /// The first time of a day after this minute of it.
    fn time_after(&self, hour: i8, minute: i8) -> Option<(i8, i8)> {
        let same_hour = next_in(self.minutes, minute.saturating_add(1)).filter(|_| has(self.hours, hour));
        match same_hour {
            Some(minute) => Some((hour, minute)),
            None => Some((next_in(self.hours, hour.saturating_add(1))?, next_in(self.minutes, 0)?)),
        }
    }
}

fn has(set: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| set.checked_shr(value).unwrap_or_default() & 1 == 1)
}

/// The least value of a set from this one on.
fn next_in(set: u64, from: i8) -> Option<i8> {
    let from = u32::try_from(from).ok()?;
    let rest = set.checked_shr(from).filter(|rest| *rest != 0)?;
    i8::try_from(from.saturating_add(rest.trailing_zeros())).ok()
}

/// The time zone of this name in the IANA database.
///
/// # Errors
/// What would be right, as a sentence.
pub fn time_zone(name: &str) -> Result<TimeZone, String> {
    // Why the same spelling: the name is kept as it was written, and others read it.
    match ZONES.get(name) {
        Ok(zone) if zone.iana_name() == Some(name) && !zone.is_unknown() => Ok(zone),
        Ok(zone) if !zone.is_unknown() => {
            let right = zone.iana_name().unwrap_or("UTC");
            Err(format!("is not spelt as in the time zone database; did you mean {right:?}?"))
        }
        _ => {
            let known: Vec<String> = ZONES.available().map(|name| name.as_str().to_owned()).collect();
            let near = nearest(name, known.iter().map(String::as_str));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            Err(format!("is no time zone of the IANA database, such as \"Europe/Berlin\" or \"UTC\"{hint}"))
        }
    }
}

/// The instants of a cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Times {
    pub cron: Cron,
    pub zone: TimeZone,
}

impl Times {
    /// The first instant after this one; none only at the end of time.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        // Why no earlier one: instants are in the order of their local times, and this one's has passed.
        let mut local = self.zone.to_datetime(after);
        for _ in 0..TRIED_MAX {
            local = self.cron.next_local(local)?;
            let at = self.instant(local)?;
            if at > after {
                return Some(at);
            }
        }
        None
    }

    /// The last instant until this one, which is not before `first`, one of these instants.
    #[must_use]
    pub fn last_until(&self, first: Timestamp, until: Timestamp) -> Timestamp {
        // Invariant: `low` is one of the instants, and none after `high` is wanted.
        let (mut low, mut high) = (first, until);
        while let Some(next) = self.next_after(low).filter(|next| *next <= until) {
            // Why halves: after a year there are half a million minutes.
            let middle = low.saturating_add(low.duration_until(high) / 2).unwrap_or(high);
            match self.next_after(middle).filter(|after| *after <= until) {
                Some(after) => low = after,
                None => (low, high) = (next, middle),
            }
        }
        low
    }

    /// When a local time is.
    fn instant(&self, local: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
                offset.to_timestamp(local).ok()
            }
            AmbiguousOffset::Gap { before, .. } => {
                // By the clock that was not moved, the gap's end is at or before this.
                let unmoved = before.to_timestamp(local).ok()?;
                let after = unmoved.saturating_add(SignedDuration::from_nanos(1)).ok()?;
                self.zone.preceding(after).next().map(|moved| moved.timestamp())
            }
        }
    }
}

#[cfg(test)]
mod tests;
