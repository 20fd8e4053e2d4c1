//! A text as a tree of values that know their place, from YAML ([`yaml`]) or JSON ([`json`]).
//!
//! Bounded in size, depth and number of values, so that no text takes much time or memory to refuse. YAML is held to
//! what JSON can say: one document, no tags, no merge keys, keys that are texts, none of them twice; aliases stand for
//! a copy and count like one.

pub(super) mod json;
pub(super) mod yaml;

use super::problem::{Place, Problem, Problems};

/// The largest text, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 1024 * 1024;
/// A manifest of a thousand components with everything has nearly so many.
pub(super) const MAX_VALUES: usize = 40_000;
/// A manifest needs a dozen.
pub(super) const MAX_DEPTH: usize = 32;

/// A value and where it begins.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) content: Content,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Null,
    Bool(bool),
    /// As it is written.
    Number(Box<str>),
    Text(Box<str>),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Box<str>,
    pub(super) place: Place,
    pub(super) value: Node,
}

impl Node {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.content {
            Content::Null => "nothing",
            Content::Bool(_) => "true or false",
            Content::Number(_) => "a number",
            Content::Text(_) => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }

    /// How many values it is made of, itself included.
    pub(super) fn size(&self) -> usize {
        match &self.content {
            Content::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Content::Map(entries) => 1 + entries.iter().map(|entry| entry.value.size()).sum::<usize>(),
            _ => 1,
        }
    }

    /// How deep it is, itself included.
    pub(super) fn depth(&self) -> usize {
        let below = match &self.content {
            Content::List(items) => items.iter().map(Self::depth).max(),
            Content::Map(entries) => entries.iter().map(|entry| entry.value.depth()).max(),
            _ => None,
        };
        1 + below.unwrap_or(0)
    }
}

/// A tree, and what was wrong with it that did not keep it from being read.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Node,
    pub(super) problems: Vec<Problem>,
}

/// Counts values against the bounds.
#[derive(Debug, Default)]
struct Budget {
    values: usize,
}

impl Budget {
    fn take(&mut self, place: Place, values: usize, depth: usize) -> Result<(), Problems> {
        if depth > MAX_DEPTH {
            return Err(too_deep(place));
        }
        self.values = self.values.saturating_add(values);
        if self.values > MAX_VALUES {
            return Err(too_many(place));
        }
        Ok(())
    }
}

fn too_deep(place: Place) -> Problems {
    Problems::one(place, format!("nested deeper than {MAX_DEPTH} levels"), "a manifest needs a dozen")
}

fn too_many(place: Place) -> Problems {
    let message = format!("more than {MAX_VALUES} values, aliases counted as what they stand for");
    Problems::one(place, message, "split the application")
}

/// Adds an entry; a key that is there already is a problem, and its first value stays.
fn insert(
    entries: &mut Vec<Entry>,
    seen: &mut std::collections::HashSet<Box<str>>,
    entry: Entry,
    problems: &mut Vec<Problem>,
) {
    if seen.insert(entry.key.clone()) {
        entries.push(entry);
    } else {
        let message = format!("key `{}` is given twice", shown(&entry.key));
        problems.push(Problem { place: entry.place, message, help: "remove one of them".to_owned() });
    }
}

/// The beginning of a text that may be long or hold anything.
pub(super) fn shown(text: &str) -> String {
    let mut start: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        start.push('…');
    }
    start
}
