//! trellis:sql as it travels.
//!
//! The parameters of a function are the fields of the type with its name, in order; its result is
//! [`Result<T, Error>`](Error) with the `T` that is said there.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// `database`, with its version.
pub const DATABASE: &str = "trellis:sql/database@0.1.0";

/// Names of functions.
pub mod function {
    /// [`super::Query`].
    pub const QUERY: &str = "query";
    /// [`super::Execute`].
    pub const EXECUTE: &str = "execute";
    /// [`super::Transaction`].
    pub const TRANSACTION: &str = "transaction";
    /// [`super::Begin`].
    pub const BEGIN: &str = "begin";
    /// [`super::QueryIn`].
    pub const QUERY_IN: &str = "query-in";
    /// [`super::ExecuteIn`].
    pub const EXECUTE_IN: &str = "execute-in";
    /// [`super::Commit`].
    pub const COMMIT: &str = "commit";
    /// [`super::Rollback`].
    pub const ROLLBACK: &str = "rollback";
}

/// A value of a parameter or a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// None.
    Null,
    /// A truth value.
    Boolean(bool),
    /// A whole number.
    Int64(i64),
    /// A floating-point number.
    Float64(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Blob(Bytes),
    /// An exact decimal number.
    Numeric(String),
    /// A moment in RFC 3339; without `Z` or offset, a time of no time zone.
    Timestamp(String),
    /// A day, `2026-01-31`.
    Date(String),
    /// A UUID with its dashes.
    Uuid(String),
    /// A JSON text.
    Json(String),
}

/// The rows of a result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// One value a column each.
    pub rows: Vec<Vec<Value>>,
}

/// One statement of a transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// One statement, with `$1`, `$2`, … for its parameters.
    pub statement: String,
    /// The parameters.
    pub params: Vec<Value>,
    /// How many rows it must affect.
    pub expect: Option<u64>,
}

/// What came of a statement.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Rows inserted, updated or deleted; of a statement that only reads, the rows returned.
    pub affected: u64,
    /// What it returned.
    pub returned: Rows,
}

/// What a transaction sees of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Each statement sees what was committed before it.
    ReadCommitted,
    /// All statements see one moment.
    RepeatableRead,
    /// As if transactions came one after another.
    Serializable,
}

/// What the database says of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// For people.
    pub message: String,
    /// The SQLSTATE, or of SQLite the nearest one.
    pub code: Option<String>,
    /// Which step of `transaction` it was, from 0.
    pub step: Option<u32>,
}

/// The kind of a constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConstraintKind {
    /// `unique` or `primary key`.
    Unique,
    /// `references`.
    ForeignKey,
    /// `not null`.
    NotNull,
    /// `check`.
    Check,
    /// `exclude`.
    Exclusion,
    /// Another one: of a trigger, or a type.
    Other,
}

/// A constraint that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Its kind.
    pub kind: ConstraintKind,
    /// The name of the constraint, or of the columns, if the database tells.
    pub name: Option<String>,
    /// What the database says.
    pub fault: Fault,
}

/// A step that affected another number of rows than it must.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// The step, from 0.
    pub step: u32,
    /// What it must affect.
    pub expected: u64,
    /// What it did affect.
    pub affected: u64,
}

/// The error of all functions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Error {
    /// The statement, or a parameter for it, is wrong.
    #[error("statement is not valid: {}", .0.message)]
    Invalid(Fault),
    /// A constraint does not hold.
    #[error("constraint does not hold: {}", .0.fault.message)]
    Constraint(Violation),
    /// A step affected another number of rows than it must.
    #[error("step {} affected {} rows, not {}", .0.step, .0.affected, .0.expected)]
    Unexpected(Mismatch),
    /// Another transaction was in the way.
    #[error("conflict with another transaction: {}", .0.message)]
    Conflict(Fault),
    /// The time was over.
    #[error("the time was over: {0}")]
    Timeout(String),
    /// The database cannot be reached now.
    #[error("database is unavailable: {0}")]
    Unavailable(String),
    /// A change may have happened.
    #[error("it is not known whether the change happened: {0}")]
    UnknownOutcome(String),
    /// More than the link allows.
    #[error("over a limit: {0}")]
    Limit(String),
    /// The link does not allow it.
    #[error("denied: {0}")]
    Denied(String),
    /// No such transaction is open here.
    #[error("no such transaction is open")]
    NoTransaction,
    /// Anything else that the database says.
    #[error("{}", .0.message)]
    Other(Fault),
}

/// `query`; [`Rows`] come back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Query {
    /// The statement.
    pub statement: String,
    /// Its parameters.
    pub params: Vec<Value>,
}

/// `execute`; the number of rows affected, a `u64`, comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Execute {
    /// The statement.
    pub statement: String,
    /// Its parameters.
    pub params: Vec<Value>,
}

/// `transaction`; one [`Outcome`] a step comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transaction {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// None is what the link says.
    pub isolation: Option<Isolation>,
}

/// `begin`; the name of a transaction, a `String`, comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// None is what the link says.
    pub isolation: Option<Isolation>,
}

/// `query-in`; [`Rows`] come back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryIn {
    /// The transaction.
    pub tx: String,
    /// The statement.
    pub statement: String,
    /// Its parameters.
    pub params: Vec<Value>,
}

/// `execute-in`; the number of rows affected, a `u64`, comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecuteIn {
    /// The transaction.
    pub tx: String,
    /// The statement.
    pub statement: String,
    /// Its parameters.
    pub params: Vec<Value>,
}

/// `commit`; nothing comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The transaction.
    pub tx: String,
}

/// `rollback`; nothing comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// The transaction.
    pub tx: String,
}

#[cfg(test)]
mod tests {
    use super::{Error, Isolation, Query, Transaction, Value};

    #[test]
    fn values_go_by_their_wit_names() {
        let query = Query {
            statement: "s".into(),
            params: vec![Value::Null, Value::Int64(-1), Value::Blob([0, 255].as_slice().into())],
        };
        let bytes = rmp_serde::to_vec(&query).expect("encodes");
        let expected = [b"\x92\xa1s\x93\xa4null\x81\xa5int64\xff\x81\xa4blob".as_slice(), &[0xc4, 2, 0, 255]];
        assert_eq!(bytes, expected.concat());
        assert_eq!(rmp_serde::from_slice::<Query>(&bytes).expect("decodes"), query);
    }

    #[test]
    fn errors_and_options_have_the_shapes_of_wit() {
        let bytes = rmp_serde::to_vec(&Err::<(), _>(Error::NoTransaction)).expect("encodes");
        assert_eq!(bytes, b"\x81\xa3Err\xaeno-transaction");
        let transaction: Transaction =
            rmp_serde::from_slice(b"\x92\x91\x93\xa1s\x90\x01\xacserializable").expect("decodes");
        assert_eq!((transaction.steps[0].expect, transaction.isolation), (Some(1), Some(Isolation::Serializable)));
    }
}
