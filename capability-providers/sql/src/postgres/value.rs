//! Values to PostgreSQL and from it. Parameters travel as texts, which the server reads by the type that the statement
//! gives them, as it does with quoted literals; columns come in the server's binary form.

use std::error::Error as StdError;
use std::fmt;

use bytes::{BufMut as _, Bytes, BytesMut};
use time::{Date, OffsetDateTime, PrimitiveDateTime};
use tokio_postgres::Column;
use tokio_postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type};
use trellis_interfaces::sql::{Error, Fault, Value};
use uuid::Uuid;

use crate::value::{date, date_text, local_text, moment_text, numeric, timestamp, uuid};

type Problem = Box<dyn StdError + Sync + Send>;

/// A parameter.
pub(super) enum Param {
    /// None.
    Null,
    /// As a text.
    Text(String),
    /// As it is.
    Blob(Bytes),
}

impl Param {
    /// `value` as a parameter.
    pub(super) fn new(value: &Value) -> Result<Self, Error> {
        Ok(Self::Text(match value {
            Value::Null => return Ok(Self::Null),
            Value::Blob(bytes) => return Ok(Self::Blob(bytes.clone())),
            Value::Boolean(value) => value.to_string(),
            Value::Int64(value) => value.to_string(),
            Value::Float64(value) => value.to_string(),
            Value::Text(text) | Value::Json(text) => text.clone(),
            Value::Numeric(text) => numeric(text)?,
            Value::Timestamp(text) => timestamp(text)?,
            Value::Date(text) => date(text)?,
            Value::Uuid(text) => uuid(text)?,
        }))
    }
}

/// The client writes parameters to its log.
impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl ToSql for Param {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Problem> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Text(text) => out.put_slice(text.as_bytes()),
            Self::Blob(bytes) => out.put_slice(bytes),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Problem> {
        self.to_sql(ty, out)
    }

    fn encode_format(&self, _: &Type) -> Format {
        if let Self::Blob(_) = self { Format::Binary } else { Format::Text }
    }
}

/// A value of a column.
pub(super) struct Cell(pub(super) Value);

/// Whether values of these columns can be returned.
///
/// # Errors
/// `Invalid`, naming the column and the way out.
pub(super) fn check_columns(columns: &[Column]) -> Result<(), Error> {
    let Some(column) = columns.iter().find(|column| !Cell::accepts(column.type_())) else { return Ok(()) };
    let (name, ty) = (column.name(), column.type_());
    let message = format!("column {name:?} is a {ty}, for which there is no value: cast it to text, or use to_json");
    Err(Error::Invalid(Fault { message, code: Some("0A000".to_owned()), step: None }))
}

impl<'a> FromSql<'a> for Cell {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Problem> {
        decode(ty, raw).map(Self)
    }

    fn from_sql_null(_: &Type) -> Result<Self, Problem> {
        Ok(Self(Value::Null))
    }

    fn accepts(ty: &Type) -> bool {
        match ty.kind() {
            Kind::Domain(inner) => Self::accepts(inner),
            Kind::Enum(_) => true,
            // What functions without a result return.
            Kind::Pseudo => *ty == Type::VOID,
            Kind::Simple => {
                const KNOWN: &[Type] = &[
                    Type::BOOL,
                    Type::INT2,
                    Type::INT4,
                    Type::INT8,
                    Type::OID,
                    Type::FLOAT4,
                    Type::FLOAT8,
                    Type::TEXT,
                    Type::VARCHAR,
                    Type::BPCHAR,
                    Type::NAME,
                    Type::UNKNOWN,
                    Type::BYTEA,
                    Type::NUMERIC,
                    Type::TIMESTAMPTZ,
                    Type::TIMESTAMP,
                    Type::DATE,
                    Type::UUID,
                    Type::JSON,
                    Type::JSONB,
                ];
                KNOWN.contains(ty)
            }
            _ => false,
        }
    }
}

