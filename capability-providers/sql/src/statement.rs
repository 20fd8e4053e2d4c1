//! What a statement may be, by the word that it begins with.
//!
//! The word decides what is about the session rather than the data: a statement that ends a transaction, changes roles
//! or opens another file never reaches a database. What is about tables, SQLite's authorizer or PostgreSQL's
//! privileges decide besides.

use trellis_interfaces::sql::{Error, Fault};

/// The longest text of a statement.
const MAX_BYTES: usize = 64 << 10;

/// The most parameters that a statement may have.
pub(crate) const MAX_PARAMS: usize = 1_000;

/// What a link lets its actor do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// Read rows.
    Read,
    /// Change rows.
    Write,
    /// Change tables.
    Schema,
}

/// What a statement does, as far as its first word tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It reads.
    Read,
    /// It may change something.
    Write,
}

const WORDS: &[(&str, Access, Kind)] = &[
    ("select", Access::Read, Kind::Read),
    ("values", Access::Read, Kind::Read),
    ("table", Access::Read, Kind::Read),
    ("with", Access::Read, Kind::Write),
    ("explain", Access::Read, Kind::Write),
    ("insert", Access::Write, Kind::Write),
    ("replace", Access::Write, Kind::Write),
    ("update", Access::Write, Kind::Write),
    ("delete", Access::Write, Kind::Write),
    ("merge", Access::Write, Kind::Write),
    ("call", Access::Write, Kind::Write),
    ("lock", Access::Write, Kind::Write),
    ("create", Access::Schema, Kind::Write),
    ("alter", Access::Schema, Kind::Write),
    ("drop", Access::Schema, Kind::Write),
    ("truncate", Access::Schema, Kind::Write),
    ("comment", Access::Schema, Kind::Write),
    ("refresh", Access::Schema, Kind::Write),
    ("reindex", Access::Schema, Kind::Write),
    ("analyze", Access::Schema, Kind::Write),
];

/// Whether a link with `access` may run `statement`, and what it does.
///
/// # Errors
/// `Denied`, or `Invalid` when it does not begin like a statement; `Limit` when it is too long.
pub(crate) fn check(statement: &str, access: Access) -> Result<Kind, Error> {
    if statement.len() > MAX_BYTES {
        return Err(Error::Limit(format!("a statement has at most {} KiB", MAX_BYTES >> 10)));
    }
    let word = first_word(statement)?.to_ascii_lowercase();
    let Some((_, needed, kind)) = WORDS.iter().find(|(known, ..)| *known == word) else {
        let shown: String = word.chars().take(20).collect();
        return Err(Error::Denied(format!("statements that begin with {shown:?} are not run for actors")));
    };
    if *needed > access {
        let name = if *needed == Access::Write { "write" } else { "schema" };
        return Err(Error::Denied(format!("{word:?} needs a link with `access: {name}`")));
    }
    Ok(*kind)
}

/// The first word after white space, comments and opening parentheses.
fn first_word(statement: &str) -> Result<&str, Error> {
    if statement.contains('\0') {
        return Err(invalid("it has a zero byte"));
    }
    let mut rest = statement;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c', '(']);
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let (comment, after) = comment.split_once("*/").ok_or_else(|| invalid("its comment has no end"))?;
            // PostgreSQL nests comments and SQLite does not: what one takes for a comment, the other would run.
            if comment.contains("/*") {
                return Err(invalid("it begins with nested comments"));
            }
            rest = after;
        } else {
            break;
        }
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    if end == 0 { Err(invalid("it does not begin with a word of SQL")) } else { Ok(&rest[..end]) }
}

fn invalid(reason: &str) -> Error {
    Error::Invalid(Fault { message: reason.to_owned(), code: Some("42601".to_owned()), step: None })
}

#[cfg(test)]
mod tests {
    use super::{Access, Kind, MAX_BYTES, check};
    use trellis_interfaces::sql::Error;

    #[test]
    fn a_statement_is_known_by_its_first_word() {
        let read = |text: &str| assert_eq!(check(text, Access::Read), Ok(Kind::Read), "{text}");
        read("select 1");
        read("SELECT 1");
        read(" \n\t-- a comment; drop table t\n/* one * more */ ( ( Select 1))");
        read("select'a'");
        read("values (1)");
        assert_eq!(check("with a as (select 1) select * from a", Access::Read), Ok(Kind::Write));
        assert_eq!(check("insert into t values ($1)", Access::Write), Ok(Kind::Write));
        assert_eq!(check("create table t (a int)", Access::Schema), Ok(Kind::Write));
    }

    #[test]
    fn what_is_not_for_actors_is_denied() {
        for text in [
            "begin",
            "commit",
            "/**/rollback",
            "END",
            "abort",
            "savepoint a",
            "release a",
            "start transaction",
            "prepare transaction 'a'",
            "set role admin",
            "reset all",
            "discard all",
            "attach 'other.sqlite3' as other",
            "--\nattach 'x' as y",
            "detach other",
            "pragma writable_schema = on",
            "vacuum into '/tmp/copy'",
            "copy t to program 'sh'",
            "do $$ begin end $$",
            "execute a",
            "declare c cursor for select 1",
            "listen a",
            "grant all on t to public",
            "selects",
        ] {
            assert!(matches!(check(text, Access::Schema), Err(Error::Denied(_))), "{text}");
        }
        for (text, access) in [("insert into t values (1)", Access::Read), ("drop table t", Access::Write)] {
            assert!(matches!(check(text, access), Err(Error::Denied(_))), "{text}");
        }
    }

    #[test]
    fn what_is_no_statement_is_refused() {
        for text in ["", " ", "-- only a comment", "/* open", ";begin", "; select 1", "'select'", "select\0 1", "é"] {
            assert!(matches!(check(text, Access::Schema), Err(Error::Invalid(_))), "{text}");
        }
        // SQLite would end the comment at the first `*/` and run what follows.
        let nested = "/* /* */ attach 'x' as y --*/ */ select 1";
        assert!(matches!(check(nested, Access::Schema), Err(Error::Invalid(_))));
        let long = format!("select {}", " ".repeat(MAX_BYTES));
        assert!(matches!(check(&long, Access::Read), Err(Error::Limit(_))));
    }
}
