//! Values to SQLite and from it. SQLite has five kinds; the others are told by the type that a column is declared with.

use rusqlite::Statement;
use rusqlite::types::{ToSqlOutput, Value as Stored, ValueRef};
use trellis_interfaces::sql::{Error, Value};

use crate::value::{date, numeric, timestamp, uuid};

/// A parameter.
pub(super) fn to_sql(value: &Value) -> Result<ToSqlOutput<'_>, Error> {
    let text = |text: String| ToSqlOutput::Owned(Stored::Text(text));
    Ok(match value {
        Value::Null => ToSqlOutput::Owned(Stored::Null),
        Value::Boolean(value) => ToSqlOutput::Owned(Stored::Integer(i64::from(*value))),
        Value::Int64(value) => ToSqlOutput::Owned(Stored::Integer(*value)),
        Value::Float64(value) => ToSqlOutput::Owned(Stored::Real(*value)),
        Value::Text(value) | Value::Json(value) => ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes())),
        Value::Blob(value) => ToSqlOutput::Borrowed(ValueRef::Blob(value)),
        Value::Numeric(value) => text(numeric(value)?),
        Value::Timestamp(value) => text(timestamp(value)?),
        Value::Date(value) => text(date(value)?),
        Value::Uuid(value) => text(uuid(value)?),
    })
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Stored,
    Boolean,
    Numeric,
    Timestamp,
    Date,
    Uuid,
    Json,
}

/// The names and kinds of the columns of a result.
pub(super) fn columns(statement: &Statement<'_>) -> (Vec<String>, Vec<Kind>) {
    statement.columns().map(|column| (column.name().to_owned(), Kind::declared(column.decl_type()))).unzip()
}

impl Kind {
    fn declared(declared: Option<&str>) -> Self {
        const KINDS: &[(&str, Kind)] = &[
            ("bool", Kind::Boolean),
            ("numeric", Kind::Numeric),
            ("decimal", Kind::Numeric),
            ("timestamp", Kind::Timestamp),
            ("datetime", Kind::Timestamp),
            ("date", Kind::Date),
            ("uuid", Kind::Uuid),
            ("json", Kind::Json),
        ];
        let declared = declared.unwrap_or_default().to_ascii_lowercase();
        let known = KINDS.iter().find(|(name, _)| declared.starts_with(name));
        known.map_or(Self::Stored, |(_, kind)| *kind)
    }

    /// The value of a column of this kind; what was stored as something else stays that.
    pub(super) fn value(self, stored: ValueRef<'_>) -> Value {
        match (self, stored) {
            (_, ValueRef::Null) => Value::Null,
            (_, ValueRef::Blob(bytes)) => Value::Blob(bytes.to_vec().into()),
            (Self::Boolean, ValueRef::Integer(number)) => Value::Boolean(number != 0),
            (Self::Numeric, ValueRef::Integer(number)) => Value::Numeric(number.to_string()),
            (Self::Numeric, ValueRef::Real(number)) => Value::Numeric(number.to_string()),
            (Self::Json, ValueRef::Integer(number)) => Value::Json(number.to_string()),
            (Self::Json, ValueRef::Real(number)) => Value::Json(number.to_string()),
            (_, ValueRef::Integer(number)) => Value::Int64(number),
            (_, ValueRef::Real(number)) => Value::Float64(number),
            (kind, ValueRef::Text(bytes)) => kind.text(String::from_utf8_lossy(bytes).into_owned()),
        }
    }

    fn text(self, text: String) -> Value {
        match self {
            Self::Numeric => Value::Numeric(text),
            // `current_timestamp` writes UTC with a space in the middle.
            Self::Timestamp if text.len() == 19 && text.as_bytes()[10] == b' ' => {
                Value::Timestamp(text.replacen(' ', "T", 1) + "Z")
            }
            Self::Timestamp => Value::Timestamp(text),
            Self::Date => Value::Date(text),
            Self::Uuid => Value::Uuid(text),
            Self::Json => Value::Json(text),
            Self::Stored | Self::Boolean => Value::Text(text),
        }
    }
}
