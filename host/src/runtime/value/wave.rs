//! Values as WAVE text, for people: parsed and printed by the type of the function that is called.

use trellis_lattice::error::CallError;
use wasmtime::component::types::{ComponentFunc, Type};
use wasmtime::component::wasm_wave::untyped::UntypedFuncCall;
use wasmtime::component::{Val, wasm_wave};

/// The longest text that is parsed; every byte may become a value.
const MAX_TEXT_BYTES: usize = 256 << 10;
/// How deep brackets may nest: the parser recurses.
const MAX_NESTING: usize = 128;

/// The arguments that `text` holds: `("Ada", {age: 36})`; trailing options may be left out.
///
/// # Errors
/// `Contract` when the text is no WAVE or does not fit the function's type; says what was expected.
pub(crate) fn parse(text: &str, ty: &ComponentFunc) -> Result<Vec<Val>, CallError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(CallError::too_large(format!("arguments in WAVE are at most {MAX_TEXT_BYTES} bytes")));
    }
    let refuse = |error: &dyn std::fmt::Display| {
        CallError::contract(format!("arguments do not fit {}: {error}", wasm_wave::wasm::DisplayFunc(ty.clone())))
    };
    let text = text.trim();
    if !text.starts_with('(') {
        return Err(refuse(&"write them in parentheses, separated by commas"));
    }
    if nesting(text) > MAX_NESTING {
        return Err(refuse(&"they nest too deeply"));
    }
    let types: Vec<Type> = ty.params().map(|(_, ty)| ty).collect();
    let call = format!("call{text}");
    let call = UntypedFuncCall::parse(&call).map_err(|error| refuse(&error))?;
    call.to_wasm_params(&types).map_err(|error| refuse(&error))
}

fn nesting(text: &str) -> usize {
    let depth = |(now, deepest): (usize, usize), byte| match byte {
        b'(' | b'[' | b'{' => (now + 1, deepest.max(now + 1)),
        b')' | b']' | b'}' => (now.saturating_sub(1), deepest),
        _ => (now, deepest),
    };
    text.bytes().fold((0, 0), depth).1
}

/// A result as text; empty for a function without one.
///
/// # Errors
/// `Contract` when the value has no text.
pub(crate) fn print(result: Option<&Val>) -> Result<String, CallError> {
    let text = result.map_or_else(|| Ok(String::new()), Val::to_wave);
    text.map_err(|error| CallError::contract(format!("the result has no WAVE text: {error}")))
}
