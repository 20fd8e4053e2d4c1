//! Manifests in files: read, checked here before anything is sent, and sent.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use trellis_wadm::api::{Client, PutReply, PutResult};
use trellis_wadm::manifest::{Format, Manifest, Source, parse};

use crate::context::Context;

/// Longer manifests are refused before they are read.
const MAX_BYTES: u64 = 1 << 20;

/// A manifest that holds.
#[derive(Debug)]
pub(crate) struct File {
    manifest: Manifest,
}

impl File {
    /// The manifest in `subject`, if that is a file and not the name of an application.
    pub(crate) fn find(subject: &str) -> anyhow::Result<Option<Self>> {
        let path = Path::new(subject);
        if subject == "-" || path.is_file() {
            return Self::read(path).map(Some);
        }
        if subject.contains(['/', '.']) {
            bail!("there is no file {subject}");
        }
        Ok(None)
    }

    /// Reads and checks; every problem with its place.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let text = text(path).with_context(|| format!("read {name}"))?;
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Format::Json,
            _ => Format::Yaml,
        };
        let mut manifest = parse(&text, format)
            .map_err(|problems| anyhow!("the manifest does not hold:\n{}", problems.in_file(&name)))?;
        let folder = path.parent().filter(|_| name != "-").unwrap_or(Path::new(""));
        find_images(&mut manifest, folder)?;
        Ok(Self { manifest })
    }

    /// The application's name.
    pub(crate) fn app(&self) -> &str {
        &self.manifest.metadata.name
    }

    /// As it is sent.
    pub(crate) fn to_json(&self) -> Bytes {
        serde_json::to_vec(&self.manifest).expect("a manifest has a JSON form").into()
    }

    /// Gives it to wadm.
    pub(crate) async fn put(&self, client: &Client) -> anyhow::Result<PutReply> {
        let reply = client.put(self.to_json()).await?;
        match reply.result {
            PutResult::Error => bail!(reply.message),
            PutResult::Created | PutResult::NewVersion => Ok(reply),
        }
    }
}

/// `trellis app validate`.
pub(super) fn validate(context: &Context, path: &Path) -> anyhow::Result<()> {
    let file = File::read(path)?;
    let components = file.manifest.spec.components.len();
    let text = format!("{}: application {}, {components} components: valid", path.display(), file.app());
    context.output.result(&serde_json::json!({"name": file.app(), "components": components}), text)
}

/// The manifests of `paths`; of a folder, those of its files that end in `.yaml`, `.yml` or `.json`, by name.
pub(crate) fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(File::read(path)?);
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("read {}", path.display()))?;
        let mut found = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        found.retain(|file| file.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json"));
        found.sort();
        for file in found {
            files.push(File::read(&file)?);
        }
    }
    Ok(files)
}

fn text(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(MAX_BYTES + 1).read_to_end(&mut text)?;
    } else {
        std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    }
    if text.len() as u64 > MAX_BYTES {
        bail!("it is longer than 1 MiB; split it into several applications");
    }
    Ok(text)
}

/// Images that are relative files are meant from the manifest's folder; hosts have folders of their own.
fn find_images(manifest: &mut Manifest, folder: &Path) -> anyhow::Result<()> {
    for component in &mut manifest.spec.components {
        let Source::Image(image) = &mut component.properties.source else { continue };
        let relative = match image.strip_prefix("file://") {
            Some(path) if !path.starts_with('/') => Some(path),
            None if image.starts_with("./") || image.starts_with("../") => Some(image.as_str()),
            _ => None,
        };
        if let Some(relative) = relative {
            let path = std::path::absolute(folder.join(relative)).with_context(|| format!("find image {image}"))?;
            *image = format!("file://{}", path.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::File;

    const HELLO: &str = "apiVersion: core.oam.dev/v1beta1\nkind: Application\nmetadata:\n  name: hello\n  annotations: {}\n\
                         spec:\n  components:\n    - { name: hello, type: actor, properties: { image: IMAGE } }\n";

    fn image(image: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("app.yaml");
        std::fs::write(&path, HELLO.replace("IMAGE", image)).expect("written");
        let file = File::read(&path).expect("valid");
        let json: serde_json::Value = serde_json::from_slice(&file.to_json()).expect("JSON");
        let image = json["spec"]["components"][0]["properties"]["image"].as_str().expect("an image").to_owned();
        image.replace(&folder.path().display().to_string(), "HERE")
    }

    #[test]
    fn relative_images_are_beside_the_manifest() {
        assert_eq!(image("file://hello.wasm"), "file://HERE/hello.wasm");
        assert_eq!(image("./out/hello.wasm"), "file://HERE/out/hello.wasm");
        assert_eq!(image("file:///a/hello.wasm"), "file:///a/hello.wasm");
        assert_eq!(image("registry.test/hello:1"), "registry.test/hello:1");
    }

    #[test]
    fn what_is_no_file_may_be_an_application() {
        assert!(File::find("hello").expect("a name").is_none());
        let error = File::find("missing.yaml").expect_err("a file's name").to_string();
        assert!(error.contains("no file missing.yaml"), "{error}");
    }
}
