//! Which day? In UTC, as everybody's days end at another hour.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_SECONDS: u64 = 86_400;
/// The last one that is written with four digits of a year.
const LAST: u32 = 2_932_896;

/// A day, written `2026-11-26`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u32);

/// A text that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no day such as `2026-11-26`")]
pub struct NotADay;

impl Day {
    /// The day of a moment; of one before 1970, the first.
    pub fn of(moment: SystemTime) -> Self {
        let seconds = moment.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        Self(u32::try_from(seconds / DAY_SECONDS).unwrap_or(LAST).min(LAST))
    }

    /// So many days later.
    #[must_use]
    pub fn after(self, days: u32) -> Self {
        Self(self.0.saturating_add(days).min(LAST + 1))
    }

    /// So many days before.
    #[must_use]
    pub fn before(self, days: u32) -> Self {
        Self(self.0.saturating_sub(days))
    }

    /// Days from another one to this.
    pub fn since(self, other: Self) -> u32 {
        self.0.saturating_sub(other.0)
    }

    /// Its first second, since 1970.
    pub fn seconds(self) -> u64 {
        u64::from(self.0) * DAY_SECONDS
    }

    /// `2026-11`
    pub(super) fn month(self) -> String {
        let mut text = self.to_string();
        text.truncate("2026-11".len());
        text
    }
}

impl fmt::Display for Day {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = UNIX_EPOCH + Duration::from_secs(Self(self.0.min(LAST)).seconds());
        let text = humantime::format_rfc3339_seconds(moment).to_string();
        out.write_str(text.split('T').next().unwrap_or_default())
    }
}

impl FromStr for Day {
    type Err = NotADay;

    fn from_str(text: &str) -> Result<Self, NotADay> {
        let day =
            humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).map(Self::of).map_err(|_| NotADay)?;
        // Only as it is written here.
        if day.to_string() == text { Ok(day) } else { Err(NotADay) }
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_read_as_it_is_written() {
        for text in ["1970-01-01", "2024-02-29", "2026-11-26", "9999-12-31"] {
            assert_eq!(text.parse::<Day>().unwrap().to_string(), text);
        }
        for text in
            ["", "2026-11-31", "2026-1-1", "26-11-26", "2025-02-29", "2026-11-26T00:00:00Z", "1969-12-31"]
        {
            assert_eq!(text.parse::<Day>(), Err(NotADay), "{text}");
        }
        let day: Day = "2024-02-28".parse().unwrap();
        assert_eq!((day.after(2).to_string().as_str(), day.after(2).since(day)), ("2024-03-01", 2));
        assert_eq!((day.month(), day.before(28).month()), ("2024-02".to_owned(), "2024-01".to_owned()));
        assert_eq!(Day::of(UNIX_EPOCH + Duration::from_secs(day.seconds() + DAY_SECONDS - 1)), day);
    }
}
