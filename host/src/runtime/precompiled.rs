//! Compiled code on disk: authenticated, because loading forged code would be running it.
//!
//! A file is a keyed MAC, then what wasmtime serialized. The key is the host's own, beside the files. The bytes that
//! were checked are the ones that are loaded: mapping the file again would let it change in between.

use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{Hash as _, Hasher};
use std::io::{ErrorKind as IoErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

use super::eviction;
use crate::error::{Error, ErrorKind, Result};

const MAC_BYTES: usize = 32;
/// More than a component of the largest size compiles to.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// The directory with compiled code of this host.
pub(super) struct Cache {
    dir: PathBuf,
    key: [u8; 32],
}

impl Cache {
    /// Opens the cache in `dir`, which is made (0700) with a fresh key (0600) if it is not there.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be made, or others could read or write it.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let unavailable = |error: std::io::Error| {
            let message = format!("code cache {} cannot be used: {error}", dir.display());
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unavailable)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(unavailable)?;
        let key = read_or_make_key(dir).map_err(unavailable)?;
        Ok(Self { dir: dir.to_owned(), key })
    }

    /// The compiled form of the component with `digest` for `engine`, if it is here and genuine.
    pub(super) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let name = Name::new(engine, digest);
        let path = self.dir.join(name.file());
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == IoErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), error = %error, "cached code was not read");
                return None;
            }
        };
        let code = match self.genuine(&name, &bytes) {
            Some(code) => code,
            None => {
                tracing::warn!(path = %path.display(), "cached code was refused: its MAC is wrong");
                return None;
            }
        };
        match deserialize(engine, code) {
            Ok(component) => {
                eviction::touch(&path);
                Some(component)
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), error = %error, "cached code was refused");
                None
            }
        }
    }

    /// Whether there is code of the component with `digest` for any engine.
    pub(super) fn may_have(&self, digest: &str) -> bool {
        let names = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        names.into_iter().any(|entry| entry.file_name().as_encoded_bytes().starts_with(digest.as_bytes()))
    }

    /// Keeps the compiled form of the component with `digest`; a failure is logged, because it only costs time.
    pub(super) fn save(&self, engine: &Engine, digest: &str, component: &Component) {
        let name = Name::new(engine, digest);
        let saved = component.serialize().map_err(std::io::Error::other).and_then(|code| {
            let mac = self.mac(&name, &code);
            self.write(&name, &[mac.as_bytes(), &code])
        });
        if let Err(error) = saved {
            tracing::warn!(digest, error = %error, "compiled code was not cached");
        }
        eviction::make_room(&self.dir, eviction::MAX_BYTES);
    }

    fn write(&self, name: &Name, parts: &[&[u8]]) -> std::io::Result<()> {
        let temporary = self.dir.join(format!("{}.{:016x}.new", name.file(), rand::random::<u64>()));
        let written =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).and_then(|mut file| {
                parts.iter().try_for_each(|part| file.write_all(part))?;
                fs::rename(&temporary, self.dir.join(name.file()))
            });
        written.inspect_err(|_| drop(fs::remove_file(&temporary)))
    }

    fn mac(&self, name: &Name, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(name.file().as_bytes());
        hasher.update(code);
        hasher.finalize()
    }

    fn genuine<'a>(&self, name: &Name, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (mac, code) = bytes.split_first_chunk::<MAC_BYTES>()?;
        // `blake3::Hash` compares in constant time.
        (self.mac(name, code) == blake3::Hash::from_bytes(*mac)).then_some(code)
    }
}

#[expect(unsafe_code, reason = "wasmtime cannot check compiled code; the MAC shows that this host wrote it")]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` are the bytes that `Cache::genuine` found to carry a MAC by this host's key over an engine
    // fingerprint equal to `engine`'s, so they are what `Component::serialize` gave for an equal engine. Relied upon:
    // the key is readable by this user only, and the bytes are in memory of ours that nothing else writes.
    unsafe { Component::deserialize(engine, code) }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    let len = file.metadata()?.len();
    if len > MAX_FILE_BYTES {
        return Err(std::io::Error::other("larger than compiled code can be"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_or_make_key(dir: &Path) -> std::io::Result<[u8; 32]> {
    let path = dir.join("key");
    match fs::read(&path) {
        Ok(bytes) => {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            let wrong = |_| std::io::Error::other(format!("{} is not a key: remove it", path.display()));
            return bytes.try_into().map_err(wrong);
        }
        Err(error) if error.kind() != IoErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let key: [u8; 32] = rand::random();
    let temporary = dir.join(format!("key.{:016x}.new", rand::random::<u64>()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(&key)?;
    file.sync_all()?;
    // A link fails where another process was first; then its key is the one.
    let linked = fs::hard_link(&temporary, &path);
    fs::remove_file(&temporary)?;
    match linked {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == IoErrorKind::AlreadyExists => read_or_make_key(dir),
        Err(error) => Err(error),
    }
}

/// What a file is for: code of one component for engines that are set up the same.
struct Name(String);

impl Name {
    fn new(engine: &Engine, digest: &str) -> Self {
        let mut fingerprint = Fingerprint(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut fingerprint);
        let fingerprint = fingerprint.0.finalize().to_hex();
        Self(format!("{digest}-{}.code", &fingerprint[..32]))
    }

    fn file(&self) -> &str {
        &self.0
    }
}

struct Fingerprint(blake3::Hasher);

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        u64::from_le_bytes(std::array::from_fn(|i| hash.as_bytes()[i]))
    }
}
