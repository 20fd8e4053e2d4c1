//! The custom section that holds claims: where it is in a component, and components without one.

use std::ops::Range;

use wasm_encoder::{Encode as _, RawSection, Section as _};
use wasmparser::{CustomSectionReader, Encoding, Parser, Payload};

use crate::error::{Error, ErrorKind, Result};

/// The name of the section.
pub(super) const NAME: &str = "wasmcloud_jwt";

/// The name that wascap used before 0.9.
const LEGACY_NAME: &str = "jwt";

/// The id of a custom section, and of nested modules and components in a component.
const CUSTOM: u8 = 0;
const NESTED_MODULE: u8 = 1;
const NESTED_COMPONENT: u8 = 4;

/// What holds claims in a component.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// One section, at the end and at the top, in the shortest form.
    Claims {
        /// How many bytes are before the section, its header not among them.
        signed_bytes: usize,
        /// Where the token is.
        token: Range<usize>,
    },
    /// Something that is not as `sign` leaves it; says what.
    Irregular(&'static str),
}

fn malformed(error: &wasmparser::BinaryReaderError) -> Error {
    // The parser's text goes on with a list of the bytes.
    let what = error.message().split(" - ").next().unwrap_or_default();
    let message = format!(
        "that is not a WebAssembly component: {what} (at byte {:#x}); build it for wasm32-wasip2, or copy it again if it \
         was cut off",
        error.offset()
    );
    Error::new(ErrorKind::Malformed, message)
}

fn require_component(encoding: Encoding) -> Result<()> {
    if encoding == Encoding::Component {
        return Ok(());
    }
    let message = "that is a WebAssembly core module, not a component: build it for wasm32-wasip2, \
                   or make a component of it with `wasm-tools component new`";
    Err(Error::new(ErrorKind::Malformed, message))
}

fn holds_claims(name: &str) -> bool {
    name == NAME || name == LEGACY_NAME
}

/// Looks for claims sections at any depth of `component`.
///
/// # Errors
/// `Malformed` when it is not a component.
pub(super) fn find(component: &[u8]) -> Result<Found> {
    let mut found = Found::Nothing;
    let mut depth = 0_usize;
    let mut previous_end = wasm_encoder::Component::HEADER.len();
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.map_err(|error| malformed(&error))?;
        match &payload {
            Payload::Version { encoding, .. } if depth == 0 => require_component(*encoding)?,
            Payload::CustomSection(section) if holds_claims(section.name()) => {
                if found != Found::Nothing {
                    return Ok(Found::Irregular("it has more than one claims section"));
                }
                found = match depth {
                    0 if section.name() == NAME => at_the_end(component.len(), previous_end, section),
                    0 => Found::Irregular("its claims are in a section `jwt`, as wascap wrote it before 0.9"),
                    _ => Found::Irregular("a module or component inside it has a claims section"),
                };
            }
            _ => {}
        }
        if let (0, Some((_, range))) = (depth, payload.as_section()) {
            previous_end = range.end;
        }
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(found)
}

/// The claims section that begins at `start`, if nothing follows it and all its lengths are in the shortest form:
/// what is not hashed must not be free to vary.
fn at_the_end(component_bytes: usize, start: usize, section: &CustomSectionReader<'_>) -> Found {
    let content = section.range();
    if content.end != component_bytes {
        return Found::Irregular("something follows its claims section");
    }
    let header_bytes = 1 + leb128_bytes(content.len());
    if content.start != start + header_bytes || section.data_offset() != content.start + 1 + NAME.len() {
        return Found::Irregular("the lengths of its claims section are not in the shortest form");
    }
    Found::Claims { signed_bytes: start, token: section.data_offset()..content.end }
}

fn leb128_bytes(number: usize) -> usize {
    (usize::BITS - number.leading_zeros()).div_ceil(7).max(1) as usize
}

/// The same component without claims sections at any depth and with all section headers in the shortest form, so that
/// wascap, which encodes anew before it hashes, sees the bytes that we hash.
///
/// # Errors
/// `Malformed` when it is not a component.
pub(super) fn normalise(component: &[u8]) -> Result<Vec<u8>> {
    let mut output = Vec::with_capacity(component.len());
    let mut parents = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.map_err(|error| malformed(&error))?;
        match &payload {
            Payload::Version { encoding: Encoding::Component, .. } => {
                output.extend_from_slice(&wasm_encoder::Component::HEADER);
            }
            Payload::Version { encoding: Encoding::Module, .. } => {
                if parents.is_empty() {
                    require_component(Encoding::Module)?;
                }
                output.extend_from_slice(&wasm_encoder::Module::HEADER);
            }
            Payload::ModuleSection { .. } => parents.push((NESTED_MODULE, std::mem::take(&mut output))),
            Payload::ComponentSection { .. } => parents.push((NESTED_COMPONENT, std::mem::take(&mut output))),
            Payload::End(_) => {
                let Some((id, parent)) = parents.pop() else { break };
                let nested = std::mem::replace(&mut output, parent);
                append(&mut output, id, &nested);
            }
            Payload::CustomSection(section) if holds_claims(section.name()) => {}
            _ => {
                if let Some((id, range)) = payload.as_section() {
                    append(&mut output, id, &component[range]);
                }
            }
        }
    }
    Ok(output)
}

fn append(output: &mut Vec<u8>, id: u8, data: &[u8]) {
    RawSection { id, data }.append_to(output);
}

/// Appends the claims section with `token`.
pub(super) fn append_claims(component: &mut Vec<u8>, token: &str) {
    let mut content = Vec::with_capacity(1 + NAME.len() + token.len());
    NAME.encode(&mut content);
    content.extend_from_slice(token.as_bytes());
    append(component, CUSTOM, &content);
}
