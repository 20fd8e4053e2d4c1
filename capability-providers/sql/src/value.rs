//! The texts of values that are texts in both backends: one form each, so that a value reads the same wherever it was
//! kept, and sorts by time.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime, UtcOffset};
use trellis_interfaces::sql::{Error, Fault};
use uuid::Uuid;

type Format = &'static [time::format_description::BorrowedFormatItem<'static>];

const DATE: Format = format_description!("[year]-[month]-[day]");
const LOCAL: Format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
const LOCAL_FRACTION: Format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond]");

/// A moment in UTC, or a time without a zone as it is.
///
/// # Errors
/// `Invalid` when it is not RFC 3339.
pub(crate) fn timestamp(text: &str) -> Result<String, Error> {
    if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
        return moment_text(moment).ok_or_else(|| invalid("timestamp", text));
    }
    let local = PrimitiveDateTime::parse(text, LOCAL).or_else(|_| PrimitiveDateTime::parse(text, LOCAL_FRACTION));
    local.ok().and_then(local_text).ok_or_else(|| invalid("timestamp", text))
}

/// The text of a moment.
pub(crate) fn moment_text(moment: OffsetDateTime) -> Option<String> {
    moment.to_offset(UtcOffset::UTC).format(&Rfc3339).ok()
}

/// The text of a time without a zone.
pub(crate) fn local_text(local: PrimitiveDateTime) -> Option<String> {
    let format = if local.nanosecond() == 0 { LOCAL } else { LOCAL_FRACTION };
    local.format(format).ok()
}

/// The text of a day.
pub(crate) fn date_text(date: Date) -> Option<String> {
    date.format(DATE).ok()
}

/// A day.
///
/// # Errors
/// `Invalid` when it is none.
pub(crate) fn date(text: &str) -> Result<String, Error> {
    let date = Date::parse(text, DATE).ok().and_then(date_text);
    date.ok_or_else(|| invalid("date", text))
}

/// A UUID, in lower case.
///
/// # Errors
/// `Invalid` when it is none.
pub(crate) fn uuid(text: &str) -> Result<String, Error> {
    Uuid::parse_str(text).map(|uuid| uuid.to_string()).map_err(|_| invalid("uuid", text))
}

/// A decimal number.
///
/// # Errors
/// `Invalid` when it is none.
pub(crate) fn numeric(text: &str) -> Result<String, Error> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_valid = is_number(whole) && is_number(fraction);
    if is_valid { Ok(text.to_owned()) } else { Err(invalid("numeric", text)) }
}

fn invalid(kind: &str, text: &str) -> Error {
    let example = match kind {
        "timestamp" => "2026-01-31T08:15:00Z",
        "date" => "2026-01-31",
        "uuid" => "67e55044-10b1-426f-9247-bb680e5fe0c8",
        _ => "-12.50",
    };
    // The value itself may be a secret.
    let message = format!("a parameter of {} bytes is no {kind}, e.g. {example}", text.len());
    Error::Invalid(Fault { message, code: Some("22P02".to_owned()), step: None })
}

#[cfg(test)]
mod tests {
    use super::{date, numeric, timestamp, uuid};
    use trellis_interfaces::sql::Error;

    fn check(read: fn(&str) -> Result<String, Error>, text: &str, expected: Option<&str>) {
        assert_eq!(read(text).ok().as_deref(), expected, "{text}");
    }

    #[test]
    fn each_value_has_one_text() {
        check(timestamp, "2026-01-31T08:15:00+02:00", Some("2026-01-31T06:15:00Z"));
        check(timestamp, "2026-01-31T08:15:00.500Z", Some("2026-01-31T08:15:00.5Z"));
        check(timestamp, "2026-01-31T08:15:00.25", Some("2026-01-31T08:15:00.25"));
        check(timestamp, "2026-01-31T08:15:00", Some("2026-01-31T08:15:00"));
        check(date, "2026-01-31", Some("2026-01-31"));
        check(uuid, "67E55044-10B1-426F-9247-BB680E5FE0C8", Some("67e55044-10b1-426f-9247-bb680e5fe0c8"));
        check(numeric, "-12.50", Some("-12.50"));
        check(numeric, "7", Some("7"));
    }

    #[test]
    fn what_is_no_such_value_is_refused() {
        for text in ["", "now", "2026-02-30T00:00:00Z", "2026-01-31"] {
            check(timestamp, text, None);
        }
        for text in ["", "2026-02-30", "31.01.2026"] {
            check(date, text, None);
        }
        check(uuid, "not one", None);
        for text in ["", "-", "1.", ".5", "1e5", "1,5", "--1", "0x1", "1; drop table t"] {
            check(numeric, text, None);
        }
    }
}
