//! Values and errors of `trellis:sql` as the actors of the bank use them; each of those that keep rows has this as a module.

use crate::demo::bank::types::Fault;
use crate::trellis::sql::database::{Error, Step, Value};

/// A step that must affect one row.
pub(crate) fn step(statement: &str, params: Vec<Value>) -> Step {
    Step { statement: statement.to_owned(), params, expect: Some(1) }
}

pub(crate) fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

/// A number that fits the columns, which are of 64 bits with a sign.
pub(crate) fn int(value: u64) -> Result<Value, Fault> {
    i64::try_from(value).map(Value::Int64).map_err(|_| Fault::Invalid(format!("{value} is too large")))
}

/// What is said of an error: only those that will be the same next time are `invalid`.
pub(crate) fn fault(error: Error) -> Fault {
    match error {
        Error::Invalid(_) | Error::Constraint(_) | Error::Limit(_) | Error::Denied(_) => {
            Fault::Invalid(format!("the database refused: {error:?}"))
        }
        _ => Fault::Unavailable(format!("the database: {error:?}")),
    }
}

/// A row that is not as the tables are. What is in it is not said: that may be the hash of a password.
pub(crate) fn unexpected(row: &[Value]) -> Fault {
    Fault::Invalid(format!("the database has an unexpected row of {} values", row.len()))
}
