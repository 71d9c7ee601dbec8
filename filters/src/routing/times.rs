//! Is it time for a route? Days of the week and hours of the day, in UTC.
//!
//! Needs what an admin wrote; proves a window that is open at some time. Hours that pass midnight belong to the day on
//! which they begin.

use crate::documents::routes::{Day, RouteDocument};

const DAY_MINUTES: u32 = 24 * 60;

/// When a route holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// One bit a day, from Monday.
    days: u8,
    from: u32,
    /// Before or at `from`: over midnight.
    until: u32,
}

impl Times {
    pub(super) fn compile(document: &RouteDocument) -> Result<Self, String> {
        let days = document.days.iter().fold(0, |days, day| days | 1 << *day as u8);
        let every_day = (1 << Day::ALL.len()) - 1;
        let (from, until) = document.hours.as_deref().map_or(Ok((0, DAY_MINUTES)), hours)?;
        Ok(Self { days: if document.days.is_empty() { every_day } else { days }, from, until })
    }

    /// Whether it holds at a moment, in milliseconds since 1970.
    pub(super) fn hold(self, now_ms: u64) -> bool {
        let minute = (now_ms / 60_000 % u64::from(DAY_MINUTES)) as u32;
        let is_over_midnight = self.until <= self.from;
        let is_morning = minute < self.until;
        let is_in = if is_over_midnight {
            minute >= self.from || is_morning
        } else {
            minute >= self.from && is_morning
        };
        // 1970 began on a Thursday, the fourth day from Monday; what began yesterday is yesterday's.
        let days = now_ms / 60_000 / u64::from(DAY_MINUTES) + 3 + 7;
        let day = (days - u64::from(is_over_midnight && is_morning)) % 7;
        is_in && self.days >> day & 1 == 1
    }
}

/// `08:00-18:00`, in minutes of the day.
fn hours(text: &str) -> Result<(u32, u32), String> {
    let number = |digits: &str| {
        let is_two = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|_| is_two)
    };
    let minute = |time: &str| {
        let (hour, minute) = time.split_once(':')?;
        let (hour, minute) = (number(hour)?, number(minute)?);
        Some(hour * 60 + minute).filter(|whole| minute < 60 && *whole <= DAY_MINUTES)
    };
    let both = text.split_once('-').and_then(|(from, until)| Some((minute(from)?, minute(until)?)));
    match both {
        Some((from, until)) if from != until && from < DAY_MINUTES => Ok((from, until)),
        Some(_) | None => Err(format!(
            "`hours = \"{text}\"` is no time of a day; write `08:00-18:00`, in UTC, or leave it out for the whole day"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(text: &str) -> Result<Times, String> {
        let text = format!("name = \"r\"\nmodels = [\"*\"]\ntargets = [\"p\"]\n{text}");
        let document: RouteDocument = toml::from_str(&text).map_err(|error| error.to_string())?;
        Times::compile(&document)
    }

    /// Minutes since Monday, 2026-11-23, 00:00 UTC.
    fn at(day: u64, hour: u64, minute: u64) -> u64 {
        1_795_392_000_000 + ((day * 24 + hour) * 60 + minute) * 60_000
    }

    #[test]
    fn a_window_opens_and_closes_at_its_minute() {
        let work =
            times("days = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\"]\nhours = \"08:00-18:30\"").unwrap();
        for (moment, is_open) in [
            (at(0, 7, 59), false),
            (at(0, 8, 0), true),
            (at(4, 18, 29) + 59_999, true),
            (at(4, 18, 30), false),
            (at(5, 12, 0), false),
            (at(6, 12, 0), false),
            (at(7, 12, 0), true),
        ] {
            assert_eq!(work.hold(moment), is_open, "{moment}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let night = times("days = [\"sun\"]\nhours = \"22:00-06:00\"").unwrap();
        for (moment, is_open) in [
            (at(6, 5, 59), false),
            (at(6, 21, 59), false),
            (at(6, 22, 0), true),
            (at(7, 0, 0), true),
            (at(7, 5, 59), true),
            (at(7, 6, 0), false),
            (at(7, 22, 0), false),
        ] {
            assert_eq!(night.hold(moment), is_open, "{moment}");
        }
    }

    #[test]
    fn what_is_left_out_is_always() {
        for text in [
            "",
            "hours = \"00:00-24:00\"",
            "days = [\"sun\", \"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\"]",
        ] {
            let always = times(text).unwrap();
            assert!(
                (0..7 * 24).all(|hour| always.hold(at(0, hour, 0)) && always.hold(at(0, hour, 59))),
                "{text}"
            );
        }
        assert!(times("").unwrap().hold(0));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for hours in
            ["", "8-18", "08:00", "08:00-24:01", "24:00-08:00", "08:60-09:00", "08:00-08:00", "+8:00-09:00"]
        {
            let problem = times(&format!("hours = \"{hours}\"")).unwrap_err();
            assert!(problem.contains("write `08:00-18:00`"), "{problem}");
        }
        assert!(times("days = [\"monday\"]").is_err());
    }
}
