//! How many requests a link takes in a time: a bucket of tokens that fills evenly.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use trellis_provider_sdk::config::{Form, optional};
use trellis_provider_sdk::{LinkError, StringMap};

const RATE: Form<Duration> =
    Form { expected: "a number from 1 to 1000000, and `/s`, `/m` or `/h`", example: "100/s", parse: interval };

const BURST: Form<u32> = Form {
    expected: "a number from 1 to 1000000",
    example: "200",
    parse: |text| text.parse().ok().filter(|n| (1..=1_000_000).contains(n)),
};

/// A rate, and how much of it may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Between two tokens.
    interval: Duration,
    /// How many there are at most.
    burst: u32,
}

impl Rate {
    /// Reads it from the config of a link. Without `rate_burst`, what comes in a second may come at once.
    pub(crate) fn parse(config: &StringMap) -> Result<Option<Self>, LinkError> {
        let burst = optional(config, "rate_burst", &BURST)?;
        let rate = optional(config, "rate_limit", &RATE)?.map(|interval| {
            let in_a_second = Duration::from_secs(1).as_nanos() / interval.as_nanos();
            let burst = burst.unwrap_or_else(|| u32::try_from(in_a_second).unwrap_or(u32::MAX).max(1));
            Self { interval, burst }
        });
        Ok(rate)
    }
}

/// The tokens of one link.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    start: Instant,
    /// When the bucket would be full again, in nanoseconds since the start: one number says it all, so that requests
    /// at the same time need no lock.
    full_at_ns: AtomicU64,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, start: Instant::now(), full_at_ns: AtomicU64::new(0) }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// How long it is until there is one.
    pub(crate) fn take(&self, now: Instant) -> Result<(), Duration> {
        let now_ns = nanoseconds(now.saturating_duration_since(self.start));
        let interval_ns = nanoseconds(self.rate.interval);
        let most_ns = interval_ns.saturating_mul(self.rate.burst.into());
        let mut wait_ns = 0;
        let taken = self.full_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at_ns| {
            let next_ns = full_at_ns.max(now_ns).saturating_add(interval_ns);
            wait_ns = next_ns.saturating_sub(now_ns).saturating_sub(most_ns);
            (wait_ns == 0).then_some(next_ns)
        });
        taken.map(drop).map_err(|_| Duration::from_nanos(wait_ns))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn interval(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_once('/')?;
    let number: u32 = number.trim().parse().ok().filter(|n| (1..=1_000_000).contains(n))?;
    let time = match unit.trim() {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_mins(1),
        "h" => Duration::from_hours(1),
        _ => return None,
    };
    Some(time / number)
}

#[cfg(test)]
mod tests {
    use super::{Bucket, Rate};
    use std::time::Duration;
    use trellis_provider_sdk::testing::config;

    fn bucket(pairs: &[(&str, &str)]) -> Bucket {
        Bucket::new(Rate::parse(&config(pairs)).expect("valid").expect("a rate"))
    }

    #[test]
    fn as_many_as_the_burst_come_at_once_and_then_one_an_interval() {
        let bucket = bucket(&[("rate_limit", "10/s"), ("rate_burst", "3")]);
        let at = |ms| bucket.start + Duration::from_millis(ms);
        for _ in 0..3 {
            assert_eq!(bucket.take(at(0)), Ok(()));
        }
        assert_eq!(bucket.take(at(0)), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(at(40)), Err(Duration::from_millis(60)));
        assert_eq!(bucket.take(at(100)), Ok(()));
        assert!(bucket.take(at(100)).is_err());
        let taken = (0..10).filter(|_| bucket.take(at(60_000)).is_ok()).count();
        assert_eq!(taken, 3, "what was not used is not saved beyond the burst");
    }

    #[test]
    fn of_many_at_the_same_time_no_more_get_one_than_there_are() {
        let bucket = bucket(&[("rate_limit", "1000/h"), ("rate_burst", "100")]);
        let now = bucket.start;
        let taken: usize = std::thread::scope(|scope| {
            let take = || (0..100).filter(|_| bucket.take(now).is_ok()).count();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(taken, 100);
    }

    #[test]
    fn a_wrong_rate_is_named_with_an_example() {
        for (key, value, example) in [
            ("rate_limit", "100", "100/s"),
            ("rate_limit", "0/s", "100/s"),
            ("rate_limit", "1/d", "100/s"),
            ("rate_burst", "0", "200"),
        ] {
            let error = Rate::parse(&config(&[(key, value)])).expect_err(value).to_string();
            assert!(error.contains(key) && error.contains(example), "{error}");
        }
        let minute = bucket(&[("rate_limit", "60/m")]);
        assert_eq!((minute.rate.interval, minute.rate.burst), (Duration::from_secs(1), 1));
    }
}
