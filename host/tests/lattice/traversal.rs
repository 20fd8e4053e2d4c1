//! FAULTS D54 end to end: artifacts from a registry that name places outside of where a host keeps them. A tree of
//! canaries around the host stays as it was, whatever is pulled and started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use trellis_host::artifact::archive::{Programs, Statement, own_target, pack};
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::message::command::StartProvider;

use crate::cluster::{Cluster, now, provider, scale};
use crate::guests;
use crate::registry::{Cheat, http};

const COMPONENT: &str = "application/wasm";
const ARCHIVE: &str = "application/vnd.wasmcloud.provider.archive.layer.v1+par";
/// A header of tar, and what contents are padded to.
const BLOCK: usize = 512;

/// Names that lead out of a directory, or to another place in it.
const NAMES: [&str; 14] = [
    "../canary",
    "../../canary",
    "../../../../../../../../tmp/canary",
    "/tmp/canary",
    "/etc/canary",
    "a/../../canary",
    "./canary",
    "..",
    ".",
    "a/b",
    "a\\..\\..\\canary",
    "C:\\canary",
    "%2e%2e/canary",
    "~/canary",
];

/// What an entry may be that is no file: links, devices, directories, and what renames the entry after it.
const KINDS: &[u8] = b"1234567xgLKSMVDNA";

/// A registry with one artifact at a time.
struct Shelf {
    cheat: Cheat,
    layer: Arc<Mutex<(serde_json::Value, Bytes)>>,
}

impl Shelf {
    async fn start() -> Self {
        let layer = Arc::new(Mutex::new((json!({}), Bytes::new())));
        let shown = Arc::clone(&layer);
        let cheat = Cheat::start(move |path| {
            let (layer, bytes) = shown.lock().expect("not poisoned").clone();
            if path.contains("/blobs/") {
                return http("200 OK", "", &bytes);
            }
            let kind = "application/vnd.oci.image.manifest.v1+json";
            let config = json!({"mediaType": "application/octet-stream", "digest": digest(b"{}"), "size": 2});
            let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
            http("200 OK", &format!("content-type: {kind}\r\n"), manifest.to_string().as_bytes())
        });
        Self { cheat: cheat.await, layer }
    }

    /// Puts `bytes` there, as a file that is called `title`.
    fn put(&self, media_type: &str, title: &str, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        let annotations = json!({
            "org.opencontainers.image.title": title,
            "io.deis.oras.content.unpack": "true",
            "io.deis.oras.content.digest": digest(&bytes),
        });
        let (digest, size) = (digest(&bytes), bytes.len());
        let layer = json!({"mediaType": media_type, "digest": digest, "size": size, "annotations": annotations});
        *self.layer.lock().expect("not poisoned") = (layer, bytes);
    }

    fn reference(&self, tag: usize) -> String {
        format!("{}/app:{tag}", self.cheat.address)
    }
}

fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// An entry of tar with that name, kind and link, whose checksum is right.
fn entry(name: &[u8], kind: u8, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name);
    put(100, b"0004777\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut entry = [header.as_slice(), content].concat();
    entry.resize(entry.len().next_multiple_of(BLOCK), 0);
    entry
}

/// Archives that are signed and whole but for one entry before, after or in the place of the others.
fn archives(signed: &[u8]) -> Vec<Vec<u8>> {
    let end = [0; 2 * BLOCK];
    let body = &signed[..signed.len() - end.len()];
    let with = |first: &[u8]| [first, body, &end].concat();
    let after = |last: &[u8]| [body, last, &end].concat();
    let mut archives: Vec<Vec<u8>> = Vec::new();
    for name in NAMES {
        let file = entry(name.as_bytes(), b'0', "", b"overwritten");
        archives.extend([with(&file), after(&file), [file.as_slice(), &end].concat()]);
    }
    for &kind in KINDS {
        for link in ["../canary", "/tmp/canary", "claims.jwt"] {
            // A link, and a file that would be written through it.
            let link = entry(b"out.bin", kind, link, b"");
            archives.push(with(&[link, entry(b"out.bin", b'0', "", b"overwritten")].concat()));
        }
    }
    let renaming = b"19 path=../canary\n";
    for kind in *b"xgLK" {
        archives.push(with(&[entry(b"PaxHeader", kind, "", renaming), entry(b"in.bin", b'0', "", b"x")].concat()));
    }
    for clash in ["CLAIMS.JWT", "claims.jwt", "Claims.jwt"] {
        archives.push(after(&entry(clash.as_bytes(), b'0', "", b"x")));
    }
    archives.extend([body.to_vec(), [signed, signed].concat(), signed[BLOCK..].to_vec(), b"PK\x03\x04".repeat(200)]);
    archives
}

