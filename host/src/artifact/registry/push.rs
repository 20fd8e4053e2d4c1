//! A component into a registry, as the Wasm artifact that other tools read as well.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http::HeaderValue;
use oci_client::errors::OciDistributionError;
use oci_client::manifest::OCI_IMAGE_MEDIA_TYPE;
use serde_json::json;

use super::pull::{MAX_BYTES, WASM_LAYER};
use super::{Connection, Progress};
use crate::artifact::digest;
use crate::error::{Error, ErrorKind, Result};

/// The media type of what a Wasm artifact says of itself.
const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
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
    /// Hex of the SHA-256 of the component.
    pub digest: String,
}

impl Connection {
    /// Sends `image`, telling `progress` how far it is. The same component gives the same manifest.
    ///
    /// # Errors
    /// `Config` when the reference names a digest, `Component` when it is too large, `Refused` without the right
    /// credentials, `Unavailable` when the registry cannot be reached.
    pub async fn push(&self, image: &Image, progress: &Progress) -> Result<Pushed> {
        if self.image.is_fixed() {
            let message = format!("{} names a digest, which nothing can be pushed to: give a tag", self.image);
            return Err(Error::new(ErrorKind::Config, message));
        }
        if image.bytes.len() as u64 > MAX_BYTES {
            let message = format!("the component is larger than {} MiB, which no host fetches", MAX_BYTES >> 20);
            return Err(Error::new(ErrorKind::Component, message));
        }
        let digest = digest(&image.bytes);
        let config = config(image, &digest);
        let manifest = manifest(image, &digest, &config);
        let manifest_digest = format!("sha256:{}", crate::artifact::digest(&manifest));
        self.within("push", self.send(image, &digest, (config, manifest), progress)).await?;
        Ok(Pushed { manifest_digest, digest })
    }

    async fn send(
        &self,
        image: &Image,
        digest: &str,
        (config, manifest): (Vec<u8>, Vec<u8>),
        progress: &Progress,
    ) -> Result<(), OciDistributionError> {
        let (client, reference) = (&self.client, self.image.as_oci());
        client.store_auth_if_needed(reference.resolve_registry(), &self.auth).await;
        let layer = format!("sha256:{digest}");
        let pieces = stream::iter(pieces(image.bytes.clone(), Arc::clone(progress)));
        client.push_blob_stream(reference, pieces, &layer, Some(image.bytes.len() as u64)).await?;
        let config_digest = format!("sha256:{}", crate::artifact::digest(&config));
        client.push_blob(reference, config, &config_digest).await?;
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

fn manifest(image: &Image, digest: &str, config: &[u8]) -> Vec<u8> {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE_MEDIA_TYPE,
        "config": {
            "mediaType": WASM_CONFIG,
            "digest": format!("sha256:{}", crate::artifact::digest(config)),
            "size": config.len(),
        },
        "layers": [{"mediaType": WASM_LAYER, "digest": format!("sha256:{digest}"), "size": image.bytes.len()}],
    });
    manifest.to_string().into_bytes()
}
