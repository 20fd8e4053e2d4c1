//! Reading secrets: each look opens the record as it is now, for a reader that it was granted to.

use std::sync::Arc;

use trellis_lattice::error::ErrorKind as LatticeErrorKind;
use trellis_lattice::id::{EntityId, SecretName};
use trellis_lattice::secret::SecretValue;
use trellis_lattice::secrets::{Backend, Opener, Reference, SecretRecord};
use trellis_provider_sdk::SecretMap;

use super::References;
use crate::error::{Error, ErrorKind, Result};
use crate::records::View;

/// Opens what is sealed to this host.
#[derive(Debug)]
pub(crate) struct Vault {
    view: Arc<View>,
    opener: Opener,
}

impl Vault {
    /// What `view` has, opened with `opener`.
    pub(crate) fn new(view: Arc<View>, opener: Opener) -> Self {
        Self { view, opener }
    }

    /// What the records say.
    pub(crate) fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// What this host opens with.
    pub(crate) fn opener(&self) -> &Opener {
        &self.opener
    }

    /// The value that `reference` means, for `reader`.
    ///
    /// # Errors
    /// `NotFound` when there is no such secret, version or field; `Refused` when it was not granted to the reader or to
    /// this host.
    pub(crate) fn read(&self, reference: &Reference, reader: &EntityId) -> Result<SecretValue> {
        let name = &reference.secret;
        let record = self.record(reference.backend, name, reader)?;
        let statement = record.statement();
        if !statement.terms.readers.contains(reader) {
            let message =
                format!("secret {name} is not granted to {reader} (`trellis secret grant {name} --for {reader}`)");
            return Err(Error::new(ErrorKind::Refused, message));
        }
        if let Some(version) = reference.version.filter(|version| *version != statement.version) {
            let message = format!("secret {name} is at version {}, and {version} is asked for", statement.version);
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let value = record.open(&self.opener).map_err(|error| {
            let message = match error.kind() {
                LatticeErrorKind::Untrusted if !record.is_sealed_to(self.opener.public()) => format!(
                    "secret {name} is not sealed to this host (`trellis secret grant {name} --host {}`)",
                    self.opener.public()
                ),
                _ => error.to_string(),
            };
            Error::new(ErrorKind::Refused, message).with_source(error)
        })?;
        match &reference.field {
            Some(field) => member(name, &value, field),
            None => Ok(value),
        }
    }

    /// All of `references`, for `reader`.
    ///
    /// # Errors
    /// Names every one that cannot be read, and why.
    pub(crate) fn resolve(&self, references: &References, reader: &EntityId) -> Result<SecretMap> {
        let (mut secrets, mut refusals, mut kind) = (SecretMap::new(), Vec::new(), ErrorKind::NotFound);
        for (name, reference) in references {
            match self.read(reference, reader) {
                Ok(value) => drop(secrets.insert(name.clone(), value)),
                Err(error) => {
                    kind = error.kind();
                    refusals.push(error.to_string());
                }
            }
        }
        if refusals.is_empty() { Ok(secrets) } else { Err(Error::new(kind, refusals.join("; "))) }
    }

    fn record(&self, backend: Backend, name: &SecretName, reader: &EntityId) -> Result<Arc<SecretRecord>> {
        let (secrets, place) = match backend {
            Backend::Lattice => (self.view.secrets(), "the lattice"),
            Backend::File => (self.view.filed_secrets(), "the files of this host"),
        };
        let held = secrets.get(name).map(|held| Arc::clone(&held.record));
        held.ok_or_else(|| {
            let message = format!(
                "there is no secret {name} in {place}; put it first (`trellis secret put {name} --for {reader}`)"
            );
            Error::new(ErrorKind::NotFound, message)
        })
    }
}

/// A member of a value that is a JSON object. What the value is, is not told.
fn member(name: &SecretName, value: &SecretValue, field: &str) -> Result<SecretValue> {
    let missing = |what: &str| Error::new(ErrorKind::NotFound, format!("secret {name} {what} {field:?}"));
    let object: std::collections::BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(value.reveal()).map_err(|_| missing("is no JSON object that could have a field"))?;
    match object.get(field) {
        Some(serde_json::Value::String(text)) => Ok(SecretValue::text(text.as_str())),
        Some(other) => Ok(SecretValue::text(other.to_string())),
        None => Err(missing("has no field")),
    }
}