fn decode(ty: &Type, raw: &[u8]) -> Result<Value, Problem> {
    if let Kind::Domain(inner) = ty.kind() {
        return decode(inner, raw);
    }
    let out_of_range = || Problem::from(format!("a {ty} is out of the range of the contract"));
    Ok(match *ty {
        Type::VOID => Value::Null,
        Type::BOOL => Value::Boolean(bool::from_sql(ty, raw)?),
        Type::INT2 => Value::Int64(i16::from_sql(ty, raw)?.into()),
        Type::INT4 => Value::Int64(i32::from_sql(ty, raw)?.into()),
        Type::INT8 => Value::Int64(i64::from_sql(ty, raw)?),
        Type::OID => Value::Int64(u32::from_sql(ty, raw)?.into()),
        Type::FLOAT4 => Value::Float64(f32::from_sql(ty, raw)?.into()),
        Type::FLOAT8 => Value::Float64(f64::from_sql(ty, raw)?),
        Type::BYTEA => Value::Blob(Bytes::copy_from_slice(raw)),
        Type::NUMERIC => Value::Numeric(decimal(raw).ok_or_else(out_of_range)?),
        Type::TIMESTAMPTZ => {
            Value::Timestamp(moment_text(OffsetDateTime::from_sql(ty, raw)?).ok_or_else(out_of_range)?)
        }
        Type::TIMESTAMP => {
            Value::Timestamp(local_text(PrimitiveDateTime::from_sql(ty, raw)?).ok_or_else(out_of_range)?)
        }
        Type::DATE => Value::Date(date_text(Date::from_sql(ty, raw)?).ok_or_else(out_of_range)?),
        Type::UUID => Value::Uuid(Uuid::from_sql(ty, raw)?.to_string()),
        Type::JSON => Value::Json(std::str::from_utf8(raw)?.to_owned()),
        // The first byte is the version of the binary form, which is 1 and text.
        Type::JSONB => Value::Json(std::str::from_utf8(raw.get(1..).ok_or_else(out_of_range)?)?.to_owned()),
        _ => Value::Text(std::str::from_utf8(raw)?.to_owned()),
    })
}

/// The digits of a NUMERIC, which come in groups of four: count, weight of the first group, sign, digits after the
/// point, groups.
fn decimal(raw: &[u8]) -> Option<String> {
    let word = |index: usize| raw.get(index * 2..index * 2 + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let (count, weight, sign, scale) = (word(0)?, word(1)?.cast_signed(), word(2)?, word(3)?);
    let sign = match sign {
        0x0000 => "",
        0x4000 => "-",
        0xC000 => return Some("NaN".to_owned()),
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        _ => return None,
    };
    let groups: Vec<u16> = (0..usize::from(count)).map(|index| word(4 + index)).collect::<Option<_>>()?;
    // Groups that are zero at either end are left out.
    let group = |position: i32| {
        let index = usize::try_from(i32::from(weight) - position).ok();
        index.and_then(|index| groups.get(index)).copied().unwrap_or(0)
    };
    let whole: String =
        (0..=i32::from(weight.max(0))).rev().map(|position| format!("{:04}", group(position))).collect();
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    if scale == 0 {
        return Some(format!("{sign}{whole}"));
    }
    let after = i32::from(scale.div_ceil(4));
    let fraction: String = (1..=after).map(|position| format!("{:04}", group(-position))).collect();
    Some(format!("{sign}{whole}.{}", &fraction[..usize::from(scale)]))
}

#[cfg(test)]
mod tests {
    use super::{Param, decimal};
    use trellis_interfaces::sql::Value;

    fn check(words: &[u16], expected: Option<&str>) {
        let raw: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(decimal(&raw).as_deref(), expected, "{words:x?}");
    }

    #[test]
    fn groups_of_digits_become_a_decimal() {
        check(&[0, 0, 0, 0], Some("0"));
        check(&[0, 0, 0, 2], Some("0.00"));
        check(&[2, 0, 0, 2, 12, 5000], Some("12.50"));
        check(&[2, 0, 0x4000, 4, 12, 5], Some("-12.0005"));
        check(&[1, 1, 0, 0, 3], Some("30000"));
        check(&[1, 0xFFFE, 0, 8, 7], Some("0.00000007"));
        check(&[3, 1, 0, 1, 1, 2, 3000], Some("10002.3"));
        check(&[0, 0, 0xC000, 0], Some("NaN"));
        check(&[1, 0, 0, 0], None);
        check(&[], None);
    }

    #[test]
    fn parameters_are_not_shown() {
        let param = Param::new(&Value::Text("secret".into())).expect("valid");
        assert_eq!(format!("{param:?}"), "***");
    }
}
