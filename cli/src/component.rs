//! What a component says of itself, read without compiling it.

use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use wasmparser::{BinaryReaderError, Encoding, Parser, Payload};

/// The largest file that is read; hosts take no larger ones.
const MAX_BYTES: u64 = 64 << 20;

/// The section that holds claims.
const CLAIMS_SECTION: &str = "wasmcloud_jwt";

/// A component in a file.
#[derive(Debug)]
pub(crate) struct Component {
    pub(crate) bytes: Bytes,
    /// Hex of the SHA-256 of the bytes.
    pub(crate) digest: String,
    /// The names of its imports, with versions.
    pub(crate) imports: Vec<String>,
    /// The names of its exports, with versions.
    pub(crate) exports: Vec<String>,
    is_signed: bool,
}

impl Component {
    /// Reads `file`.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let metadata = std::fs::metadata(file).with_context(|| format!("read {}", file.display()))?;
        if !metadata.is_file() {
            bail!("{} is not a file; give the path of a component, e.g. hello.wasm", file.display());
        }
        if metadata.len() > MAX_BYTES {
            bail!("{} is {} bytes large; a component may have {MAX_BYTES} at most", file.display(), metadata.len());
        }
        let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
        Self::parse(bytes.into()).with_context(|| format!("{} cannot be used", file.display()))
    }

    fn parse(bytes: Bytes) -> anyhow::Result<Self> {
        let (mut imports, mut exports) = (Vec::new(), Vec::new());
        let mut depth = 0_usize;
        let mut is_signed = false;
        for payload in Parser::new(0).parse_all(&bytes) {
            match payload.map_err(|error| broken(&error))? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => bail!(
                    "it is a WebAssembly core module, not a component: build it for wasm32-wasip2, or make a component \
                     of it with `wasm-tools component new`"
                ),
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        imports.push(import.map_err(|error| broken(&error))?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        exports.push(export.map_err(|error| broken(&error))?.name.name.to_owned());
                    }
                }
                Payload::CustomSection(section) if depth == 0 => is_signed |= section.name() == CLAIMS_SECTION,
                _ => {}
            }
        }
        let digest = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { bytes, digest, imports, exports, is_signed })
    }

    /// Whether it carries claims, whatever they are worth.
    pub(crate) fn is_signed(&self) -> bool {
        self.is_signed
    }

    /// The interfaces of `package` (`wasi:keyvalue`) that it imports, without package and version.
    pub(crate) fn imports_of(&self, package: &str) -> Vec<String> {
        interfaces_of(&self.imports, package)
    }

    /// The interfaces of `package` that it exports, without package and version.
    pub(crate) fn exports_of(&self, package: &str) -> Vec<String> {
        interfaces_of(&self.exports, package)
    }
}

fn broken(error: &BinaryReaderError) -> anyhow::Error {
    let what = error.message().split(" - ").next().unwrap_or_default();
    anyhow!("it is not a WebAssembly component, or it is truncated: {what} (at byte {:#x})", error.offset())
}

fn interfaces_of(names: &[String], package: &str) -> Vec<String> {
    let interface = |name: &String| {
        let interface = name.strip_prefix(package)?.strip_prefix('/')?;
        Some(interface.split('@').next().unwrap_or(interface).to_owned())
    };
    names.iter().filter_map(interface).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Component, interfaces_of};

    #[test]
    fn what_is_no_component_is_named_with_its_file_and_the_way_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let check = |name: &str, content: &[u8], part: &str| {
            let file = dir.path().join(name);
            std::fs::write(&file, content).expect("written");
            let error = crate::output::describe(&Component::read(&file).expect_err(name));
            assert!(error.contains(name) && error.contains(part), "{error}");
        };
        check("text.wasm", b"hello", "not a WebAssembly component");
        check("empty.wasm", b"", "not a WebAssembly component");
        check("module.wasm", b"\0asm\x01\0\0\0", "wasm32-wasip2");
        let error = crate::output::describe(&Component::read(Path::new("/no/such.wasm")).expect_err("missing"));
        assert!(error.contains("/no/such.wasm"), "{error}");
        let error = Component::read(dir.path()).expect_err("a directory").to_string();
        assert!(error.contains("not a file"), "{error}");
    }

    #[test]
    fn an_empty_component_imports_and_exports_nothing() {
        let component = Component::parse(b"\0asm\x0d\0\x01\0".as_slice().into()).expect("a component");
        assert!(component.imports.is_empty() && component.exports.is_empty());
        assert_eq!(component.digest.len(), 64);
    }

    #[test]
    fn interfaces_are_told_by_package() {
        let names = ["wasi:keyvalue/store@0.2.0-draft", "wasi:http/types@0.2.2", "wasi:keyvalue2/x"].map(str::to_owned);
        assert_eq!(interfaces_of(&names, "wasi:keyvalue"), ["store"]);
    }
}
