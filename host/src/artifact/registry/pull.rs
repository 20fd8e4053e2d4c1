//! From a reference to bytes: the tag is resolved once, and what comes has the digest that the manifest names.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{
    IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest,
};

use super::{Connection, Progress};
use crate::artifact::{archive, digest};
use crate::error::{Error, ErrorKind, Result};

/// Media types of a layer that is a component: of Wasm artifacts, and of wasmCloud 1.x.
pub(super) const WASM_LAYER: &str = "application/wasm";
const WASMCLOUD_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
/// The media type of a layer that is an archive of a provider, as in wasmCloud 1.x.
pub(super) const ARCHIVE_LAYER: &str = "application/vnd.wasmcloud.provider.archive.layer.v1+par";
/// The largest component that is fetched.
pub(super) const MAX_BYTES: u64 = 32 << 20;

/// What an artifact is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A component.
    Component,
    /// An archive of a provider.
    Archive,
}

impl Wanted {
    fn layers(self) -> &'static [&'static str] {
        match self {
            Self::Component => &[WASM_LAYER, WASMCLOUD_LAYER],
            Self::Archive => &[ARCHIVE_LAYER],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Archive => "archive of a provider",
        }
    }

    fn max_bytes(self) -> u64 {
        match self {
            Self::Component => MAX_BYTES,
            Self::Archive => archive::MAX_BYTES,
        }
    }
}

/// What a reference means at the moment when it was asked for.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// `sha256:…` of the manifest.
    pub manifest_digest: String,
    /// Hex of the SHA-256 of the component or archive.
    pub digest: String,
    /// What the manifest says of its size.
    pub size_bytes: u64,
}

impl Connection {
    /// Asks which component the reference means now.
    ///
    /// # Errors
    /// As [`Connection::find`].
    pub async fn resolve(&self) -> Result<Resolved> {
        self.find(Wanted::Component).await
    }

    /// Asks what the reference means now.
    ///
    /// # Errors
    /// `NotFound` when there is no such artifact, `Refused` without the right credentials, `Component` when it is not
    /// what is wanted or too large, `Unavailable` when the registry cannot be reached.
    pub async fn find(&self, wanted: Wanted) -> Result<Resolved> {
        let accepted = [OCI_IMAGE_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE];
        let ask = self.client.pull_manifest_raw(self.image.as_oci(), &self.auth, &accepted);
        let (manifest, manifest_digest) = self.within("pull", ask).await?;
        let refuse = |why: &str| Error::new(ErrorKind::Component, format!("{} cannot be used: {why}", self.image));
        let parsed: OciImageManifest = serde_json::from_slice(&manifest).map_err(|_| {
            let mut texts = manifest.windows(OCI_IMAGE_INDEX_MEDIA_TYPE.len());
            let is_index = texts.any(|text| text == OCI_IMAGE_INDEX_MEDIA_TYPE.as_bytes());
            refuse(if is_index { "it is an index of several images, not one of them" } else { "its manifest is none" })
        })?;
        let layer = layer_of(&parsed.layers, wanted).map_err(|why| refuse(&why))?;
        let hex = layer.digest.strip_prefix("sha256:").filter(|hex| is_sha256(hex));
        let hex = hex.ok_or_else(|| refuse("its layer has no SHA-256 digest"))?;
        let size_bytes = u64::try_from(layer.size).unwrap_or(u64::MAX);
        let (name, max_bytes) = (wanted.name(), wanted.max_bytes());
        if size_bytes > max_bytes {
            return Err(refuse(&format!("its {name} is larger than {} MiB", max_bytes >> 20)));
        }
        Ok(Resolved { manifest_digest, digest: hex.to_owned(), size_bytes })
    }

    /// Fetches the component that `found` names, telling `progress` how far it is.
    ///
    /// # Errors
    /// `Component` when what comes is something else or too large, else as [`Connection::resolve`].
    pub async fn download(&self, found: &Resolved, progress: &Progress) -> Result<Bytes> {
        self.fetch((&found.digest, found.size_bytes), progress).await
    }

