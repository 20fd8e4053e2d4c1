//! A manifest as it is stored: JSON under the hash of its content.

use std::sync::Arc;

use bytes::Bytes;
use trellis_lattice::error::{Error, ErrorKind, Result};
use trellis_lattice::store::MAX_VALUE_BYTES;

use super::error::Refusal;
use crate::manifest::{Format, Manifest, parse};

/// A manifest, its stored form, and the name of its version.
#[derive(Debug, Clone)]
pub struct Stored {
    manifest: Arc<Manifest>,
    json: Bytes,
    digest: String,
    version: String,
}

impl Stored {
    /// `manifest`, to be stored. Its version is the annotation `version`, or the beginning of its hash; then the
    /// annotation is added, so that whoever reads it again finds it.
    pub(super) fn new(manifest: &Manifest) -> std::result::Result<Self, Refusal> {
        let mut manifest = manifest.clone();
        let version = match manifest.metadata.annotations.get("version") {
            Some(version) => version.clone(),
            None => {
                let version = digest(&json(&manifest))[..12].to_owned();
                manifest.metadata.annotations.insert("version".to_owned(), version.clone());
                version
            }
        };
        let json = json(&manifest);
        if json.len() > MAX_VALUE_BYTES {
            let message =
                format!("a manifest of {} bytes is over {MAX_VALUE_BYTES}: split the application", json.len());
            return Err(Refusal::conflict(message));
        }
        Ok(Self { manifest: Arc::new(manifest), digest: digest(&json), json, version })
    }

    /// What is stored under `digest`, if that is its content.
    pub(super) fn read(json: &Bytes, wanted: &str) -> Result<Arc<Manifest>> {
        if digest(json) != wanted {
            return Err(Error::new(ErrorKind::Untrusted, format!("manifest {wanted} has other content than was put")));
        }
        let manifest = parse(json, Format::Json).map_err(|problems| {
            let message = format!("manifest {wanted} was put by another release and makes no sense here: {problems}");
            Error::new(ErrorKind::Malformed, message)
        })?;
        Ok(Arc::new(manifest))
    }

    /// What it says.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// What it is stored by.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The name of its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn json(&self) -> &Bytes {
        &self.json
    }
}

fn json(manifest: &Manifest) -> Bytes {
    serde_json::to_vec(manifest).expect("a manifest has a JSON form").into()
}

fn digest(json: &[u8]) -> String {
    blake3::hash(json).to_hex().to_string()
}
