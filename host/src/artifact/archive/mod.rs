//! Archives of providers: a program for each target and the claims that name their hashes, as in lattice v1 (`par`).
//!
//! A file `claims.jwt`, and `<target>.bin` for each target, e.g. `x86_64-linux.bin`; there may be a `world.wasm`, which
//! says in WIT what the provider is for. All of it may be compressed.

mod gzip;
mod tar;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use trellis_lattice::identity::archive as claims;
pub use trellis_lattice::identity::archive::Statement;
use trellis_lattice::identity::claims::{ProviderClaims, Verified};
use trellis_lattice::identity::key::Key;

use self::tar::Entry;
use super::file;
use crate::error::{Error, ErrorKind, Result};

/// The largest archive.
pub const MAX_BYTES: u64 = 256 << 20;
/// Where the claims are.
const CLAIMS: &str = "claims.jwt";
/// What the name of a program ends with.
const PROGRAM: &str = ".bin";
/// Where the world is, and what the claims call it.
const WORLD: &str = "world.wasm";

/// The programs of a provider, by target, and under the name `world.wasm` its world, if it has one.
pub type Programs = BTreeMap<String, Bytes>;

/// The target of this machine.
pub fn own_target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

/// An archive whose claims hold, and which holds nothing that they do not name.
#[derive(Debug)]
pub struct Archive {
    /// What its issuer claims.
    pub claims: Verified<ProviderClaims>,
    programs: Programs,
}

impl Archive {
    /// Whether `bytes` begin as an archive does, compressed or not.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.get(257..262) == Some(b"ustar") || gzip::is_one(bytes)
    }

    /// Reads the file at `path`. Blocks.
    ///
    /// # Errors
    /// As [`Archive::open`], and when it cannot be read.
    pub fn read(path: &Path, now_unix_seconds: u64) -> Result<Self> {
        let shown = |error: Error| Error::new(error.kind(), format!("{}: {error}", path.display()));
        Self::open(file::read(path, MAX_BYTES)?, now_unix_seconds).map_err(shown)
    }

    /// Opens an archive and checks its claims.
    ///
    /// # Errors
    /// `Component` when it is not one, or holds what it should not; `Refused` when its claims do not hold.
    pub fn open(bytes: Bytes, now_unix_seconds: u64) -> Result<Self> {
        let bytes =
            if gzip::is_one(&bytes) { gzip::read(&bytes, MAX_BYTES).map_err(|why| broken(&why))? } else { bytes };
        let (mut token, mut programs) = (None, Programs::new());
        for Entry { name, bytes: content } in tar::read(&bytes).map_err(|why| broken(&why))? {
            if name == CLAIMS {
                token = Some(std::str::from_utf8(content).map_err(|_| broken("its claims are not text"))?);
            } else if let Some(target) = name.strip_suffix(PROGRAM) {
                programs.insert(target.to_owned(), bytes.slice_ref(content));
            } else if name == WORLD {
                programs.insert(name.to_owned(), bytes.slice_ref(content));
            } else {
                return Err(broken(&format!("{name} does not belong in it")));
            }
        }
        let token = token.ok_or_else(|| broken("it has no claims"))?;
        let claims = claims::verify(token.trim(), now_unix_seconds).map_err(|error| {
            Error::new(ErrorKind::Refused, format!("the claims of the provider do not hold: {error}"))
        })?;
        if let Some(unsigned) = programs.keys().find(|target| !claims.target_hashes.contains_key(*target)) {
            return Err(Error::new(ErrorKind::Refused, format!("{} is not signed", file_of(unsigned))));
        }
        Ok(Self { claims, programs })
    }

    /// The world, which is what was signed, if it has one.
    ///
    /// # Errors
    /// `Refused` when it was changed.
    pub fn world(&self) -> Result<Option<&Bytes>> {
        self.programs.contains_key(WORLD).then(|| self.program(WORLD)).transpose()
    }

    /// The targets that it has programs for.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.programs.keys().map(String::as_str).filter(|name| *name != WORLD)
    }

    /// The program for `target`, which is what was signed.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Refused` when it was changed.
    pub fn program(&self, target: &str) -> Result<&Bytes> {
        let program = self.programs.get(target).ok_or_else(|| {
            let targets: Vec<&str> = self.targets().collect();
            let message = format!("it has no program for {target}, only for {}", targets.join(", "));
            Error::new(ErrorKind::NotFound, message)
        })?;
        if self.claims.target_hashes.get(target) != Some(&claims::hash(program)) {
            return Err(Error::new(ErrorKind::Refused, format!("{} was changed after it was signed", file_of(target))));
        }
        Ok(program)
    }

    /// All programs and the world, each of which is what was signed.
    ///
    /// # Errors
    /// As [`Archive::program`].
    pub fn programs(&self) -> Result<Programs> {
        self.programs.keys().map(|name| Ok((name.clone(), self.program(name)?.clone()))).collect()
    }
}

