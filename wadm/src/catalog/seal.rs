//! Signatures on records: what another hand wrote is not believed.

use std::collections::BTreeSet;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use trellis_lattice::error::{Error, ErrorKind, Result};
use trellis_lattice::id::LatticeName;
use trellis_lattice::identity::key::{Key, verify};

use super::app::App;
use crate::intent::AppName;

/// Signs records and checks them.
#[derive(Debug)]
pub(super) struct Seal {
    lattice: LatticeName,
    key: Key,
    believes: BTreeSet<String>,
}

/// A record as it is stored.
#[derive(Serialize, Deserialize)]
struct Sealed {
    /// JSON, as text so that its bytes stay those that were signed.
    record: String,
    /// The public half of the key.
    key: String,
    /// Base64.
    signature: String,
}

impl Seal {
    pub(super) fn new(lattice: LatticeName, key: Key, mut believes: BTreeSet<String>) -> Self {
        believes.insert(key.public());
        Self { lattice, key, believes }
    }

    /// The signed form of `app`.
    pub(super) fn close(&self, app: &App) -> Bytes {
        let record = serde_json::to_string(app).expect("a record has a JSON form");
        let signature = BASE64.encode(&self.key.sign(&self.signed(&record)));
        let sealed = Sealed { record, key: self.key.public(), signature };
        serde_json::to_vec(&sealed).expect("it has a JSON form").into()
    }

    /// The record of `name` in `bytes`.
    ///
    /// # Errors
    /// `Unauthorized` when the key is none of those that are believed, `Untrusted` when the signature is wrong,
    /// `Malformed` when it is no record.
    pub(super) fn open(&self, name: &AppName, bytes: &[u8]) -> Result<App> {
        let malformed = |error: serde_json::Error| {
            Error::new(ErrorKind::Malformed, format!("the record of application {name} cannot be read: {error}"))
        };
        let sealed: Sealed = serde_json::from_slice(bytes).map_err(malformed)?;
        let refused =
            |kind, why: &str| Error::new(kind, format!("the record of application {name} is not believed: {why}"));
        let untrusted = |why| refused(ErrorKind::Untrusted, why);
        if !self.believes.contains(&sealed.key) {
            let why = "it is signed by a key that is not one of this lattice's wadms";
            return Err(refused(ErrorKind::Unauthorized, why));
        }
        let signature = BASE64.decode(sealed.signature.as_bytes()).map_err(|_| untrusted("it has no signature"))?;
        verify(&sealed.key, &self.signed(&sealed.record), &signature)
            .map_err(|_| untrusted("its signature is not of its content"))?;
        let app: App = serde_json::from_str(&sealed.record).map_err(malformed)?;
        match app.name == *name {
            true => Ok(app),
            false => Err(untrusted("it is of another application")),
        }
    }

    /// What is signed says what it is and where it belongs, so that it is worth nothing elsewhere.
    fn signed(&self, record: &str) -> Vec<u8> {
        format!("trellis catalog of {}\n{record}", self.lattice).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use trellis_lattice::id::LatticeName;
    use trellis_lattice::identity::key::{Key, KeyKind};

    use super::Seal;
    use crate::catalog::app::App;
    use crate::intent::AppName;

    fn seal(lattice: &str, key: Key, believes: &[&Key]) -> Seal {
        let believes: BTreeSet<String> = believes.iter().map(|key| key.public()).collect();
        Seal::new(LatticeName::parse(lattice).expect("valid"), key, believes)
    }

    #[test]
    fn a_record_is_believed_from_known_hands_unchanged_and_in_its_place() {
        let (ours, theirs, stranger) =
            (Key::generate(KeyKind::Account), Key::generate(KeyKind::Account), Key::generate(KeyKind::Account));
        let name = AppName::parse("shop").expect("valid");
        let app = App { revision: 7, ..App::new(name.clone()) };
        let us = seal("a", ours.clone(), &[&theirs]);
        let opened = us.open(&name, &seal("a", theirs.clone(), &[]).close(&app));
        assert_eq!(opened.expect("a known hand"), app);
        let bytes = us.close(&app);
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        for (name, bytes) in [
            (&name, seal("a", stranger, &[]).close(&app).to_vec()),
            (&name, seal("b", theirs, &[]).close(&app).to_vec()),
            (&AppName::parse("ship").expect("valid"), bytes.to_vec()),
            (&name, text.replace(r#"\"revision\":7"#, r#"\"revision\":8"#).into_bytes()),
            (&name, b"{}".to_vec()),
            (&name, bytes[..bytes.len() / 2].to_vec()),
        ] {
            assert!(us.open(name, &bytes).is_err());
        }
    }
}
