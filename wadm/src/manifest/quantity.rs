//! Quantities with their unit: sizes, times, processor shares, counts or percents. Each is written as it is read.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// Why a text is no such quantity: what is expected, and an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, e.g. `{example}`")]
pub struct NotAQuantity {
    expected: &'static str,
    example: &'static str,
}

macro_rules! written_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

/// A size in bytes, written `512`, `64Ki`, `64Mi`, `2Gi`; `KiB`, `MiB`, `GiB` are read too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

written_as_text!(ByteSize);

impl FromStr for ByteSize {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = NotAQuantity { expected: "a size in bytes, Ki, Mi or Gi", example: "64Mi" };
        let (number, unit) = number_and_unit(text).ok_or(error)?;
        let shift = match unit {
            "" | "B" => 0,
            "Ki" | "KiB" => 10,
            "Mi" | "MiB" => 20,
            "Gi" | "GiB" => 30,
            _ => return Err(error),
        };
        number.checked_mul(1 << shift).map(Self).ok_or(error)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shift, unit) = [(30, "Gi"), (20, "Mi"), (10, "Ki")]
            .into_iter()
            .find(|(shift, _)| self.0 != 0 && self.0.is_multiple_of(1 << shift))
            .unwrap_or((0, ""));
        write!(f, "{}{unit}", self.0 >> shift)
    }
}

/// A time, written `250ms`, `30s`, `5m`, `2h` or `1d`; at most a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

written_as_text!(Span);

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const YEAR: Duration = Duration::from_hours(24 * 366);

impl FromStr for Span {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = NotAQuantity { expected: "a time in ms, s, m, h or d, of at most a year", example: "250ms" };
        let (number, unit) = number_and_unit(text).ok_or(error)?;
        let (_, millis) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or(error)?;
        let duration = Duration::from_millis(number.checked_mul(millis).ok_or(error)?);
        if duration > YEAR { Err(error) } else { Ok(Self(duration)) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_millis();
        let found = UNITS.into_iter().find(|(_, millis)| total.is_multiple_of(u128::from(*millis)) && total != 0);
        let (unit, millis) = found.unwrap_or(("s", 1_000));
        write!(f, "{}{unit}", total / u128::from(millis))
    }
}

/// How long a silent host is waited for, written as a time or `forever`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// So long, counted from its last sign of life.
    For(Duration),
    /// What it runs is never replaced on account of its silence.
    Forever,
}

written_as_text!(Patience);

impl FromStr for Patience {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "forever" => Ok(Self::Forever),
            _ => text.parse().map(|Span(duration)| Self::For(duration)).map_err(|error: NotAQuantity| NotAQuantity {
                expected: "`forever`, or a time in ms, s, m, h or d, of at most a year",
                ..error
            }),
        }
    }
}

impl fmt::Display for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(duration) => Span(*duration).fmt(f),
            Self::Forever => f.write_str("forever"),
        }
    }
}

/// A share of processors, in thousandths of one, written `250m`, or `2` for two whole ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpu {
    /// Thousandths of one processor.
    pub millis: u64,
}

written_as_text!(Cpu);

impl FromStr for Cpu {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = NotAQuantity { expected: "whole processors, or thousandths of one in m", example: "250m" };
        let (number, unit) = number_and_unit(text).ok_or(error)?;
        let millis = match unit {
            "" => number.checked_mul(1_000).ok_or(error)?,
            "m" => number,
            _ => return Err(error),
        };
        Ok(Self { millis })
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.millis.is_multiple_of(1_000) {
            true => write!(f, "{}", self.millis / 1_000),
            false => write!(f, "{}m", self.millis),
        }
    }
}

/// So many, or a share of the whole, written `2` or `25%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Count(u32),
    /// A share of the whole, 0 to 100.
    Percent(u32),
}

impl Amount {
    /// How many that is of `whole`, a share rounded up.
    pub fn of(self, whole: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let share = (u64::from(whole) * u64::from(percent)).div_ceil(100);
                u32::try_from(share).expect("at most the whole, as percents are at most 100")
            }
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl FromStr for Amount {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = NotAQuantity { expected: "a number, or a share from 0% to 100%", example: "25%" };
        let (number, unit) = number_and_unit(text).ok_or(error)?;
        let number = u32::try_from(number).map_err(|_| error)?;
        match unit {
            "" => Ok(Self::Count(number)),
            "%" if number <= 100 => Ok(Self::Percent(number)),
            _ => Err(error),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;
    use std::str::FromStr;
    use std::time::Duration;

    use super::{Amount, ByteSize, Cpu, Patience, Span};

    fn check<T: FromStr + Display>(written: &[(&str, &str)], refused: &[&str]) {
        for (text, again) in written {
            let value = text.parse::<T>().unwrap_or_else(|_| panic!("{text} is read"));
            assert_eq!(value.to_string(), *again);
        }
        for text in refused {
            assert!(text.parse::<T>().is_err(), "{text} is refused");
        }
    }

    #[test]
    fn quantities_are_written_as_they_are_read() {
        check::<ByteSize>(
            &[("64Mi", "64Mi"), ("64MiB", "64Mi"), ("1024", "1Ki"), ("1000", "1000"), ("0", "0")],
            &["", "Mi", "-1", "1.5Mi", "1 Mi", "64MB", "18446744073709551615Ki"],
        );
        check::<Span>(
            &[("250ms", "250ms"), ("1000ms", "1s"), ("90s", "90s"), ("120s", "2m"), ("48h", "2d"), ("0s", "0s")],
            &["", "5", "ms", "1.5s", "-1s", "400d", "99999999999999999999s", "5 s"],
        );
        check::<Patience>(&[("forever", "forever"), ("2500ms", "2500ms")], &["never", "5"]);
        check::<Cpu>(&[("250m", "250m"), ("2", "2"), ("1000m", "1")], &["0.5", "m", "2x"]);
        check::<Amount>(&[("2", "2"), ("25%", "25%")], &["101%", "-1", "x", "4294967296"]);
    }

    #[test]
    fn a_share_of_the_whole_is_rounded_up() {
        assert_eq!(Amount::Percent(25).of(10), 3);
        assert_eq!(Amount::Percent(0).of(10), 0);
        assert_eq!(Amount::Percent(100).of(u32::MAX), u32::MAX);
        assert_eq!(Amount::Count(4).of(1), 4);
        assert_eq!("5m".parse(), Ok(Span(Duration::from_mins(5))));
    }
}
