//! What a component's reference means: a file, or an artifact in a registry.

use std::path::{Path, PathBuf};

use oci_client::Reference;

use crate::error::{Error, ErrorKind, Result};

/// Where a component is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// In a file: `file://…`, or a path. Relative paths are relative to where the host was started.
    File(PathBuf),
    /// In a registry.
    Registry(ImageRef),
}

impl Source {
    /// Reads `reference`: `file://…`, a path, `registry/repository:tag` or `registry/repository@sha256:…`, also with
    /// `oci://` in front.
    ///
    /// # Errors
    /// `Config` when it is none of them.
    pub(crate) fn parse(reference: &str) -> Result<Self> {
        if let Some(path) = reference.strip_prefix("file://") {
            return Ok(Self::File(PathBuf::from(path)));
        }
        let is_path = reference.starts_with(['/', '.'])
            || !reference.contains("://") && (reference.ends_with(".wasm") || Path::new(reference).is_file());
        if is_path {
            return Ok(Self::File(PathBuf::from(reference)));
        }
        ImageRef::parse(reference).map(Self::Registry)
    }
}

/// A component in a registry: `registry/repository:tag`, or with `@sha256:…` one that never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRef(Reference);

impl ImageRef {
    /// Reads `text`, which has to name the registry; there is no default one.
    ///
    /// # Errors
    /// `Config` when it is no such reference.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = || {
            let shown: String = text.chars().take(200).collect();
            let message = format!(
                "{shown:?} is neither the path of a file nor an artifact in a registry: give a path, `file://…`, or \
                 `registry.example/repository:tag`"
            );
            Error::new(ErrorKind::Config, message)
        };
        let name = text.strip_prefix("oci://").unwrap_or(text);
        let (registry, _) = name.split_once('/').ok_or_else(refuse)?;
        let is_host = registry == "localhost" || registry.contains(['.', ':']);
        if !is_host || name.len() > 1_024 {
            return Err(refuse());
        }
        name.parse().map(Self).map_err(|error| refuse().with_source(error))
    }

    /// The registry: its host, and its port if it has one.
    pub fn registry(&self) -> &str {
        self.0.resolve_registry()
    }

    /// The last part of the repository's name.
    pub fn name(&self) -> &str {
        let repository = self.0.repository();
        repository.rsplit('/').next().unwrap_or(repository)
    }

    /// The same artifact by the digest of its manifest (`sha256:…`), as text.
    pub fn at(&self, manifest_digest: &str) -> String {
        format!("{}/{}@{manifest_digest}", self.registry(), self.0.repository())
    }

    /// Whether it names a digest, which nothing can be written to.
    pub fn is_fixed(&self) -> bool {
        self.0.digest().is_some()
    }

    pub(super) fn as_oci(&self) -> &Reference {
        &self.0
    }
}

impl std::fmt::Display for ImageRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for ImageRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{ImageRef, Source};

    #[test]
    fn files_and_artifacts_are_told_apart() {
        for path in ["/a/b", "./b", "../x.wasm", "a.wasm", "dir/a.wasm", "file:///x:1"] {
            assert!(matches!(Source::parse(path), Ok(Source::File(_))), "{path}");
        }
        for (reference, registry, name) in [
            ("registry.example/acme/app:1.0", "registry.example", "app"),
            ("localhost:5000/app", "localhost:5000", "app"),
            ("127.0.0.1:5000/a/b/c:x", "127.0.0.1:5000", "c"),
            ("oci://registry.example/app:1", "registry.example", "app"),
        ] {
            let Ok(Source::Registry(image)) = Source::parse(reference) else { panic!("{reference}") };
            assert_eq!((image.registry(), image.name(), image.is_fixed()), (registry, name, false));
        }
        let digest = "a".repeat(64);
        assert!(ImageRef::parse(&format!("registry.example/app@sha256:{digest}")).expect("valid").is_fixed());
    }

    #[test]
    fn what_is_neither_is_refused_by_name() {
        for bad in ["", "app", "acme/app", "ftp://registry.example/app", "registry.example/UPPER", "r.example/a@md5:1"]
        {
            let error = Source::parse(bad).expect_err(bad).to_string();
            assert!(error.contains(bad) && error.contains("registry.example/repository:tag"), "{error}");
        }
    }
}
