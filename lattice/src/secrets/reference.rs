//! References to secrets: records in the place of configs, as lattice v1 has them (`SECRET…`).

use crate::error::{Error, ErrorKind, Result};
use crate::id::{ConfigName, SecretName};
use crate::message::command::StringMap;

/// What the name of a config begins with that is a reference to a secret.
pub const REFERENCE_PREFIX: &str = "SECRET_";

/// Lattice v1 asks for no more than this.
const RECOGNISED: &str = "SECRET";

/// What such a record says it is.
const TYPE: &str = "secret.wasmcloud.dev/v1alpha1";

/// Where a secret is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// In the lattice's store: a bucket of NATS KV, or the file of an embedded lattice.
    Lattice,
    /// In a folder of the host that reads it.
    File,
}

impl Backend {
    /// Its name in a policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lattice => "nats-kv",
            Self::File => "file",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Lattice, Self::File].into_iter().find(|backend| backend.as_str() == text)
    }
}

/// Whether the config of that name is a reference to a secret.
pub fn is_reference(name: &ConfigName) -> bool {
    name.as_str().starts_with(RECOGNISED)
}

/// What a reader reads under a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The name under which it is read.
    pub name: String,
    /// Where it is kept.
    pub backend: Backend,
    /// The secret.
    pub secret: SecretName,
    /// A member of it, when its value is a JSON object.
    pub field: Option<String>,
    /// The only version that will do.
    pub version: Option<u64>,
}

impl Reference {
    /// To `secret` in `backend`, under the secret's own name.
    pub fn plain(secret: &SecretName, backend: Backend) -> Self {
        Self { name: secret.to_string(), backend, secret: secret.clone(), field: None, version: None }
    }

    /// Where [`Self::plain`] is kept.
    ///
    /// # Errors
    /// `Malformed` when the secret's name is so long that nothing fits before it.
    pub fn config_name(secret: &SecretName) -> Result<ConfigName> {
        ConfigName::parse(&format!("{REFERENCE_PREFIX}{secret}"))
            .map_err(|error| Error::new(ErrorKind::Malformed, format!("{error}; choose a shorter name")))
    }

    /// Reads the record in the config `config`.
    ///
    /// # Errors
    /// `Malformed`, naming the config, what is wrong in it and what is expected.
    pub fn parse(config: &ConfigName, record: &StringMap) -> Result<Self> {
        let wrong = |what: String| Error::new(ErrorKind::Malformed, format!("reference {config} to a secret: {what}"));
        let text = |key: &str| record.get(key).map(String::as_str).unwrap_or_default();
        if text("type") != TYPE {
            return Err(wrong(format!("its type is {:?}, and only {TYPE:?} is known", short(text("type")))));
        }
        let backend = Backend::parse(text("backend")).ok_or_else(|| {
            wrong(format!(
                "its backend is {:?}; there are \"nats-kv\" (the lattice's store) and \"file\" (on the host)",
                short(text("backend"))
            ))
        })?;
        let secret = SecretName::parse(text("key")).map_err(|error| wrong(format!("its key: {error}")))?;
        let version = match text("version") {
            "" => None,
            text => Some(text.parse().map_err(|_| wrong(format!("its version {:?} is no number", short(text))))?),
        };
        let name = Some(text("name")).filter(|name| !name.is_empty()).unwrap_or(secret.as_str()).to_owned();
        let field = Some(text("field")).filter(|field| !field.is_empty()).map(str::to_owned);
        Ok(Self { name, backend, secret, field, version })
    }

    /// As a record.
    pub fn to_record(&self) -> StringMap {
        let mut record: StringMap =
            [("type", TYPE), ("name", &self.name), ("backend", self.backend.as_str()), ("key", self.secret.as_str())]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
        record.extend(self.field.iter().map(|field| ("field".to_owned(), field.clone())));
        record.extend(self.version.iter().map(|version| ("version".to_owned(), version.to_string())));
        record
    }
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::{Backend, Reference, is_reference};
    use crate::message::command::StringMap;

    fn record(pairs: &[(&str, &str)]) -> StringMap {
        let base = [("type", "secret.wasmcloud.dev/v1alpha1"), ("backend", "nats-kv"), ("key", "db-password")];
        base.iter().chain(pairs).map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_reference_of_lattice_v1_is_read() {
        let name = "SECRET_shop-db".parse().expect("valid");
        assert!(is_reference(&name) && !is_reference(&"secret_x".parse().expect("valid")));
        let full = record(&[("name", "db"), ("policy", "{}"), ("field", "password"), ("version", "3")]);
        let read = Reference::parse(&name, &full).expect("valid");
        assert_eq!((read.name.as_str(), read.backend, read.secret.as_str()), ("db", Backend::Lattice, "db-password"));
        assert_eq!((read.field.as_deref(), read.version), (Some("password"), Some(3)));
        assert_eq!(Reference::parse(&name, &read.to_record()).expect("valid"), read);
        let plain = Reference::parse(&name, &record(&[])).expect("valid");
        assert_eq!(plain, Reference::plain(&plain.secret, Backend::Lattice));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let name = "SECRET_x".parse().expect("valid");
        for (pairs, part) in [
            ([("backend", "vault")], "\"vault\""),
            ([("key", "a.b")], "its key"),
            ([("version", "new")], "no number"),
            ([("type", "config")], "its type"),
        ] {
            let error = Reference::parse(&name, &record(&pairs)).expect_err(part).to_string();
            assert!(error.contains("SECRET_x") && error.contains(part), "{error}");
        }
    }
}
