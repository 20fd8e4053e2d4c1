//! The keys of a map: those that are known are read, the others are problems.

use std::collections::HashSet;

use trellis_lattice::spelling::nearest;

use super::Reader;
use crate::manifest::document::{Content, Entry, Node, shown};
use crate::manifest::problem::Place;

/// The keys of one map.
pub(super) struct Fields<'a> {
    reader: &'a mut Reader,
    /// With its article, e.g. `a link`.
    what: &'static str,
    place: Place,
    entries: &'a [Entry],
    known: Vec<&'static str>,
    missing: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The keys of `node`, if it is a map; `what` it is comes with its article.
    pub(super) fn of(reader: &'a mut Reader, node: &'a Node, what: &'static str) -> Option<Self> {
        match &node.content {
            Content::Map(entries) => {
                Some(Self { reader, what, place: node.place, entries, known: Vec::new(), missing: Vec::new() })
            }
            _ => {
                reader.expected(node, &format!("{what} with its keys"));
                None
            }
        }
    }

    /// The value of `key`, if it is there and not null.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Reader, &Node) -> Option<T>,
    ) -> Option<T> {
        let node = self.find(key)?;
        read(self.reader, node)
    }

    /// The value of `key`; a problem when it is not there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Reader, &Node) -> Option<T>,
    ) -> Option<T> {
        if let Some(node) = self.find(key) {
            return read(self.reader, node);
        }
        self.missing.push(key);
        // A key that is nearly this one is this one, misspelt: `end` says so, and what it says is read.
        let misspelt = self.entries.iter().find(|entry| nearest(&entry.key, &[key]).is_some())?;
        read(self.reader, &misspelt.value)
    }

    /// The key under which a value stands, which has two names.
    pub(super) fn either(&mut self, key: &'static str, alias: &'static str) -> &'static str {
        let has = |wanted: &str| self.entries.iter().find(|entry| &*entry.key == wanted);
        match (has(key), has(alias)) {
            (Some(_), Some(entry)) => {
                let (place, message) =
                    (entry.place, format!("`{alias}` is another name for `{key}`, which is given too"));
                self.known.push(alias);
                self.reader.note(place, message, "remove one of them");
                key
            }
            (None, Some(_)) => alias,
            _ => key,
        }
    }

    /// Whether a key is there and not null.
    pub(super) fn has(&self, key: &str) -> bool {
        let is_given = |entry: &Entry| &*entry.key == key && !matches!(entry.value.content, Content::Null);
        self.entries.iter().any(is_given)
    }

    /// Notes something about this map as a whole.
    pub(super) fn note(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.reader.note(self.place, message, help);
    }

    /// To be called after all keys were asked for: what is left is unknown.
    pub(super) fn end(self) {
        let known: HashSet<&str> = self.known.iter().copied().collect();
        let unknown: Vec<&Entry> = self.entries.iter().filter(|entry| !known.contains(&*entry.key)).collect();
        for key in &self.missing {
            if !unknown.iter().any(|entry| nearest(&entry.key, &[key]).is_some()) {
                self.reader.note(self.place, format!("missing key `{key}` in {}", self.what), "");
            }
        }
        for entry in unknown {
            let message = format!("unknown key `{}` in {}", shown(&entry.key), self.what);
            let help = suggestion(&entry.key, &self.known);
            self.reader.note(entry.place, message, help);
        }
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        let entry = self.entries.iter().find(|entry| &*entry.key == key)?;
        (!matches!(entry.value.content, Content::Null)).then_some(&entry.value)
    }
}

/// `a`, `b` and `c`, in quotes.
pub(super) fn names(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// What to write instead of `text`: the one of `known` that it is a misspelling of, or any of them.
pub(in crate::manifest) fn suggestion(text: &str, known: &[&str]) -> String {
    const MOST_NAMED: usize = 12;
    match nearest(text, known) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.len() > MOST_NAMED => {
            format!("known are {} and {} more", names(&known[..MOST_NAMED]), known.len() - MOST_NAMED)
        }
        None => format!("known are {}", names(known)),
    }
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn names_are_listed_as_people_do() {
        assert_eq!(names(&["a", "b", "c"]), "`a`, `b` and `c`");
        assert_eq!(names(&["a"]), "`a`");
    }
}
