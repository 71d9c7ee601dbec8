//! Since when is it counted, and until when? Windows of time in UTC, as the calendar has them.
//!
//! Pure arithmetic on milliseconds since 1970: leap years are the calendar's, leap seconds are not counted, as Unix
//! time has none.

/// A minute, in milliseconds.
pub const MINUTE_MS: u64 = 60_000;
/// A day, in milliseconds.
pub const DAY_MS: u64 = 86_400_000;

/// Over which time something is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Window {
    /// Now: what is under way at once.
    AtOnce,
    /// The last sixty seconds.
    Minute,
    /// Since midnight UTC.
    Day,
    /// Since the first of the month, midnight UTC.
    Month,
}

impl Window {
    /// All windows.
    pub const ALL: [Self; 4] = [Self::AtOnce, Self::Minute, Self::Day, Self::Month];

    /// The name it has in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::AtOnce => "at_once",
            Self::Minute => "minute",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// How it is said after an amount: `3 requests per day`.
    pub(super) fn phrase(self) -> &'static str {
        match self {
            Self::AtOnce => "at once",
            Self::Minute => "per minute",
            Self::Day => "per day",
            Self::Month => "per month",
        }
    }

    /// The number of the window that holds a moment: the next one has the next number.
    pub fn index(self, now_ms: u64) -> u64 {
        match self {
            Self::AtOnce => 0,
            Self::Minute => now_ms / MINUTE_MS,
            Self::Day => now_ms / DAY_MS,
            Self::Month => month(now_ms / DAY_MS),
        }
    }

    /// The moment at which the window that holds `now_ms` is over; what is under way is over at any moment.
    pub fn ends_ms(self, now_ms: u64) -> u64 {
        match self {
            Self::AtOnce => now_ms,
            Self::Minute => (self.index(now_ms) + 1) * MINUTE_MS,
            Self::Day => (self.index(now_ms) + 1) * DAY_MS,
            Self::Month => first_day(self.index(now_ms) + 1) * DAY_MS,
        }
    }
}

/// Months since January 1970 of a day since 1970. The year is reckoned from March, so that a leap day is its last.
fn month(day: u64) -> u64 {
    // Days since 0000-03-01, in eras of 400 years, which are equally long.
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    // January and February belong to the year that began in March before.
    era * 4_800 + year_of_era * 12 + from_march + 2 - 1_970 * 12
}

/// The first day, since 1970, of a month since January 1970.
fn first_day(month: u64) -> u64 {
    let from_march = month + 1_970 * 12 - 2;
    let (year, month) = (from_march / 12, from_march % 12);
    let (era, year_of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

/// A moment, as messages say it: `2026-12-01T00:00:00Z`.
pub(super) fn moment(ms: u64) -> String {
    let moment = std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms);
    humantime::format_rfc3339_seconds(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u64 {
        let moment = humantime::parse_rfc3339(text).unwrap();
        moment.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
    }

    #[test]
    fn months_end_where_the_calendar_says() {
        for (within, end) in [
            ("1970-01-01T00:00:00Z", "1970-02-01T00:00:00Z"),
            ("2024-02-29T23:59:59Z", "2024-03-01T00:00:00Z"),
            ("2025-02-28T23:59:59Z", "2025-03-01T00:00:00Z"),
            ("2026-02-28T12:00:00Z", "2026-03-01T00:00:00Z"),
            ("2028-02-28T12:00:00Z", "2028-03-01T00:00:00Z"),
            ("2100-02-28T12:00:00Z", "2100-03-01T00:00:00Z"),
            ("2000-02-29T00:00:00Z", "2000-03-01T00:00:00Z"),
            ("2026-04-30T23:59:59Z", "2026-05-01T00:00:00Z"),
            ("2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(moment(Window::Month.ends_ms(ms(within))), end, "{within}");
        }
    }

    /// Every day for four centuries: a month is entered on its first day, and left on no other.
    #[test]
    fn every_month_begins_once_and_ends_where_the_next_begins() {
        let last = ms("2370-01-01T00:00:00Z") / DAY_MS;
        let mut begun = 0;
        for day in 1..last {
            let (before, now) = (Window::Month.index((day - 1) * DAY_MS), Window::Month.index(day * DAY_MS));
            assert!(now == before || now == before + 1, "day {day}");
            if now > before {
                begun += 1;
                assert_eq!(Window::Month.ends_ms(day * DAY_MS - 1), day * DAY_MS);
                assert!(moment(day * DAY_MS).ends_with("-01T00:00:00Z"), "{}", moment(day * DAY_MS));
            }
        }
        assert_eq!(begun, 400 * 12 - 1);
    }

    #[test]
    fn days_and_minutes_end_after_themselves() {
        for window in [Window::Minute, Window::Day, Window::Month] {
            for now in [0, 1, MINUTE_MS - 1, MINUTE_MS, DAY_MS - 1, DAY_MS, 1_900_000_000_123] {
                let end = window.ends_ms(now);
                assert!(end > now && window.index(end) == window.index(now) + 1, "{window:?} {now}");
                assert_eq!(window.index(end - 1), window.index(now));
            }
        }
    }
}