/// All that is in `dir`: files with their bytes, links with where they lead.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut tree = BTreeMap::new();
    for found in std::fs::read_dir(dir).expect("is a directory") {
        let path = found.expect("can be read").path();
        let kind = std::fs::symlink_metadata(&path).expect("is there").file_type();
        if kind.is_symlink() {
            let target = std::fs::read_link(&path).expect("is a link");
            tree.insert(path, target.into_os_string().into_encoded_bytes());
        } else if kind.is_dir() {
            tree.extend(self::tree(&path));
            tree.insert(path, Vec::new());
        } else {
            let bytes = std::fs::read(&path).expect("can be read");
            tree.insert(path, bytes);
        }
    }
    tree
}

/// Canaries everywhere above and beside the data of the host `a`, which is at `<dir>/a`.
fn plant(dir: &Path) {
    for path in ["canary", "b/canary", "claims.jwt", "out.bin", "in.bin", "tmp/canary", "etc/canary"] {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().expect("is in a directory")).expect("made");
        std::fs::write(path, "untouched").expect("written");
    }
}

#[tokio::test]
async fn nothing_that_comes_from_a_registry_is_written_where_it_says() {
    let cluster = Cluster::new();
    let dir = cluster.dir.path();
    let component = std::fs::read(cluster.actor("echo", &guests::echo(), None)).expect("is there");
    let statement = Statement { name: "dice".to_owned(), vendor: "acme".to_owned(), ..Statement::default() };
    let programs = Programs::from([(own_target(), "program".into())]);
    let keys = (&Key::generate(KeyKind::Account), &Key::generate(KeyKind::Provider));
    let signed = pack(&statement, &programs, keys, now()).expect("packed");
    plant(dir);
    let shelf = Shelf::start().await;
    let host = cluster.host("a").await;
    let outside = || {
        let own = dir.join("a");
        tree(dir).into_iter().filter(|(path, _)| !path.starts_with(&own)).collect::<BTreeMap<_, _>>()
    };
    let before = outside();
    let client = cluster.client();

    for (tag, title) in NAMES.into_iter().enumerate() {
        shelf.put(COMPONENT, title, component.clone());
        let start = scale(host.id(), &format!("actor{tag}"), Path::new(&shelf.reference(tag)), 1);
        client.scale(&start).await.expect("its name says nothing of what it is");
    }
    let archives = archives(&signed);
    assert!(archives.len() >= 100, "{} archives", archives.len());
    for (tag, archive) in archives.into_iter().enumerate() {
        shelf.put(ARCHIVE, "../../canary", archive);
        let start = StartProvider { provider_ref: shelf.reference(tag), ..provider(host.id(), "dice", "") };
        let error = client.start_provider(&start).await.expect_err("refused").to_string();
        assert!(error.contains("is not an archive of a provider"), "archive {tag}: {error}");
    }
    assert_eq!(outside(), before);
    // What was kept of the components has the name of its digest.
    let kept = digest(&component).trim_start_matches("sha256:").to_owned();
    let own = tree(&dir.join("a"));
    let leftovers = |name: &str| own.keys().any(|path| path.ends_with(name));
    assert!(own.keys().any(|path| path.ends_with(&kept)), "{:?}", own.keys());
    assert!(!["canary", "out.bin", "in.bin", "PaxHeader", "claims.jwt"].into_iter().any(leftovers), "{:?}", own.keys());
    assert!(!Path::new("/tmp/canary").exists() && !Path::new("/etc/canary").exists());
}
