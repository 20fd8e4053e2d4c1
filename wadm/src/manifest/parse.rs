//! From text to [`Manifest`]: document, reading, validation, and all problems of the three by their place.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::document::{self, Content, Document, MAX_TEXT_BYTES, Node};
use super::model::Manifest;
use super::problem::{Place, Problem, Problems};
use super::read::{self, Reading};
use super::validate::{self, Finding, Path, Step};

/// How a manifest is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2.
    Yaml,
    /// JSON.
    Json,
    /// Whichever of the two it is.
    Unknown,
}

/// Reads a manifest and checks that it makes sense.
///
/// Takes little time and memory whatever `bytes` are: at most 1 MiB, 40,000 values (aliases counted as what they stand
/// for) and 32 levels; tags, merge keys and further documents are refused.
///
/// # Errors
/// All that is wrong, with places.
pub fn parse(bytes: &[u8], format: Format) -> Result<Manifest, Problems> {
    let document = document(bytes, format)?;
    let reading = read::manifest(&document);
    let mut problems = reading.problems.clone();
    let broken: Vec<Place> = problems.iter().map(|problem| problem.place).collect();
    for finding in validate::findings(&reading.manifest) {
        let place = place_of(&document.root, &reading, &finding.path);
        // What was put in the place of something broken makes no sense either: that need not be said twice.
        if !broken.contains(&place) {
            let Finding { message, help, .. } = finding;
            problems.push(Problem { place, message, help });
        }
    }
    if problems.is_empty() { Ok(reading.manifest) } else { Err(Problems::new(problems)) }
}

fn document(bytes: &[u8], format: Format) -> Result<Document, Problems> {
    if bytes.len() > MAX_TEXT_BYTES {
        let message = format!("a manifest of {} bytes is over {MAX_TEXT_BYTES}", bytes.len());
        return Err(Problems::one(Place::START, message, "split the application"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let place = end_of(&String::from_utf8_lossy(&bytes[..error.valid_up_to()]));
        Problems::one(place, "not UTF-8", "save the file as UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        Format::Json => document::json::read(text),
        Format::Yaml => document::yaml::read(text),
        // What begins so is YAML as well, if it is no JSON.
        Format::Unknown if text.trim_start().starts_with('{') => {
            document::json::read(text).or_else(|problems| document::yaml::read(text).map_err(|_| problems))
        }
        Format::Unknown => document::yaml::read(text),
    }
}

fn end_of(text: &str) -> Place {
    let count = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
    let last = text.rsplit('\n').next().unwrap_or_default();
    Place { line: count(text.matches('\n').count()), column: count(last.chars().count()) }
}

/// Where the value at `path` is, or else the nearest around it that is there.
fn place_of(root: &Node, reading: &Reading, path: &Path) -> Place {
    let mut node = root;
    for step in &path.0 {
        let below = match (&node.content, step) {
            (Content::Map(entries), Step::Key(key)) => {
                entries.iter().find(|entry| *entry.key == **key).map(|entry| &entry.value)
            }
            (Content::List(items), Step::Index(index)) => items.get(in_text(node.place, *index, reading)),
            _ => None,
        };
        let Some(below) = below else { break };
        node = below;
    }
    node.place
}

/// The index in the text of the element that has `index` in the model, which lacks those that could not be read.
fn in_text(list: Place, index: usize, reading: &Reading) -> usize {
    let skipped = reading.skipped.iter().filter(|(place, _)| *place == list);
    skipped.fold(index, |index, (_, skipped)| if *skipped <= index { index + 1 } else { index })
}

impl<'de> Deserialize<'de> for Manifest {
    /// As [`parse`] reads the same in JSON.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        parse(value.to_string().as_bytes(), Format::Json).map_err(D::Error::custom)
    }
}
