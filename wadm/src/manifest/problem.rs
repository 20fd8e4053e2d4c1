//! What is wrong with a manifest: every problem with its place and the way out.

use std::fmt;

use serde::{Deserialize, Serialize};

/// At most so many problems are listed; the rest is counted.
const MOST_LISTED: usize = 100;

/// A place in a text, both counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Place {
    /// Where a text begins.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What is wrong; names the thing.
    pub message: String,
    /// The way out; empty when the message says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.help.is_empty() {
            true => write!(f, "{}", self.message),
            false => write!(f, "{}: {}", self.message, self.help),
        }
    }
}

/// All that is wrong with one manifest, in the order of the text; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problems {
    /// The problems, at most 100.
    pub problems: Vec<Problem>,
    /// How many more there are.
    #[serde(default)]
    pub omitted: usize,
}

impl Problems {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        let omitted = problems.len().saturating_sub(MOST_LISTED);
        problems.truncate(MOST_LISTED);
        Self { problems, omitted }
    }

    pub(super) fn one(place: Place, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(vec![Problem { place, message: message.into(), help: help.into() }])
    }

    /// As a compiler prints them: one line each, `file:line:column: what is wrong: the way out`.
    pub fn in_file<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        InFile { problems: self, file }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        InFile { problems: self, file: "" }.fmt(f)
    }
}

impl std::error::Error for Problems {}

struct InFile<'a> {
    problems: &'a Problems,
    file: &'a str,
}

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.file.is_empty() { "" } else { ":" };
        for (i, problem) in self.problems.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{}{colon}{}: {problem}", self.file, problem.place)?;
        }
        match self.problems.omitted {
            0 => Ok(()),
            omitted => write!(f, "\nand {omitted} more"),
        }
    }
}
