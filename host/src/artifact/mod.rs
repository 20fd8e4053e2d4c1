//! Components as bytes: found by reference in files and registries, held against a size limit, known by digest, kept for a restart.

pub mod archive;
mod cache;
mod file;
mod programs;
mod reference;
pub mod registry;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::error::{Error, ErrorKind, Result};

pub(crate) use self::cache::{Cache, write_atomically};
pub(crate) use self::programs::keep_program;
pub(crate) use self::reference::Source;
use self::registry::{Access, ImageRef, Registries};

/// The largest artifact that is read.
const MAX_BYTES: u64 = 64 << 20;
/// Artifacts that are pulled at a time; others wait.
const PULLS: usize = 4;

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

/// Where components come from: files, registries, and what was kept of them.
#[derive(Debug)]
pub(crate) struct Artifacts {
    pub(crate) registries: Registries,
    pub(crate) cache: Cache,
    /// Pulls at a time.
    turns: Semaphore,
}

impl Artifacts {
    /// Registries by `access`, and components that were seen in `dir`.
    pub(crate) fn new(access: Access, dir: PathBuf) -> Self {
        Self { registries: Registries::new(access), cache: Cache::new(dir), turns: Semaphore::new(PULLS) }
    }

    /// The bytes that `reference` means now.
    ///
    /// # Errors
    /// `NotFound` when there is no such file or artifact; `Config` when it is neither; `Component` when it is too
    /// large, empty, or not what its digest says; `Refused` and `Unavailable` as the registry has it.
    pub(crate) async fn fetch(&self, reference: &str) -> Result<Artifact> {
        match Source::parse(reference)? {
            Source::File(path) => read(path).await,
            Source::Registry(image) => self.pull(&image).await,
        }
    }

    /// As [`Artifacts::fetch`], but of a registry the component with this digest, whatever the tag means by now.
    pub(crate) async fn fetch_pinned(&self, reference: &str, digest: &str) -> Result<Artifact> {
        match Source::parse(reference)? {
            Source::File(path) => read(path).await,
            Source::Registry(image) => self.pull_pinned(&image, digest).await,
        }
    }

    /// The archive of a provider that `image` means now.
    ///
    /// # Errors
    /// As [`Artifacts::fetch`].
    pub(crate) async fn fetch_archive(&self, image: &ImageRef) -> Result<Bytes> {
        let _turn = self.turns.acquire().await.expect("is never closed");
        let connection = self.registries.connect(image).await?;
        let found = connection.find(registry::Wanted::Archive).await?;
        let silent: registry::Progress = Arc::new(|_, _| ());
        connection.download(&found, &silent).await
    }

    /// The tag is resolved once; what is here already is not fetched again.
    async fn pull(&self, image: &ImageRef) -> Result<Artifact> {
        let _turn = self.turns.acquire().await.expect("is never closed");
        let connection = self.registries.connect(image).await?;
        let found = connection.resolve().await?;
        if let Ok(kept) = self.cache.get(&found.digest).await {
            return Ok(kept);
        }
        let silent: registry::Progress = Arc::new(|_, _| ());
        let bytes = connection.download(&found, &silent).await?;
        tracing::info!(reference = %image, digest = found.digest, "component pulled");
        Ok(Artifact { bytes, digest: found.digest, path: None })
    }

    /// Nothing is resolved: what is here already needs no registry.
    async fn pull_pinned(&self, image: &ImageRef, digest: &str) -> Result<Artifact> {
        if let Ok(kept) = self.cache.get(digest).await {
            return Ok(kept);
        }
        let _turn = self.turns.acquire().await.expect("is never closed");
        let connection = self.registries.connect(image).await?;
        let bytes = connection.component(digest).await.map_err(|error| is_gone(error, image, digest))?;
        tracing::info!(reference = %image, digest, "component pulled by digest");
        Ok(Artifact { bytes, digest: digest.to_owned(), path: None })
    }
}

/// Says what can be done when a registry has forgotten what a tag meant.
fn is_gone(error: Error, image: &ImageRef, digest: &str) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    let message = format!(
        "{image} was sha256:{digest} where it runs already, and its registry does not keep that any more: push it again, \
         or deploy another reference"
    );
    Error::new(ErrorKind::NotFound, message).with_source(error)
}

/// The bytes that `reference` means now, for whoever only wants to look at them.
///
/// # Errors
/// As for a start: `NotFound`, `Config`, `Component`, `Refused` or `Unavailable`.
pub async fn bytes(reference: &str, registries: &Registries) -> Result<Bytes> {
    match Source::parse(reference)? {
        Source::File(path) => Ok(read(path).await?.bytes),
        Source::Registry(image) => {
            let connection = registries.connect(&image).await?;
            let silent: registry::Progress = Arc::new(|_, _| ());
            connection.download(&connection.resolve().await?, &silent).await
        }
    }
}

async fn read(path: PathBuf) -> Result<Artifact> {
    let shown = path.display().to_string();
    tokio::task::spawn_blocking(move || {
        let bytes = file::read(&path, MAX_BYTES)?;
        Ok(Artifact::new(bytes, Some(canonical(&path))))
    })
    .await
    .map_err(|error| Error::new(ErrorKind::Unavailable, format!("reading {shown} broke off")).with_source(error))?
}

/// The file that `reference` names, if it names one.
pub(crate) fn path_of(reference: &str) -> Option<PathBuf> {
    match Source::parse(reference) {
        Ok(Source::File(path)) => Some(path),
        _ => None,
    }
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
    use super::{Access, Artifact, Artifacts, ErrorKind, Result};

    async fn fetch(reference: &str) -> Result<Artifact> {
        Artifacts::new(Access::default(), "/nowhere".into()).fetch(reference).await
    }

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
            ("acme/app:1.0".to_owned(), ErrorKind::Config),
            ("ftp://registry.example/app".to_owned(), ErrorKind::Config),
            ("localhost:1/acme/app:1.0".to_owned(), ErrorKind::Unavailable),
        ] {
            let error = fetch(&reference).await.expect_err(&reference);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(&reference), "{error}");
        }
    }
}
