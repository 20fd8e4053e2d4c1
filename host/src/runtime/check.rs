//! What is refused before anything is compiled, and which engine a component is for.

use wasmparser::{Encoding, Payload, Validator};

use super::limits::COMPONENT_BYTES;
use super::linker::EngineKind;
use super::pool;
use crate::error::{Error, ErrorKind, Result};

/// Refuses what is larger than any component may be.
pub(super) fn size(bytes: &[u8]) -> Result<()> {
    if bytes.len() > COMPONENT_BYTES {
        let (have, most) = (bytes.len() >> 20, COMPONENT_BYTES >> 20);
        return refuse(format!("component is {have} MiB, at most {most} MiB are taken: strip it or build it smaller"));
    }
    Ok(())
}

/// Which engine can run `bytes`: the concurrent one only if they need it.
///
/// # Errors
/// `Component` when they are no component, or use what is not supported; says what.
pub(super) fn kind(bytes: &[u8]) -> Result<EngineKind> {
    component(bytes)?;
    let validate = |kind| Validator::new_with_features(pool::features(kind)).validate_all(bytes).map(|_| kind);
    validate(EngineKind::Plain)
        .or_else(|_| validate(EngineKind::Concurrent))
        .or_else(|error| refuse(format!("component is not valid, or uses a proposal that is not supported: {error}")))
}

pub(super) fn component(bytes: &[u8]) -> Result<()> {
    if !bytes.starts_with(b"\0asm") {
        return refuse("these bytes are not WebAssembly: a component begins with `\\0asm`");
    }
    match wasmparser::Parser::new(0).parse(bytes, true) {
        Ok(wasmparser::Chunk::Parsed { payload: Payload::Version { encoding: Encoding::Component, .. }, .. }) => Ok(()),
        Ok(wasmparser::Chunk::Parsed { payload: Payload::Version { encoding: Encoding::Module, .. }, .. }) => refuse(
            "this is a core module, not a component: build for wasm32-wasip2, or run `wasm-tools component new` on it",
        ),
        Ok(_) => refuse("these bytes are cut off or damaged: their version is not known"),
        Err(error) => refuse(format!("these bytes are cut off or damaged: {error}")),
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::new(ErrorKind::Component, message))
}

#[cfg(test)]
mod tests {
    use super::{COMPONENT_BYTES, EngineKind, kind, size};

    fn kind_of(wat: &str) -> Result<EngineKind, String> {
        kind(&wat::parse_str(wat).expect("is text")).map_err(|error| error.to_string())
    }

    fn core(module: &str) -> Result<EngineKind, String> {
        kind_of(&format!("(component (core module {module}))"))
    }

    #[test]
    fn a_component_runs_on_the_cheaper_engine_that_can() {
        assert_eq!(kind_of("(component)"), Ok(EngineKind::Plain));
        let asynchronous = r#"(component (import "a:b/c" (instance (export "f" (func async)))))"#;
        assert_eq!(kind_of(asynchronous), Ok(EngineKind::Concurrent));
        for module in [
            "(func (result v128) (i8x16.relaxed_swizzle (v128.const i64x2 1 2) (v128.const i64x2 0 0)))",
            "(func $f (return_call $f))",
            "(memory 1) (memory 1)",
            "(global i32 (i32.add (i32.const 1) (i32.const 2)))",
        ] {
            assert_eq!(core(module), Ok(EngineKind::Plain), "{module}");
        }
    }

    #[test]
    fn proposals_outside_the_profile_are_refused() {
        for module in [
            "(type (struct (field i32)))",
            "(tag (param i32))",
            "(memory 1 2 shared)",
            "(memory i64 1)",
            "(type $f (func)) (type (cont $f))",
        ] {
            let error = core(module).expect_err(module);
            assert!(error.contains("not supported"), "{error}");
        }
    }

    #[test]
    fn what_is_no_component_is_told_apart() {
        let component = wat::parse_str("(component (core module (func)))").expect("is text");
        let module = wat::parse_str("(module (func))").expect("is text");
        for (bytes, expected) in [
            (&b"(component)"[..], "not WebAssembly"),
            (b"", "not WebAssembly"),
            (b"\0asm", "cut off"),
            (&component[..6], "cut off"),
            (&component[..component.len() - 1], "not valid"),
            (&module, "wasm-tools component new"),
            (b"\0asm\x0d\0\x01\0\xff\xff\xff\xff\xff", "not valid"),
        ] {
            let error = kind(bytes).expect_err(expected).to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        assert!(size(&vec![0; COMPONENT_BYTES + 1]).expect_err("too large").to_string().contains("32 MiB"));
    }
}
