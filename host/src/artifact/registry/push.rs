//! A component into a registry, as the Wasm artifact that other tools read as well.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http::HeaderValue;
use oci_client::errors::OciDistributionError;
use oci_client::manifest::OCI_IMAGE_MEDIA_TYPE;
use serde_json::json;

use super::pull::{ARCHIVE_LAYER, MAX_BYTES, WASM_LAYER};
use super::{Connection, Progress};
use crate::artifact::{archive, digest};
use crate::error::{Error, ErrorKind, Result};

/// The media type of what a Wasm artifact says of itself.
const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The media type of what an archive of a provider says of itself.
const ARCHIVE_CONFIG: &str = "application/vnd.wasmcloud.provider.archive.config";
/// How much is sent between two words about the progress.
const PIECE_BYTES: usize = 256 << 10;

/// A component to push.
#[derive(Debug, Clone)]
pub struct Image {
    /// All of it.
    pub bytes: Bytes,
    /// The names of its imports.
    pub imports: Vec<String>,
    /// The names of its exports.
    pub exports: Vec<String>,
}

/// What was pushed.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// `sha256:…` of the manifest: by this the artifact can be referred to for good.
    pub manifest_digest: String,
    /// Hex of the SHA-256 of the component or archive.
    pub digest: String,
}

/// One layer and what is said of it.
struct Artifact {
    layer: Bytes,
    layer_type: &'static str,
    config: Vec<u8>,
    config_type: &'static str,
    max_bytes: u64,
}

impl Connection {
    /// Sends `image`, telling `progress` how far it is. The same component gives the same manifest.
    ///
    /// # Errors
    /// `Config` when the reference names a digest, `Component` when it is too large, `Refused` without the right
    /// credentials, `Unavailable` when the registry cannot be reached.
    pub async fn push(&self, image: &Image, progress: &Progress) -> Result<Pushed> {
        let artifact = Artifact {
            layer: image.bytes.clone(),
            layer_type: WASM_LAYER,
            config: config(image, &digest(&image.bytes)),
            config_type: WASM_CONFIG,
            max_bytes: MAX_BYTES,
        };
        self.push_artifact(&artifact, progress).await
    }

    /// Sends the archive of a provider.
    ///
    /// # Errors
    /// As [`Connection::push`].
    pub async fn push_archive(&self, bytes: Bytes, progress: &Progress) -> Result<Pushed> {
        let artifact = Artifact {
            layer: bytes,
            layer_type: ARCHIVE_LAYER,
            config: b"{}".to_vec(),
            config_type: ARCHIVE_CONFIG,
            max_bytes: archive::MAX_BYTES,
        };
        self.push_artifact(&artifact, progress).await
    }

    async fn push_artifact(&self, artifact: &Artifact, progress: &Progress) -> Result<Pushed> {
        if self.image.is_fixed() {
            let message = format!("{} names a digest, which nothing can be pushed to: give a tag", self.image);
            return Err(Error::new(ErrorKind::Config, message));
        }
        if artifact.layer.len() as u64 > artifact.max_bytes {
            let message = format!("it is larger than {} MiB, which no host fetches", artifact.max_bytes >> 20);
            return Err(Error::new(ErrorKind::Component, message));
        }
        let digest = digest(&artifact.layer);
        let manifest = manifest(artifact, &digest);
        let manifest_digest = format!("sha256:{}", crate::artifact::digest(&manifest));
        self.within("push", self.send(artifact, &digest, manifest, progress)).await?;
        Ok(Pushed { manifest_digest, digest })
    }

    async fn send(
        &self,
        artifact: &Artifact,
        digest: &str,
        manifest: Vec<u8>,
        progress: &Progress,
    ) -> Result<(), OciDistributionError> {
        let (client, reference) = (&self.client, self.image.as_oci());
        client.store_auth_if_needed(reference.resolve_registry(), &self.auth).await;
        let layer = format!("sha256:{digest}");
        let pieces = stream::iter(pieces(artifact.layer.clone(), Arc::clone(progress)));
        client.push_blob_stream(reference, pieces, &layer, Some(artifact.layer.len() as u64)).await?;
        let config_digest = format!("sha256:{}", crate::artifact::digest(&artifact.config));
        client.push_blob(reference, artifact.config.clone(), &config_digest).await?;
        client.push_manifest_raw(reference, manifest, HeaderValue::from_static(OCI_IMAGE_MEDIA_TYPE)).await?;
        Ok(())
    }
}

fn pieces(
    bytes: Bytes,
    progress: Progress,
) -> impl Iterator<Item = Result<Bytes, OciDistributionError>> + Send + 'static {
    let total = bytes.len();
    (0..total).step_by(PIECE_BYTES).map(move |start| {
        let end = (start + PIECE_BYTES).min(total);
        progress(end as u64, total as u64);
        Ok(bytes.slice(start..end))
    })
}

fn config(image: &Image, digest: &str) -> Vec<u8> {
    let config = json!({
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [format!("sha256:{digest}")],
        "component": {"imports": image.imports, "exports": image.exports},
    });
    config.to_string().into_bytes()
}

fn manifest(artifact: &Artifact, digest: &str) -> Vec<u8> {
    let Artifact { layer, layer_type, config, config_type, .. } = artifact;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE_MEDIA_TYPE,
        "config": {
            "mediaType": config_type,
            "digest": format!("sha256:{}", crate::artifact::digest(config)),
            "size": config.len(),
        },
        "layers": [{"mediaType": layer_type, "digest": format!("sha256:{digest}"), "size": layer.len()}],
    });
    manifest.to_string().into_bytes()
}
