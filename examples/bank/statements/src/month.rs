//! Months of the calendar, in UTC.

use std::fmt;
use std::str::FromStr;

use time::{Date, OffsetDateTime};

use crate::demo::bank::books::Span;

/// A month, by a day of it: the first.
#[derive(Clone, Copy)]
pub(crate) struct Month(Date);

impl Month {
    /// The month that a moment is in, in milliseconds since 1970.
    pub(crate) fn of(moment_ms: u64) -> Self {
        Self(day_of(moment_ms).replace_day(1).expect("each month has a first"))
    }

    pub(crate) fn before(self) -> Self {
        let last = self.0.previous_day().unwrap_or(self.0);
        Self(last.replace_day(1).expect("each month has a first"))
    }

    /// From its first moment to that of the next month.
    pub(crate) fn span(self) -> Span {
        let days = self.0.month().length(self.0.year());
        let from_ms = u64::try_from(self.0.midnight().assume_utc().unix_timestamp()).unwrap_or(0) * 1_000;
        Span { from_ms, to_ms: from_ms + u64::from(days) * 86_400_000 }
    }
}

/// The day that a moment is in.
pub(crate) fn day_of(moment_ms: u64) -> Date {
    let seconds = i64::try_from(moment_ms / 1_000).unwrap_or(0);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH).date()
}

impl FromStr for Month {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (year, month) = text.split_once('-').filter(|(year, month)| (year.len(), month.len()) == (4, 2))?;
            let month = time::Month::try_from(month.parse::<u8>().ok()?).ok()?;
            Date::from_calendar_date(year.parse().ok().filter(|year| *year >= 1970)?, month, 1).ok()
        };
        parse().map(Self).ok_or_else(|| format!("{text:?} is no month; they are written as 2026-01"))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), u8::from(self.0.month()))
    }
}
