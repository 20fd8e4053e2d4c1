//! The keys of a user or a machine: one file a seed, `keys/<kind>/<name>.seed`, readable by its owner only.
//!
//! The account key `authority` signs the tokens of peers; all other account keys sign actors and are the issuers that
//! the hosts of this data directory trust.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use trellis_lattice::id::{EntityId, IssuerId, LatticeName, PeerId};
use trellis_lattice::identity::claims::PeerClaims;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::identity::trust::Trust;
use trellis_lattice::identity::{peer, token};

use crate::data_dir::{self, DataDir};

/// The name of the key that signs tokens.
pub(crate) const AUTHORITY: &str = "authority";

/// The name of the key that signs actors when no other is named.
pub(crate) const ISSUER: &str = "issuer";

/// All kinds, in the order in which they are listed.
pub(crate) const KINDS: [KeyKind; 5] =
    [KeyKind::Account, KeyKind::Host, KeyKind::User, KeyKind::Provider, KeyKind::Actor];

/// The keys of a data directory.
#[derive(Debug, Clone)]
pub(crate) struct KeyStore {
    dir: PathBuf,
}

/// A key and the name it is kept under.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) key: Key,
}

/// Where the key that signs tokens came from.
#[derive(Debug)]
pub(crate) enum Authority {
    /// It was there.
    Found(Key),
    /// It was made now.
    Made(Key),
    /// It is not there, and was not to be made.
    Absent,
}

impl KeyStore {
    pub(crate) fn new(data: &DataDir) -> Self {
        Self { dir: data.keys() }
    }

    fn file(&self, kind: KeyKind, name: &str) -> PathBuf {
        self.dir.join(kind.as_str()).join(format!("{name}.seed"))
    }

    /// The key of that name.
    pub(crate) fn find(&self, kind: KeyKind, name: &str) -> anyhow::Result<Option<Key>> {
        check_name(name)?;
        let file = self.file(kind, name);
        if !file.exists() {
            return Ok(None);
        }
        let seed = data_dir::read_private(&file)?;
        let key = Key::from_seed(&seed).with_context(|| format!("read {}", file.display()))?;
        if key.kind() != kind {
            bail!("{} holds a key for {}, not for {}", file.display(), key.kind().as_str(), kind.as_str());
        }
        Ok(Some(key))
    }

    /// The key of that name; the error says how to make it.
    pub(crate) fn get(&self, kind: KeyKind, name: &str) -> anyhow::Result<Key> {
        let kind_name = kind.as_str();
        self.find(kind, name)?.ok_or_else(|| {
            anyhow!(
                "there is no {kind_name} key {name} in {}; `trellis keys gen {kind_name} {name}` makes one",
                self.dir.display()
            )
        })
    }

    /// The key of that name, made now if it is not there.
    pub(crate) fn get_or_make(&self, kind: KeyKind, name: &str) -> anyhow::Result<Key> {
        if let Some(key) = self.find(kind, name)? {
            return Ok(key);
        }
        // Another process may make it at the same time; the first one wins.
        match self.make(kind, name) {
            Err(error) => self.find(kind, name)?.ok_or(error),
            made => made,
        }
    }

    /// A new key of that name.
    pub(crate) fn make(&self, kind: KeyKind, name: &str) -> anyhow::Result<Key> {
        check_name(name)?;
        let file = self.file(kind, name);
        if file.exists() {
            bail!("{} is there already; keys are never overwritten, choose another name", file.display());
        }
        let key = Key::generate(kind);
        data_dir::make_private_dir(&self.dir)?;
        data_dir::create_private(&file, &key.seed())?;
        Ok(key)
    }

    /// All keys of `kind`, sorted by name.
    pub(crate) fn list(&self, kind: KeyKind) -> anyhow::Result<Vec<Named>> {
        let dir = self.dir.join(kind.as_str());
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(anyhow!(error).context(format!("read {}", dir.display()))),
        };
        let mut keys = Vec::new();
        for entry in entries {
            let path = entry.with_context(|| format!("read {}", dir.display()))?.path();
            if path.extension().is_none_or(|extension| extension != "seed") {
                continue;
            }
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(key) = self.find(kind, &name)? {
                keys.push(Named { name, key });
            }
        }
        keys.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(keys)
    }

    /// The key that signs tokens, if this store has it.
    pub(crate) fn authority(&self) -> anyhow::Result<Option<Key>> {
        self.find(KeyKind::Account, AUTHORITY)
    }

    /// The key that signs tokens. A store without it gets one, and an issuer of actors with it, if `is_new` allows; of
    /// several processes that ask at once, one makes them and the others have what it made.
    pub(crate) fn authority_or_new(&self, is_new: impl FnOnce() -> anyhow::Result<bool>) -> anyhow::Result<Authority> {
        if let Some(key) = self.authority()? {
            return Ok(Authority::Found(key));
        }
        let _lock = data_dir::lock(&self.dir)?;
        if let Some(key) = self.authority()? {
            return Ok(Authority::Found(key));
        }
        if !is_new()? {
            return Ok(Authority::Absent);
        }
        // The issuer first: who finds the authority, without the lock, finds whom it trusts too.
        self.get_or_make(KeyKind::Account, ISSUER)?;
        Ok(Authority::Made(self.get_or_make(KeyKind::Account, AUTHORITY)?))
    }

    /// The issuers of this store: every account key but the authority.
    pub(crate) fn issuers(&self) -> anyhow::Result<Vec<IssuerId>> {
        let accounts = self.list(KeyKind::Account)?;
        let issuers = accounts.into_iter().filter(|named| named.name != AUTHORITY);
        issuers.map(|named| Ok(IssuerId::parse(&named.key.public())?)).collect()
    }

    /// Trusts `authority` for peers and the issuers of this store for actors with any imports.
    pub(crate) fn trust(&self, authority: IssuerId) -> anyhow::Result<Trust> {
        let issuers = self.issuers()?.into_iter().map(|issuer| (issuer, vec!["*".to_owned()]));
        Ok(Trust { authority, issuers: issuers.collect() })
    }
}

