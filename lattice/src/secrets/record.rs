//! The record of a secret.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::envelope::{DataKey, Opener};
use super::grant::HostGrant;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{EntityId, LatticeName, SecretName};
use crate::identity::claims::PeerClaims;
use crate::identity::key::{self, Key};
use crate::identity::peer;
use crate::secret::SecretValue;

/// The largest value, in bytes.
pub const MAX_SECRET_BYTES: usize = 64 << 10;

/// The most keys in a record: with them it stays far below what a store takes.
const MAX_KEYS: usize = 2_000;

/// What is signed begins with it, so that no other use of the key can be taken for this one.
const SIGNING_CONTEXT: &[u8] = b"trellis secret v1\0";

/// How a value begins when it is a text, and when it is bytes.
const TEXT: u8 = 0;
const BYTES: u8 = 1;

/// Who may read a secret, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The actors and providers that may read it.
    pub readers: BTreeSet<EntityId>,
    /// The hosts that may open it.
    pub hosts: BTreeSet<HostGrant>,
}

/// What the signer of a secret says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The lattice it is for.
    pub lattice: LatticeName,
    /// Its name.
    pub name: SecretName,
    /// Which value it has: grows by one with each.
    pub version: u64,
    /// When it was signed, milliseconds since 1970: an earlier statement of the same name counts for nothing.
    pub signed_at_ms: u64,
    /// Who may read it, and where.
    pub terms: Terms,
    /// Hex of the BLAKE3 of the sealed value.
    digest: String,
}

/// A secret as it is kept and as it travels. Says nothing to whoever has none of the keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedSecret {
    /// The [`Statement`], as the JSON text that was signed.
    statement: String,
    /// Base64 of the signature.
    signature: String,
    /// Base64 of the sealed value.
    value: String,
    /// By public nkey: base64 of the value's key, sealed to the exchange key that belongs to it.
    keys: BTreeMap<String, String>,
}

impl std::fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealedSecret({} keys)", self.keys.len())
    }
}

/// Whom a secret is sealed to.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// The public nkey.
    pub public: String,
    /// The X25519 key that belongs to it.
    pub exchange: [u8; 32],
}

impl Recipient {
    /// The holder of `key`.
    pub fn of(key: &Key) -> Self {
        Self { public: key.public(), exchange: peer::exchange_public(key) }
    }
}

impl From<&PeerClaims> for Recipient {
    fn from(claims: &PeerClaims) -> Self {
        Self { public: claims.peer.to_string(), exchange: claims.exchange }
    }
}

/// A secret whose statement was checked: signed by whom we believe, and about this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRecord {
    statement: Statement,
    sealed: SealedSecret,
}

impl SealedSecret {
    /// Checks it as the secret `name` of `lattice`, signed by the holder of `signer`, a public nkey.
    ///
    /// # Errors
    /// `Untrusted` when it is another's, or of another name or lattice; `Malformed` when it cannot be read.
    pub fn verify(self, lattice: &LatticeName, name: &SecretName, signer: &str) -> Result<SecretRecord> {
        let signature = decode(&self.signature).ok_or_else(|| malformed(name, "its signature is no base64"))?;
        key::verify(signer, &signing_bytes(&self.statement), &signature)
            .map_err(|error| untrusted(name, &error.to_string()))?;
        let statement: Statement =
            serde_json::from_str(&self.statement).map_err(|error| malformed(name, &error.to_string()))?;
        if statement.lattice != *lattice || statement.name != *name {
            let what = format!("it is secret {} of lattice {}", statement.name, statement.lattice);
            return Err(untrusted(name, &what));
        }
        let value = decode(&self.value).ok_or_else(|| malformed(name, "its value is no base64"))?;
        if statement.digest != blake3::hash(&value).to_hex().as_str() {
            return Err(untrusted(name, "its value is not the one that was signed"));
        }
        if self.keys.len() > MAX_KEYS {
            return Err(malformed(name, "it has too many keys"));
        }
        Ok(SecretRecord { statement, sealed: self })
    }
}

impl SecretRecord {
    /// Seals `value` to `recipients` and signs what is said of it with `signer`, who can open it too.
    ///
    /// # Errors
    /// `TooLarge` when the value is over [`MAX_SECRET_BYTES`] or the recipients are too many; `Malformed` when the
    /// exchange key of one is no key.
    pub fn seal(
        (lattice, name): (&LatticeName, &SecretName),
        (version, signed_at_ms): (u64, u64),
        terms: Terms,
        value: &SecretValue,
        (signer, recipients): (&Key, &[Recipient]),
    ) -> Result<Self> {
        check_size(name, value)?;
        let data_key = DataKey::random();
        let sealed = data_key.seal(&encode(value), context(lattice, name).as_bytes());
        let digest = blake3::hash(&sealed).to_hex().to_string();
        let statement =
            Statement { lattice: lattice.clone(), name: name.clone(), version, signed_at_ms, terms, digest };
        let text = serde_json::to_string(&statement).expect("a statement has a JSON form");
        let signature = BASE64.encode(&signer.sign(&signing_bytes(&text)));
        let keys = BTreeMap::new();
        let sealed = SealedSecret { statement: text, signature, value: BASE64.encode(&sealed), keys };
        let mut record = Self { statement, sealed };
        for recipient in recipients.iter().chain([&Recipient::of(signer)]) {
            record.add(&data_key, recipient)?;
        }
        Ok(record)
    }

