//! YAML 1.2, from the events of `saphyr-parser`.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};

use super::{Budget, Content, Document, Entry, MAX_VALUES, Node, insert, shown};
use crate::manifest::problem::{Place, Problem, Problems};

/// Reads `text`, which is not larger than [`super::MAX_TEXT_BYTES`].
pub(in super::super) fn read(text: &str) -> Result<Document, Problems> {
    // The scanner reads all of a flow collection before it says anything about it, in memory that no event bounds.
    let in_flow = text.bytes().filter(|b| matches!(b, b',' | b'[' | b'{')).count();
    if in_flow > MAX_VALUES {
        return Err(super::too_many(Place::START));
    }
    let mut builder = Builder::default();
    let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        builder.accept(event, place(&span.start))?;
    }
    let Some(root) = builder.root else {
        return Err(Problems::one(
            Place::START,
            "the manifest is empty",
            "write at least `apiVersion`, `kind`, `metadata` and `spec`",
        ));
    };
    Ok(Document { root, problems: builder.problems })
}

fn place(marker: &Marker) -> Place {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place { line: number(marker.line()), column: number(marker.col()).saturating_add(1) }
}

fn syntax(error: &ScanError) -> Problems {
    // The scanner reads ahead, so its own bound may come before ours.
    if error.info() == "recursion limit exceeded" {
        return super::too_deep(place(error.marker()));
    }
    Problems::one(
        place(error.marker()),
        format!("not valid YAML: {}", shown(error.info())),
        "check indentation, quotes and colons here",
    )
}

/// A list or map that is not finished.
struct Open {
    place: Place,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: HashSet<Box<str>>, key: Option<(Box<str>, Place)> },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    budget: Budget,
    problems: Vec<Problem>,
}

impl Builder {
    fn accept(&mut self, event: Event<'_>, place: Place) -> Result<(), Problems> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err(Problems::one(
                place,
                "a second document begins here",
                "put each application into a file of its own",
            )),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(place, tag);
                self.scalar(&text, style, anchor, place)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(place, tag);
                self.begin(place, anchor, Inside::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(place, tag);
                self.begin(place, anchor, Inside::Map { entries: Vec::new(), seen: HashSet::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, place),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn refuse_tag<T>(&mut self, place: Place, tag: Option<T>) {
        if tag.is_some() {
            let (message, help) = ("tags (`!…`) are not allowed".to_owned(), "quote what is to be a text".to_owned());
            self.problems.push(Problem { place, message, help });
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, place: Place) -> Result<(), Problems> {
        if let Some(Open { inside: Inside::Map { key: key @ None, .. }, .. }) = self.open.last_mut() {
            *key = Some((text.into(), place));
            return Ok(());
        }
        self.budget.take(place, 1, self.open.len() + 1)?;
        let content = if style == ScalarStyle::Plain { plain(text) } else { Content::Text(text.into()) };
        self.value(Node { place, content }, anchor)
    }

    fn begin(&mut self, place: Place, anchor: usize, inside: Inside) -> Result<(), Problems> {
        self.refuse_as_key(place)?;
        self.budget.take(place, 1, self.open.len() + 1)?;
        self.open.push(Open { place, anchor, inside });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problems> {
        let Open { place, anchor, inside } = self.open.pop().expect("the parser ends only what it began");
        let content = match inside {
            Inside::List(items) => Content::List(items),
            Inside::Map { entries, .. } => Content::Map(entries),
        };
        self.value(Node { place, content }, anchor)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Problems> {
        self.refuse_as_key(place)?;
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(Problems::one(place, "an alias stands inside of what it stands for", "write it out"));
        };
        self.budget.take(place, node.size(), self.open.len() + node.depth())?;
        let copy = Node { place, content: node.content.clone() };
        self.value(copy, 0)
    }

    /// Only a text may be a key.
    fn refuse_as_key(&self, place: Place) -> Result<(), Problems> {
        match self.open.last() {
            Some(Open { inside: Inside::Map { key: None, .. }, .. }) => {
                Err(Problems::one(place, "a key that is not a text", "write the key out"))
            }
            _ => Ok(()),
        }
    }

    fn value(&mut self, node: Node, anchor: usize) -> Result<(), Problems> {
        if anchor != 0 {
            self.budget.take(node.place, node.size(), self.open.len() + 1)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.inside) {
            None => self.root = Some(node),
            Some(Inside::List(items)) => items.push(node),
            Some(Inside::Map { entries, seen, key }) => {
                let (key, place) = key.take().expect("what is no key has one before it");
                if &*key == "<<" {
                    let (message, help) = ("merge keys (`<<`) are not allowed".to_owned(), "write it out".to_owned());
                    self.problems.push(Problem { place, message, help });
                } else {
                    insert(entries, seen, Entry { key, place, value: node }, &mut self.problems);
                }
            }
        }
        Ok(())
    }
}

/// What a text without quotes is, by the core schema of YAML 1.2.
fn plain(text: &str) -> Content {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Content::Null,
        "true" | "True" | "TRUE" => Content::Bool(true),
        "false" | "False" | "FALSE" => Content::Bool(false),
        _ if is_number(text) => Content::Number(text.into()),
        _ => Content::Text(text.into()),
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_radix = |prefix: &str, radix: u32| {
        let digits = text.strip_prefix(prefix);
        digits.is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix)))
    };
    let is_special = matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN");
    is_special || is_radix("0o", 8) || is_radix("0x", 16) || is_decimal(unsigned)
}

/// Digits with at most one point, and perhaps an exponent: `1`, `1.`, `.5`, `1e-3`.
fn is_decimal(unsigned: &str) -> bool {
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let exponent_is_number = exponent.is_none_or(|text| {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        !digits.is_empty() && are_digits(digits)
    });
    !(whole.is_empty() && fraction.is_empty()) && are_digits(whole) && are_digits(fraction) && exponent_is_number
}