/// What a token for a key of this store grants.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grant {
    pub(crate) labels: trellis_lattice::message::command::StringMap,
    pub(crate) entity: Option<EntityId>,
    pub(crate) call: Vec<String>,
    pub(crate) lifetime_seconds: u64,
}

/// A token of `authority` for the peer whose public halves are given.
pub(crate) fn issue(
    authority: &Key,
    lattice: &LatticeName,
    (peer, exchange): (PeerId, [u8; 32]),
    grant: Grant,
) -> anyhow::Result<String> {
    let now = now_unix_seconds();
    let claims = PeerClaims {
        issuer: IssuerId::parse(&authority.public())?,
        peer,
        exchange,
        lattice: lattice.clone(),
        labels: grant.labels,
        entity: grant.entity,
        call: grant.call,
        expires_at: now.saturating_add(grant.lifetime_seconds),
    };
    token::issue_peer(&claims, authority, now).context("sign the token")
}

/// The public halves of a key.
pub(crate) fn public_halves(key: &Key) -> anyhow::Result<(PeerId, [u8; 32])> {
    Ok((PeerId::parse(&key.public())?, peer::exchange_public(key)))
}

/// Seconds since 1970.
pub(crate) fn now_unix_seconds() -> u64 {
    // A clock before 1970 makes every token one of the future, which is refused with a hint at the clock.
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// A name that is a file name everywhere.
fn check_name(name: &str) -> anyhow::Result<()> {
    EntityId::parse(name).map(drop).map_err(|error| anyhow!("name of a key: {error}"))
}

#[cfg(test)]
mod tests {
    use trellis_lattice::identity::key::KeyKind;

    use super::{AUTHORITY, Authority, Grant, KeyStore, issue, now_unix_seconds, public_halves};
    use crate::data_dir::DataDir;

    fn store() -> (tempfile::TempDir, KeyStore) {
        let dir = tempfile::tempdir().expect("a directory");
        let data = DataDir::choose(Some(dir.path())).expect("absolute");
        (dir, KeyStore::new(&data))
    }

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let (_dir, store) = store();
        let error = store.get(KeyKind::Host, "a").expect_err("not made yet").to_string();
        assert!(error.contains("trellis keys gen host a"), "{error}");
        let made = store.get_or_make(KeyKind::Host, "a").expect("made").public();
        assert_eq!(store.get_or_make(KeyKind::Host, "a").expect("found").public(), made);
        assert!(store.make(KeyKind::Host, "a").is_err());
        assert_eq!(store.list(KeyKind::Host).expect("listed").len(), 1);
    }

    #[test]
    fn whoever_finds_the_authority_finds_an_issuer_too() {
        let (_dir, store) = store();
        std::thread::scope(|scope| {
            let starts = (0..8).map(|_| {
                scope.spawn(|| {
                    let authority = match store.authority_or_new(|| Ok(store.issuers()?.is_empty())).expect("read") {
                        Authority::Found(key) | Authority::Made(key) => key.public(),
                        Authority::Absent => panic!("a store without accounts is new"),
                    };
                    (authority, store.issuers().expect("listed"))
                })
            });
            let found: Vec<_> =
                starts.collect::<Vec<_>>().into_iter().map(|start| start.join().expect("ends")).collect();
            assert!(found.iter().all(|one| *one == found[0] && one.1.len() == 1), "{found:?}");
        });
    }

    #[test]
    fn a_name_that_leaves_the_directory_is_refused() {
        let (_dir, store) = store();
        for bad in ["../x", "", "a/b", "a.b", &"x".repeat(10_240)] {
            assert!(store.make(KeyKind::Host, bad).expect_err("refused").to_string().len() < 400);
        }
    }

    #[test]
    fn the_authority_issues_tokens_and_is_no_issuer_of_actors() {
        let (_dir, store) = store();
        let authority = store.get_or_make(KeyKind::Account, AUTHORITY).expect("made");
        let issuer = store.get_or_make(KeyKind::Account, super::ISSUER).expect("made");
        let issuers = store.issuers().expect("listed");
        assert_eq!(issuers.iter().map(ToString::to_string).collect::<Vec<_>>(), [issuer.public()]);
        let host = store.get_or_make(KeyKind::Host, "h").expect("made");
        let lattice = "default".parse().expect("valid");
        let grant = Grant { lifetime_seconds: 60, ..Grant::default() };
        let token = issue(&authority, &lattice, public_halves(&host).expect("a peer"), grant).expect("issued");
        let claims = trellis_lattice::identity::token::verify_peer(&token, now_unix_seconds()).expect("holds");
        assert_eq!(claims.peer.as_str(), host.public());
    }
}
