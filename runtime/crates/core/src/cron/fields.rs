//! The fields of a cron expression, read strictly: what cron dialects read differently is refused, with what to write
//! instead.

/// One of the five fields.
pub(super) struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    /// The last value, of which none above is another name.
    last: u8,
    /// Names of values, from the least one on.
    names: &'static [&'static str],
}

pub(super) const MINUTE: Field = Field { name: "minute", least: 0, most: 59, last: 59, names: &[] };
pub(super) const HOUR: Field = Field { name: "hour", least: 0, most: 23, last: 23, names: &[] };
pub(super) const DAY: Field = Field { name: "day of month", least: 1, most: 31, last: 31, names: &[] };
pub(super) const MONTH: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    last: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
/// 7 is Sunday, as 0 is.
pub(super) const WEEKDAY: Field = Field {
    name: "weekday",
    least: 0,
    most: 7,
    last: 6,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
};

/// Names that some programs take in the place of five fields.
const INSTEAD: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// What is said of a name such as `@daily`.
pub(super) fn of_name(text: &str) -> String {
    match INSTEAD.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        Some((name, fields)) => format!("{name} is not supported; write \"{fields}\""),
        None => "names are not supported; write five fields, such as \"0 9 * * MON\"".to_owned(),
    }
}

impl Field {
    /// The values of a field, as bits.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub(super) fn set(&self, text: &str) -> Result<u64, String> {
        let mut set = 0;
        for item in text.split(',') {
            let (range, step) = match item.split_once('/') {
                Some((range, step)) => (range, Some(step)),
                None => (item, None),
            };
            let (from, to) = self.range(range, step)?;
            let step = step.map_or(Ok(1), |step| self.step(step))?;
            let values = (from..=to).step_by(usize::from(step));
            // Why: above the last value is only a second name of the first.
            let bit = |value: u8| if value > self.last { self.least } else { value };
            set |= values.fold(0_u64, |set, value| set | 1 << bit(value));
        }
        Ok(set)
    }

    /// First and last value of an item.
    fn range(&self, text: &str, step: Option<&str>) -> Result<(u8, u8), String> {
        if text == "*" {
            return Ok((self.least, self.last));
        }
        let Some((from, to)) = text.split_once('-') else {
            let value = self.value(text)?;
            return match step {
                None => Ok((value, value)),
                Some(step) => {
                    let (name, last, step) = (self.name, self.last, short(step));
                    Err(format!("{name} {text:?} has a step without a range; write \"{text}-{last}/{step}\""))
                }
            };
        };
        let (low, mut high) = (self.value(from)?, self.value(to)?);
        if high == 0 && low > 0 && to.eq_ignore_ascii_case("SUN") {
            high = WEEKDAY.most;
        }
        if low > high {
            let message = format!("{} {text:?} goes backwards; write two ranges, such as", self.name);
            let (least, last) = (self.least, self.last);
            return Err(format!("{message} \"{low}-{last},{least}-{high}\""));
        }
        Ok((low, high))
    }

    fn step(&self, text: &str) -> Result<u8, String> {
        let most = self.most - self.least;
        match number(text) {
            Some(step) if (1..=most).contains(&step) => Ok(step),
            _ => Err(format!("{}: a step is a number from 1 to {most}, not {:?}", self.name, short(text))),
        }
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = named.and_then(|at| u8::try_from(at).ok()).map(|at| at.saturating_add(self.least));
        if let Some(value) = named.or_else(|| number(text)).filter(|v| (self.least..=self.most).contains(v)) {
            return Ok(value);
        }
        let names = match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!(" or a name from {first} to {last}"),
            _ => String::new(),
        };
        Err(format!(
            "{} is a number from {} to {}{names}, *, a range such as 1-5, a list of these, or one of them with a step \
             such as */2; not {:?}",
            self.name,
            self.least,
            self.most,
            short(text)
        ))
    }
}

/// One or two digits.
fn number(text: &str) -> Option<u8> {
    let is_short = matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_short)
}

/// As much of a text as is quoted.
fn short(text: &str) -> String {
    text.chars().take(20).collect()
}