    /// Fetches the component with this digest, which the reference meant at some time.
    ///
    /// # Errors
    /// As [`Connection::download`]; `NotFound` when the registry does not keep it any more.
    pub(crate) async fn component(&self, digest: &str) -> Result<Bytes> {
        self.client.store_auth_if_needed(self.image.registry(), &self.auth).await;
        let silent: Progress = Arc::new(|_, _| ());
        self.fetch((digest, MAX_BYTES), &silent).await
    }

    async fn fetch(&self, (wanted, size_bytes): (&str, u64), progress: &Progress) -> Result<Bytes> {
        let bytes = self.within("pull", self.receive((wanted, size_bytes), progress)).await?;
        let bytes = bytes.ok_or_else(|| {
            let message = format!("cannot pull {}: more than {size_bytes} bytes came", self.image);
            Error::new(ErrorKind::Component, message)
        })?;
        // The client has checked it as well; what runs is what we have seen.
        if digest(&bytes) != wanted {
            let message = format!("cannot pull {}: what came is not sha256:{wanted}", self.image);
            return Err(Error::new(ErrorKind::Component, message));
        }
        Ok(bytes)
    }

    /// All bytes; `None` when more come than there may be.
    async fn receive(
        &self,
        (digest, size_bytes): (&str, u64),
        progress: &Progress,
    ) -> Result<Option<Bytes>, OciDistributionError> {
        // By digest alone: a manifest may name other places to fetch from, which is nothing that it should decide.
        let digest = format!("sha256:{digest}");
        let mut stream = self.client.pull_blob_stream(self.image.as_oci(), digest.as_str()).await?;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(digest_or_io)?;
            if (bytes.len() + chunk.len()) as u64 > size_bytes {
                return Ok(None);
            }
            bytes.extend_from_slice(&chunk);
            progress(bytes.len() as u64, size_bytes);
        }
        Ok(Some(bytes.freeze()))
    }
}

/// The client wraps an error about a digest into one about input.
fn digest_or_io(error: std::io::Error) -> OciDistributionError {
    match error.downcast() {
        Ok(error) => OciDistributionError::DigestError(error),
        Err(error) => OciDistributionError::IoError(error),
    }
}

fn layer_of(layers: &[OciDescriptor], wanted: Wanted) -> Result<&OciDescriptor, String> {
    let is_wanted = |layer: &&OciDescriptor| wanted.layers().contains(&layer.media_type.as_str());
    let mut found = layers.iter().filter(is_wanted);
    let name = wanted.name();
    match (found.next(), found.next()) {
        (Some(layer), None) => Ok(layer),
        (Some(_), Some(_)) => Err(format!("it has more than one {name}")),
        (None, _) => {
            let types: Vec<String> =
                layers.iter().take(5).map(|layer| layer.media_type.chars().take(80).collect()).collect();
            Err(format!("it has no {name}, only {types:?}; push one with `trellis push`"))
        }
    }
}

fn is_sha256(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::{OciDescriptor, Wanted, layer_of};

    fn layer(media_type: &str) -> OciDescriptor {
        serde_json::from_value(serde_json::json!({"mediaType": media_type, "digest": "sha256:0", "size": 1}))
            .expect("a descriptor")
    }

    #[test]
    fn both_layouts_have_one_component() {
        for media_type in ["application/wasm", "application/vnd.module.wasm.content.layer.v1+wasm"] {
            let layers = [layer("text/plain"), layer(media_type)];
            assert_eq!(layer_of(&layers, Wanted::Component).expect("found").media_type, media_type);
        }
        assert!(layer_of(&[layer("application/wasm"), layer("application/wasm")], Wanted::Component).is_err());
        let error =
            layer_of(&[layer("application/vnd.oci.image.layer.v1.tar+gzip")], Wanted::Archive).expect_err("an image");
        assert!(error.contains("tar+gzip") && error.contains("trellis push"), "{error}");
    }
}
