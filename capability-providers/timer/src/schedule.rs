//! When a timer is due. Pure.

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::clock::UnixMs;

/// The most firings that are counted as left out.
const MAX_COUNTED: u32 = 1_000;

/// When a timer is due.
#[derive(Debug, Clone)]
pub(crate) enum Schedule {
    /// By a cron expression, in a time zone.
    Cron(Box<Cron>, TimeZone),
    /// At every whole multiple of this since 1970: at the same times on all hosts, whenever they started.
    Every(Duration),
}

/// Parses a cron expression of five fields, or six with seconds first.
pub(crate) fn parse_cron(text: &str) -> Option<Cron> {
    CronParser::builder().year(Year::Disallowed).build().parse(text).ok()
}

impl Schedule {
    /// The first time after `after`; none when there is none any more.
    pub(crate) fn next(&self, after: UnixMs) -> Option<UnixMs> {
        match self {
            Self::Cron(cron, zone) => {
                let next = cron.find_next_occurrence(&zoned(after, zone)?, false).ok()?;
                unix_ms(&next)
            }
            Self::Every(period) => {
                let period = period_ms(*period);
                (after / period).checked_add(1)?.checked_mul(period)
            }
        }
    }

    /// The last time that is not after `now`.
    pub(crate) fn last(&self, now: UnixMs) -> Option<UnixMs> {
        match self {
            Self::Cron(cron, zone) => {
                let last = cron.find_previous_occurrence(&zoned(now, zone)?, true).ok()?;
                unix_ms(&last)
            }
            Self::Every(period) => {
                let period = period_ms(*period);
                Some(now / period * period)
            }
        }
    }

    /// How many times there are after `after` and before `before`; counts no further than a thousand.
    pub(crate) fn count(&self, after: UnixMs, before: UnixMs) -> u32 {
        let times = std::iter::successors(self.next(after), |time| self.next(*time));
        let times = times.take_while(|time| *time < before).take(MAX_COUNTED as usize);
        u32::try_from(times.count()).unwrap_or(MAX_COUNTED)
    }
}

fn period_ms(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn zoned(time: UnixMs, zone: &TimeZone) -> Option<Zoned> {
    Some(Timestamp::from_millisecond(i64::try_from(time).ok()?).ok()?.to_zoned(zone.clone()))
}

fn unix_ms(time: &Zoned) -> Option<UnixMs> {
    u64::try_from(time.timestamp().as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::{Schedule, parse_cron};
    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use std::time::Duration;

    fn ms(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().expect("a time").as_millisecond()).expect("after 1970")
    }

    fn cron(expression: &str, zone: &str) -> Schedule {
        let cron = parse_cron(expression).expect(expression);
        Schedule::Cron(Box::new(cron), TimeZone::get(zone).expect("a zone"))
    }

    fn check(schedule: &Schedule, after: &str, expected: &[&str]) {
        let mut at = ms(after);
        for time in expected {
            let next = schedule.next(at).expect("there is a next one");
            assert_eq!(next, ms(time), "{time} after {after}");
            assert_eq!(schedule.last(next), Some(next));
            assert_eq!(schedule.last(next + 1), Some(next));
            at = next;
        }
    }

    #[test]
    fn cron_has_five_fields_or_six() {
        check(&cron("*/15 * * * *", "UTC"), "2026-01-31T08:14:59Z", &["2026-01-31T08:15:00Z", "2026-01-31T08:30:00Z"]);
        check(&cron("*/10 * * * * *", "UTC"), "2026-01-31T08:15:00Z", &["2026-01-31T08:15:10Z"]);
        check(&cron("0 0 29 2 *", "UTC"), "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00Z"]);
        check(&cron("0 9 * * MON-FRI", "UTC"), "2026-01-30T09:00:00Z", &["2026-02-02T09:00:00Z"]);
        for wrong in ["", "* * * *", "61 * * * *", "* * * * * * 2030", "every minute", "@sometimes"] {
            assert!(parse_cron(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_time_zone_moves_with_summer() {
        let daily = cron("30 9 * * *", "Europe/Berlin");
        check(&daily, "2026-03-27T12:00:00Z", &["2026-03-28T08:30:00Z", "2026-03-29T07:30:00Z"]);
        // 02:30 is not there on the day on which clocks go forward, and there twice when they go back: once each.
        let nightly = cron("30 2 * * *", "Europe/Berlin");
        check(&nightly, "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        check(&nightly, "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn intervals_are_the_same_on_all_hosts() {
        let every = |seconds| Schedule::Every(Duration::from_secs(seconds));
        check(&every(3_600), "2026-01-31T08:15:00Z", &["2026-01-31T09:00:00Z", "2026-01-31T10:00:00Z"]);
        check(&every(90), "1970-01-01T00:00:00Z", &["1970-01-01T00:01:30Z", "1970-01-01T00:03:00Z"]);
    }

    #[test]
    fn times_between_two_are_counted_up_to_a_bound() {
        let schedule = Schedule::Every(Duration::from_secs(1));
        assert_eq!(schedule.count(1_000, 1_000), 0);
        assert_eq!(schedule.count(1_000, 2_000), 0);
        assert_eq!(schedule.count(1_000, 4_001), 3);
        assert_eq!(schedule.count(0, u64::MAX / 2), 1_000);
        let never = cron("0 0 30 2 *", "UTC");
        assert_eq!((never.next(0), never.count(0, u64::MAX)), (None, 0));
    }
}