/// An archive of `programs`, signed as `provider` by `issuer`.
///
/// # Errors
/// `Config` when a key is of the wrong kind or a target is not a name, `Component` when it is too large.
pub fn pack(
    statement: &Statement,
    programs: &Programs,
    (issuer, provider): (&Key, &Key),
    now_unix_seconds: u64,
) -> Result<Vec<u8>> {
    let hashes = programs.iter().map(|(target, program)| (target.clone(), claims::hash(program))).collect();
    let token = claims::sign(statement, hashes, issuer, provider, now_unix_seconds)
        .map_err(|error| Error::new(ErrorKind::Config, error.to_string()).with_source(error))?;
    let names: Vec<String> = programs.keys().map(|name| file_of(name)).collect();
    let mut entries = vec![Entry { name: CLAIMS, bytes: token.as_bytes() }];
    entries.extend(names.iter().zip(programs.values()).map(|(name, bytes)| Entry { name, bytes }));
    let archive = tar::write(&entries).map_err(|why| Error::new(ErrorKind::Config, why))?;
    if archive.len() as u64 > MAX_BYTES {
        return Err(broken(&format!("it is larger than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(archive)
}

/// Where the program for a target is, or the world.
fn file_of(name: &str) -> String {
    if name == WORLD { name.to_owned() } else { format!("{name}{PROGRAM}") }
}

fn broken(why: &str) -> Error {
    let message =
        format!("it is not an archive of a provider that can be used: {why} (`trellis par create` makes one)");
    Error::new(ErrorKind::Component, message)
}

#[cfg(test)]
mod tests {
    use trellis_lattice::identity::key::KeyKind;

    use super::{Archive, Bytes, Key, Programs, Statement, pack, tar};

    const NOW: u64 = 1_800_000_000;

    fn keys() -> (Key, Key) {
        (Key::generate(KeyKind::Account), Key::generate(KeyKind::Provider))
    }

    fn packed((issuer, provider): &(Key, Key)) -> Vec<u8> {
        let statement = Statement { name: "dice".to_owned(), vendor: "acme".to_owned(), ..Statement::default() };
        let programs = Programs::from([
            ("x86_64-linux".to_owned(), Bytes::from_static(b"program")),
            ("aarch64-linux".to_owned(), Bytes::from_static(b"another")),
        ]);
        pack(&statement, &programs, (issuer, provider), NOW).expect("packed")
    }

    #[test]
    fn what_was_signed_comes_out() {
        let keys = keys();
        let archive = Archive::open(packed(&keys).into(), NOW).expect("holds");
        assert_eq!(archive.program("x86_64-linux").expect("there"), "program");
        assert_eq!((archive.claims.issuer.as_str(), &*archive.claims.name), (&*keys.0.public(), "dice"));
        let error = archive.program("riscv64-linux").expect_err("absent").to_string();
        assert!(error.contains("aarch64-linux, x86_64-linux"), "{error}");
    }

    #[test]
    fn a_program_that_was_changed_or_added_is_refused() {
        let keys = keys();
        let mut changed = packed(&keys);
        let at = changed.windows(7).position(|window| window == b"program").expect("is in it");
        changed[at] ^= 1;
        let archive = Archive::open(changed.into(), NOW).expect("the claims hold");
        assert!(archive.program("x86_64-linux").is_err() && archive.programs().is_err());
        assert!(archive.program("aarch64-linux").is_ok(), "the other one is as it was");
        let bytes = packed(&keys);
        let mut entries = tar::read(&bytes).expect("an archive");
        for (name, expected) in [("riscv64-linux.bin", "not signed"), ("run.sh", "does not belong")] {
            entries.push(tar::Entry { name, bytes: b"evil" });
            let error = Archive::open(tar::write(&entries).expect("written").into(), NOW).expect_err(name).to_string();
            assert!(error.contains(expected), "{error}");
            entries.pop();
        }
        entries.remove(0);
        assert!(Archive::open(tar::write(&entries).expect("written").into(), NOW).is_err(), "no claims");
    }

    #[test]
    fn a_world_is_signed_like_a_program_and_is_none() {
        let (issuer, provider) = keys();
        let programs =
            ["x86_64-linux", "world.wasm"].map(|name| (name.to_owned(), Bytes::from_static(b"bytes"))).into();
        let packed = pack(&Statement::default(), &programs, (&issuer, &provider), NOW).expect("packed");
        let archive = Archive::open(packed.clone().into(), NOW).expect("holds");
        assert_eq!(archive.targets().collect::<Vec<_>>(), ["x86_64-linux"]);
        assert_eq!(archive.world().expect("as signed").expect("there"), "bytes");
        assert_eq!(archive.programs().expect("as signed"), programs, "both are kept when it is signed anew");
        let mut changed = packed;
        let at = changed.windows(5).position(|window| window == b"bytes").expect("is in it");
        // The world comes first.
        changed[at] ^= 1;
        let archive = Archive::open(changed.into(), NOW).expect("the claims hold");
        assert!(archive.world().expect_err("changed").to_string().contains("world.wasm was changed"));
    }

    #[test]
    fn keys_of_another_kind_sign_nothing() {
        let (issuer, provider) = keys();
        let programs = Programs::from([("../x".to_owned(), Bytes::new())]);
        let statement = Statement::default();
        assert!(pack(&statement, &Programs::new(), (&provider, &provider), NOW).is_err());
        assert!(pack(&statement, &Programs::new(), (&issuer, &issuer), NOW).is_err());
        assert!(pack(&statement, &programs, (&issuer, &provider), NOW).is_err(), "a target that is a path");
    }
}
