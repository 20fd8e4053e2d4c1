//! Components that ran here, by digest, so that a restarted host needs nobody to give them again.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{Artifact, MAX_BYTES, digest, file};
use crate::error::{Error, ErrorKind, Result};

/// A directory of components, each named by its digest.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// In `dir`, which is made when something is kept.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Keeps `artifact`; one that is there already is left alone.
    pub(crate) async fn keep(&self, artifact: &Artifact) -> Result<()> {
        let path = self.dir.join(&artifact.digest);
        let bytes = artifact.bytes.clone();
        blocking(move || {
            if path.is_file() {
                return Ok(());
            }
            write_atomically(&path, &bytes).map_err(|error| {
                let message = format!("cannot keep a component in {}: {error}", path.display());
                Error::new(ErrorKind::Unavailable, message).with_source(error)
            })
        })
        .await
    }

    /// The component with `digest`. A file that holds something else is removed.
    pub(crate) async fn get(&self, wanted: &str) -> Result<Artifact> {
        let is_digest = wanted.len() == 64 && wanted.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_digest {
            return Err(Error::new(ErrorKind::NotFound, format!("{wanted:?} is not a digest")));
        }
        let path = self.dir.join(wanted);
        let wanted = wanted.to_owned();
        blocking(move || {
            let bytes: Bytes = file::read(&path, MAX_BYTES)?;
            if digest(&bytes) != wanted {
                let removed = std::fs::remove_file(&path);
                tracing::warn!(digest = wanted, removed = removed.is_ok(), "kept component was damaged");
                return Err(Error::new(ErrorKind::NotFound, format!("the kept component {wanted} was damaged")));
            }
            Ok(Artifact { bytes, digest: wanted, path: None })
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let broke = |error| Error::new(ErrorKind::Unavailable, "work on the disk broke off").with_source(error);
    tokio::task::spawn_blocking(work).await.map_err(broke)?
}

/// Replaces `path` with `bytes`: whoever reads sees all of the old or all of the new, also after a crash. Blocks.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().expect("a file in a directory");
    std::fs::create_dir_all(dir)?;
    let name = path.file_name().expect("a file has a name").to_string_lossy();
    let draft = dir.join(format!(".{name}.{:016x}", rand::random::<u64>()));
    let written = std::fs::File::create(&draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        std::fs::File::open(dir)?.sync_all()
    });
    if written.is_err() {
        // The draft is of no use; that it cannot be removed changes nothing about the error told.
        let _ = std::fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::{Artifact, Cache};

    #[tokio::test]
    async fn what_is_kept_comes_back_unless_it_was_damaged() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = Cache::new(dir.path().join("artifacts"));
        let artifact = Artifact::new("abc".into(), None);
        cache.keep(&artifact).await.expect("kept");
        cache.keep(&artifact).await.expect("kept twice");
        assert_eq!(cache.get(&artifact.digest).await.expect("there").bytes, artifact.bytes);
        std::fs::write(dir.path().join("artifacts").join(&artifact.digest), b"abd").expect("written");
        assert!(cache.get(&artifact.digest).await.is_err());
        assert!(cache.get("../../etc/passwd").await.is_err());
    }
}
