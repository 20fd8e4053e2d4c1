//! Components as bytes: found by reference, held against a size limit, known by digest, kept for a restart.

mod cache;
mod file;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, ErrorKind, Result};

pub(crate) use cache::{Cache, write_atomically};

/// The largest artifact that is read.
const MAX_BYTES: u64 = 64 << 20;

/// A component as it was found.
#[derive(Debug, Clone)]
pub(crate) struct Artifact {
    /// All of it.
    pub(crate) bytes: Bytes,
    /// Hex of the SHA-256 of the bytes.
    pub(crate) digest: String,
    /// The file that it was read from.
    pub(crate) path: Option<PathBuf>,
}

impl Artifact {
    fn new(bytes: Bytes, path: Option<PathBuf>) -> Self {
        Self { digest: digest(&bytes), bytes, path }
    }
}

/// The bytes that `reference` means: `file://…` or a path. Relative paths are relative to where the host was started.
///
/// # Errors
/// `NotFound` when there is no such file; `Config` when it is a reference to a registry; `Component` when it is too
/// large or empty.
pub(crate) async fn fetch(reference: &str) -> Result<Artifact> {
    let path = path_of(reference)?;
    tokio::task::spawn_blocking(move || {
        let bytes = file::read(&path, MAX_BYTES)?;
        Ok(Artifact::new(bytes, Some(canonical(&path))))
    })
    .await
    .map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("reading {reference:?} broke off")).with_source(error)
    })?
}

pub(crate) fn path_of(reference: &str) -> Result<PathBuf> {
    if let Some(path) = reference.strip_prefix("file://") {
        return Ok(PathBuf::from(path));
    }
    let path = PathBuf::from(reference);
    let is_path = reference.starts_with(['/', '.']) || reference.ends_with(".wasm") || path.is_file();
    if is_path && !reference.contains("://") {
        return Ok(path);
    }
    let shown: String = reference.chars().take(200).collect();
    let message = format!(
        "{shown:?} is no path of a file; references to registries (OCI) are not supported yet: give a path or `file://…`"
    );
    Err(Error::new(ErrorKind::Config, message))
}

/// The one name of a file, if it is there; else the name as it is.
pub(crate) fn canonical(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{ErrorKind, fetch};

    #[tokio::test]
    async fn a_file_is_found_by_path_and_by_url() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.wasm");
        std::fs::write(&path, b"abc").expect("written");
        let path = path.to_str().expect("utf-8");
        for reference in [path.to_owned(), format!("file://{path}")] {
            let artifact = fetch(&reference).await.expect("found");
            assert_eq!(&artifact.bytes[..], b"abc");
            assert_eq!(artifact.digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        }
    }

    #[tokio::test]
    async fn what_is_no_readable_file_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let empty = dir.path().join("empty.wasm");
        std::fs::write(&empty, b"").expect("written");
        let inside = |name: &str| dir.path().join(name).display().to_string();
        for (reference, kind) in [
            (inside("absent.wasm"), ErrorKind::NotFound),
            (inside(""), ErrorKind::NotFound),
            (inside("empty.wasm"), ErrorKind::Component),
            ("ghcr.io/acme/app:1.0".to_owned(), ErrorKind::Config),
            ("oci://ghcr.io/acme/app.wasm".to_owned(), ErrorKind::Config),
        ] {
            let error = fetch(&reference).await.expect_err(&reference);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(&reference), "{error}");
        }
    }
}
