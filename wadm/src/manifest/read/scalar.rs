//! Single values, and lists and maps of them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use super::Reader;
use super::fields::{names, suggestion};
use crate::manifest::document::{Content, Node, shown};

/// The longest text that anything here needs, in bytes.
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// A text.
pub(super) fn text(reader: &mut Reader, node: &Node) -> Option<String> {
    match &node.content {
        Content::Text(text) if text.len() > MAX_TEXT_BYTES => {
            reader.note(
                node.place,
                format!("a text of {} bytes", text.len()),
                format!("at most {MAX_TEXT_BYTES} are allowed"),
            );
            None
        }
        Content::Text(text) => Some(text.to_string()),
        Content::Number(number) => {
            let quoted = format!("write it in quotes: \"{}\"", shown(number));
            reader.note(node.place, "expected a text, found a number", quoted);
            None
        }
        Content::Bool(value) => {
            reader.note(node.place, "expected a text, found true or false", format!("write it in quotes: \"{value}\""));
            None
        }
        _ => {
            reader.expected(node, "a text");
            None
        }
    }
}

/// A whole number from 0 to 4294967295.
pub(super) fn whole(reader: &mut Reader, node: &Node) -> Option<u32> {
    let Content::Number(number) = &node.content else {
        reader.expected(node, "a whole number");
        return None;
    };
    match number.parse() {
        Ok(number) => Some(number),
        Err(_) => {
            reader.note(node.place, format!("{} is not a whole number from 0 to {}", shown(number), u32::MAX), "");
            None
        }
    }
}

/// A quantity with its unit; a bare number counts as its text.
pub(super) fn quantity<T: FromStr<Err: Display>>(reader: &mut Reader, node: &Node) -> Option<T> {
    let (Content::Text(text) | Content::Number(text)) = &node.content else {
        reader.expected(node, "a number with its unit");
        return None;
    };
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            reader.note(node.place, format!("`{}` is not valid", shown(text)), format!("{error}"));
            None
        }
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(reader: &mut Reader, node: &Node, words: &[(&'static str, T)]) -> Option<T> {
    let Content::Text(text) = &node.content else {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        reader.expected(node, &format!("one of {}", names(&known)));
        return None;
    };
    let found = words.iter().find(|(word, _)| **word == **text);
    if found.is_none() {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let help = suggestion(text, &known);
        reader.note(node.place, format!("`{}` is none of the words that are allowed here", shown(text)), help);
    }
    found.map(|(_, value)| *value)
}

/// A list; elements that cannot be read are left out and remembered.
pub(super) fn list<T>(reader: &mut Reader, node: &Node, read: fn(&mut Reader, &Node) -> Option<T>) -> Option<Vec<T>> {
    let Content::List(items) = &node.content else {
        reader.expected(node, "a list");
        return None;
    };
    let mut values = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        match read(reader, item) {
            Some(value) => values.push(value),
            None => reader.skipped.push((node.place, i)),
        }
    }
    Some(values)
}

/// A list of texts.
pub(super) fn texts(reader: &mut Reader, node: &Node) -> Option<Vec<String>> {
    list(reader, node, text)
}

/// A map from text to text.
pub(super) fn strings(reader: &mut Reader, node: &Node) -> Option<BTreeMap<String, String>> {
    let Content::Map(entries) = &node.content else {
        reader.expected(node, "a map of texts");
        return None;
    };
    let mut values = BTreeMap::new();
    for entry in entries {
        if let Some(value) = text(reader, &entry.value) {
            values.insert(entry.key.to_string(), value);
        }
    }
    Some(values)
}
