//! When did it happen? A moment in UTC, kept as a number and written for people.
//!
//! Needs: milliseconds since 1970. Proves: every [`Time`] has exactly one text, RFC 3339 with three decimals
//! and a `Z`, and reads back as itself. Does not: read a clock, know time zones, or accept any other form of
//! RFC 3339.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize, Serializer};

/// 9999-12-31T23:59:59.999Z in milliseconds: RFC 3339 has four digits for the year.
const UNIX_MS_MAX: u64 = 253_402_300_799_999;
const DAY_MS: u64 = 86_400_000;
/// Days from 0000-03-01, where the calendar below begins, to 1970-01-01.
const EPOCH_DAYS: u64 = 719_468;
/// Days in 400 years of the Gregorian calendar, after which it repeats.
const ERA_DAYS: u64 = 146_097;

/// A moment in UTC, to the millisecond, from 1970 to 9999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Time(u64);

impl Time {
    /// The moment `unix_ms` milliseconds after 1970; what lies beyond 9999 becomes its last millisecond.
    #[must_use]
    pub fn from_unix_ms(unix_ms: u64) -> Self {
        Self(unix_ms.min(UNIX_MS_MAX))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn unix_ms(self) -> u64 {
        self.0
    }
}

impl From<SystemTime> for Time {
    /// A clock set before 1970 reads as 1970: an event with a wrong time is better than none.
    fn from(moment: SystemTime) -> Self {
        let since = moment.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(UNIX_MS_MAX))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of(self.0 / DAY_MS);
        let ms = self.0 % DAY_MS;
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        let fraction = ms % 1_000;
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Not a time this crate wrote.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("time must look like `2026-01-31T08:30:00.000Z`")]
pub struct NotATime;

impl TryFrom<String> for Time {
    type Error = NotATime;

    fn try_from(text: String) -> Result<Self, NotATime> {
        let field = |from: usize, to: usize| -> Result<u64, NotATime> {
            text.get(from..to).and_then(|digits| digits.parse().ok()).ok_or(NotATime)
        };
        let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(NotATime);
        }
        let seconds = field(11, 13)? * 3_600 + field(14, 16)? * 60 + field(17, 19)?;
        let time = Self(days_until(year, month, day) * DAY_MS + seconds * 1_000 + field(20, 23)?);
        // One text per time: whatever is not written back the same (31 February, 25 o'clock, a `+`) is not
        // one.
        if time.to_string() == text { Ok(time) } else { Err(NotATime) }
    }
}

/// Year, month and day of a day counted from 1970-01-01. Years begin in March, so that the leap day comes
/// last (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH_DAYS;
    let (era, day_of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / (ERA_DAYS - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The inverse of [`date_of`], for a date of 1970 or later.
fn days_until(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * ERA_DAYS + day_of_era - EPOCH_DAYS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_582_934_400_001, "2020-02-29T00:00:00.001Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Time::from_unix_ms(unix_ms).to_string(), text);
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "2026-01-31",
            "2026-02-29T00:00:00.000Z",
            "2026-01-31T24:00:00.000Z",
            "2026-01-31T08:60:00.000Z",
            "2026-01-31T08:30:00Z",
            "2026-01-31T08:30:00.000+00:00",
            "2026-01-31t08:30:00.000z",
            "1969-12-31T23:59:59.999Z",
            "2026-+1-31T08:30:00.000Z",
            "2026-01-31T08:30:00.000Zé",
        ] {
            assert_eq!(Time::try_from(text.to_owned()), Err(NotATime), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_reads_back_as_itself(unix_ms in 0..=UNIX_MS_MAX) {
            let time = Time::from_unix_ms(unix_ms);
            prop_assert_eq!(Time::try_from(time.to_string()), Ok(time));
        }
    }
}
