//! Times as texts: a whole number and its unit.

use std::time::Duration;

/// The longest time that a text may stand for.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// The time that `text` stands for: a whole number and `ms`, `s`, `m`, `h` or `d`; not zero, at most a year.
pub fn parse(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().ok()?;
    let duration = match unit.trim_start() {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3_600)?),
        "d" => Duration::from_secs(number.checked_mul(86_400)?),
        _ => return None,
    };
    (!duration.is_zero() && duration <= LONGEST).then_some(duration)
}
