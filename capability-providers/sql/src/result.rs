//! Collecting rows within the limits of a link.

use trellis_interfaces::sql::{Error, Mismatch, Rows, Step, Value};

/// How much a result may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Rows of one call.
    pub(crate) rows: usize,
    /// Bytes of values of one call.
    pub(crate) bytes: usize,
}

/// What is left of the limits of a call.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: Limits,
    left: Limits,
}

/// What a value costs besides its bytes.
const VALUE_BYTES: usize = 8;

impl Budget {
    /// All of `limits`.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, left: limits }
    }

    /// Adds `row` to `rows`.
    ///
    /// # Errors
    /// `Limit` when that is more than is left.
    pub(crate) fn add(&mut self, rows: &mut Rows, row: Vec<Value>) -> Result<(), Error> {
        let limits = self.limits;
        let left = self.left.rows.checked_sub(1);
        self.left.rows = left.ok_or_else(|| {
            Error::Limit(format!("more than {} rows: ask for fewer, or raise `max-rows` of the link", limits.rows))
        })?;
        let left = self.left.bytes.checked_sub(row.iter().map(size).sum());
        self.left.bytes = left.ok_or_else(|| {
            Error::Limit(format!("more than {} bytes: ask for less, or raise `max-bytes` of the link", limits.bytes))
        })?;
        rows.rows.push(row);
        Ok(())
    }
}

fn size(value: &Value) -> usize {
    VALUE_BYTES
        + match value {
            Value::Text(text)
            | Value::Numeric(text)
            | Value::Timestamp(text)
            | Value::Date(text)
            | Value::Uuid(text)
            | Value::Json(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            Value::Null | Value::Boolean(_) | Value::Int64(_) | Value::Float64(_) => 0,
        }
}

/// Holds what `step` affected against what it must.
///
/// # Errors
/// `Unexpected` when they differ.
pub(crate) fn expect(index: u32, step: &Step, affected: u64) -> Result<(), Error> {
    match step.expect {
        Some(expected) if expected != affected => Err(Error::Unexpected(Mismatch { step: index, expected, affected })),
        _ => Ok(()),
    }
}

/// `error`, as that of step `index`.
pub(crate) fn of_step(mut error: Error, index: u32) -> Error {
    match &mut error {
        Error::Invalid(fault) | Error::Conflict(fault) | Error::Other(fault) => fault.step = Some(index),
        Error::Constraint(violation) => violation.fault.step = Some(index),
        _ => {}
    }
    error
}

#[cfg(test)]
mod tests {
    use super::{Budget, Limits};
    use trellis_interfaces::sql::{Error, Rows, Value};

    #[test]
    fn a_result_over_a_limit_is_refused_naming_the_key() {
        let check = |limits, row: Vec<Value>, key: &str| {
            let (mut budget, mut rows) = (Budget::new(limits), Rows::default());
            budget.add(&mut rows, row.clone()).expect("there is room");
            match budget.add(&mut rows, row) {
                Err(Error::Limit(text)) => assert!(text.contains(key), "{text}"),
                other => panic!("{other:?}"),
            }
        };
        check(Limits { rows: 1, bytes: 1_000 }, vec![Value::Int64(1)], "max-rows");
        check(Limits { rows: 10, bytes: 30 }, vec![Value::Text("0123456789".into())], "max-bytes");
    }
}
