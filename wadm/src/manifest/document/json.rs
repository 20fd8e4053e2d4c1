//! JSON (RFC 8259), with the places that `serde_json` does not tell.

use std::collections::HashSet;

use super::{Budget, Content, Document, Entry, MAX_DEPTH, Node, insert};
use crate::manifest::problem::{Place, Problem, Problems};

/// Reads `text`, which is not larger than [`super::MAX_TEXT_BYTES`].
pub(in super::super) fn read(text: &str) -> Result<Document, Problems> {
    let mut reader = Reader { rest: text, place: Place::START, budget: Budget::default(), problems: Vec::new() };
    reader.skip_space();
    let root = reader.value(1)?;
    reader.skip_space();
    match reader.rest.is_empty() {
        true => Ok(Document { root, problems: reader.problems }),
        false => Err(reader.syntax("nothing more after the manifest")),
    }
}

struct Reader<'a> {
    rest: &'a str,
    place: Place,
    budget: Budget,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// The depth is bounded before it goes deeper, so the stack is.
    fn value(&mut self, depth: usize) -> Result<Node, Problems> {
        let place = self.place;
        self.budget.take(place, 1, depth)?;
        debug_assert!(depth <= MAX_DEPTH, "the budget bounds it");
        let content = match self.rest.bytes().next() {
            Some(b'{') => self.map(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Content::Text(self.text()?),
            _ => self.word()?,
        };
        Ok(Node { place, content })
    }

    fn map(&mut self, depth: usize) -> Result<Content, Problems> {
        let (mut entries, mut seen) = (Vec::new(), HashSet::new());
        self.advance(1);
        self.skip_space();
        while !self.eat('}') {
            let place = self.place;
            let key = self.text()?;
            self.skip_space();
            self.expect(':', "`:` after the key")?;
            self.skip_space();
            let value = self.value(depth + 1)?;
            insert(&mut entries, &mut seen, Entry { key, place, value }, &mut self.problems);
            self.between('}', "`,` or `}`")?;
        }
        Ok(Content::Map(entries))
    }

    fn list(&mut self, depth: usize) -> Result<Content, Problems> {
        let mut items = Vec::new();
        self.advance(1);
        self.skip_space();
        while !self.eat(']') {
            items.push(self.value(depth + 1)?);
            self.between(']', "`,` or `]`")?;
        }
        Ok(Content::List(items))
    }

    /// After a member: a comma and another one, or the end, which stays for the caller.
    fn between(&mut self, end: char, expected: &str) -> Result<(), Problems> {
        self.skip_space();
        if self.rest.starts_with(end) {
            return Ok(());
        }
        self.expect(',', expected)?;
        self.skip_space();
        match self.rest.starts_with(end) {
            true => Err(self.syntax("no `,` before the end")),
            false => Ok(()),
        }
    }

    fn text(&mut self) -> Result<Box<str>, Problems> {
        if !self.rest.starts_with('"') {
            return Err(self.syntax("a text in double quotes"));
        }
        let mut is_escaped = false;
        let end = self.rest[1..].find(|c: char| {
            let is_end = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        let end = end.ok_or_else(|| self.syntax("the end of this text, `\"`"))? + 2;
        let text = serde_json::from_str::<String>(&self.rest[..end])
            .map_err(|_| self.syntax("a text with valid escapes and without line breaks"))?;
        self.advance(end);
        Ok(text.into())
    }

    fn word(&mut self) -> Result<Content, Problems> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        let content = match word {
            "null" => Content::Null,
            "true" => Content::Bool(true),
            "false" => Content::Bool(false),
            _ if serde_json::from_str::<serde_json::Number>(word).is_ok() => Content::Number(word.into()),
            _ => return Err(self.syntax("a value: a text in quotes, a number, a list, a map, true, false or null")),
        };
        self.advance(end);
        Ok(content)
    }

    fn skip_space(&mut self) {
        let end = self.rest.find(|c| !matches!(c, ' ' | '\t' | '\n' | '\r')).unwrap_or(self.rest.len());
        self.advance(end);
    }

    fn eat(&mut self, wanted: char) -> bool {
        let is_there = self.rest.starts_with(wanted);
        if is_there {
            self.advance(wanted.len_utf8());
        }
        is_there
    }

    fn expect(&mut self, wanted: char, expected: &str) -> Result<(), Problems> {
        if self.eat(wanted) { Ok(()) } else { Err(self.syntax(expected)) }
    }

    fn advance(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at(bytes);
        for c in passed.chars() {
            self.place = match c {
                '\n' => Place { line: self.place.line + 1, column: 1 },
                _ => Place { column: self.place.column + 1, ..self.place },
            };
        }
        self.rest = rest;
    }

    fn syntax(&self, expected: &str) -> Problems {
        Problems::one(self.place, "not valid JSON", format!("expected {expected}"))
    }
}