    /// What is said of it.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// As it is kept and travels.
    pub fn sealed(&self) -> &SealedSecret {
        &self.sealed
    }

    /// Whether the holder of the nkey `public` can open it.
    pub fn is_sealed_to(&self, public: &str) -> bool {
        self.sealed.keys.contains_key(public)
    }

    /// The nkeys whose holders can open it.
    pub fn holders(&self) -> impl Iterator<Item = &str> {
        self.sealed.keys.keys().map(String::as_str)
    }

    /// Whether the host that `claims` is about may open it.
    pub fn permits(&self, claims: &PeerClaims) -> bool {
        self.statement.terms.hosts.iter().any(|grant| grant.means(claims))
    }

    /// The value.
    ///
    /// # Errors
    /// `Untrusted` when it is not sealed to `opener`.
    pub fn open(&self, opener: &Opener) -> Result<SecretValue> {
        let Statement { lattice, name, .. } = &self.statement;
        let data_key = self.data_key(opener)?;
        let value =
            decode(&self.sealed.value).and_then(|sealed| data_key.open(&sealed, context(lattice, name).as_bytes()));
        value.and_then(|value| parse(&value)).ok_or_else(|| untrusted(name, "its value does not open with its key"))
    }

    /// The same, sealed to `recipient` as well, by somebody who can open it.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Self::seal`].
    pub fn shared_with(&self, recipient: &Recipient, opener: &Opener) -> Result<Self> {
        let data_key = self.data_key(opener)?;
        let mut record = self.clone();
        record.add(&data_key, recipient)?;
        Ok(record)
    }

    fn add(&mut self, data_key: &DataKey, recipient: &Recipient) -> Result<()> {
        let name = &self.statement.name;
        if self.sealed.keys.len() >= MAX_KEYS {
            let message = format!("secret {name} is sealed to {MAX_KEYS} hosts already: grant it to fewer");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let wrapped = data_key.wrap(recipient.exchange, self.key_context(&recipient.public).as_bytes());
        let wrapped = wrapped.ok_or_else(|| {
            malformed(name, &format!("the exchange key of {} is of small order: issue a new token", recipient.public))
        })?;
        self.sealed.keys.insert(recipient.public.clone(), BASE64.encode(&wrapped));
        Ok(())
    }

    fn data_key(&self, opener: &Opener) -> Result<DataKey> {
        let name = &self.statement.name;
        let Some(wrapped) = self.sealed.keys.get(opener.public()) else {
            return Err(untrusted(name, &format!("it is not sealed to {}", opener.public())));
        };
        let opened = decode(wrapped)
            .and_then(|wrapped| DataKey::unwrap(&wrapped, opener, self.key_context(opener.public()).as_bytes()));
        opened.ok_or_else(|| untrusted(name, &format!("its key for {} does not open", opener.public())))
    }

    fn key_context(&self, public: &str) -> String {
        format!("{}\0{public}", context(&self.statement.lattice, &self.statement.name))
    }
}

fn check_size(name: &SecretName, value: &SecretValue) -> Result<()> {
    let bytes = value.reveal().len();
    if bytes > MAX_SECRET_BYTES {
        let message = format!("secret {name} has {bytes} bytes, {MAX_SECRET_BYTES} at most");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(())
}

/// What a sealed thing is for; names hold no zero byte.
fn context(lattice: &LatticeName, name: &SecretName) -> String {
    format!("{lattice}\0{name}")
}

fn signing_bytes(statement: &str) -> Vec<u8> {
    [SIGNING_CONTEXT, statement.as_bytes()].concat()
}

fn encode(value: &SecretValue) -> Zeroizing<Vec<u8>> {
    let kind = if value.as_text().is_some() { TEXT } else { BYTES };
    let mut bytes = Zeroizing::new(Vec::with_capacity(1 + value.reveal().len()));
    bytes.push(kind);
    bytes.extend_from_slice(value.reveal());
    bytes
}

fn parse(bytes: &[u8]) -> Option<SecretValue> {
    match bytes.split_first()? {
        (&TEXT, text) => std::str::from_utf8(text).ok().map(SecretValue::text),
        (&BYTES, bytes) => Some(SecretValue::bytes(bytes)),
        _ => None,
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.as_bytes()).ok()
}

fn malformed(name: &SecretName, what: &str) -> Error {
    Error::new(ErrorKind::Malformed, format!("the record of secret {name} cannot be read: {what}"))
}

fn untrusted(name: &SecretName, what: &str) -> Error {
    Error::new(ErrorKind::Untrusted, format!("the record of secret {name} does not hold: {what}"))
}

#[cfg(test)]
mod tests;
