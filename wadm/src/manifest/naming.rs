//! How what an application declares is called in the lattice: as wadm of wasmCloud 1.x does it.

use trellis_lattice::error::{Error, ErrorKind};
use trellis_lattice::id::{ConfigName, EntityId, InvalidId, PolicyName};
use trellis_lattice::policy;

use super::component::{Component, Config, Secret, Source};
use super::model::Policy;

/// `<app>-<name>` in lower case, with `_` for every character that is no letter or digit.
fn generated(app: &str, name: &str) -> String {
    let plain = |text: &str| text.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    format!("{}-{}", plain(app), plain(name))
}

impl Component {
    /// Its id in the lattice, as a component of the application `app`. For a shared component it is the one that the
    /// application has that it belongs to: `None` here.
    ///
    /// # Errors
    /// When that is no valid id; not in a manifest that was parsed.
    pub fn entity_id(&self, app: &str) -> Result<Option<EntityId>, InvalidId> {
        match (&self.properties.source, &self.properties.id) {
            (Source::Shared(_), _) => Ok(None),
            (Source::Image(_), Some(id)) => EntityId::parse(id).map(Some),
            (Source::Image(_), None) => EntityId::parse(&generated(app, &self.name)).map(Some),
        }
    }
}

impl Config {
    /// Its name in the lattice, as a config of the application `app`; one that is managed elsewhere keeps its own.
    ///
    /// # Errors
    /// When that is no valid name; not in a manifest that was parsed.
    pub fn lattice_name(&self, app: &str) -> Result<ConfigName, InvalidId> {
        match &self.properties {
            Some(_) => ConfigName::parse(&generated(app, &self.name)),
            None => ConfigName::parse(&self.name),
        }
    }
}

impl Secret {
    /// The name of its reference in the lattice, as a secret of the application `app`.
    ///
    /// # Errors
    /// When that is no valid name; not in a manifest that was parsed.
    pub fn lattice_name(&self, app: &str) -> Result<ConfigName, InvalidId> {
        ConfigName::parse(&format!("SECRET_{}", generated(app, &self.name)))
    }
}

impl Policy {
    /// The name of the config that it is kept in, as a policy of the application `app`.
    ///
    /// # Errors
    /// When that is no valid name; not in a manifest that was parsed.
    pub fn lattice_name(&self, app: &str) -> Result<ConfigName, Error> {
        let name = PolicyName::parse(&generated(app, &self.name));
        policy::config_name(&name.map_err(|error| Error::new(ErrorKind::Malformed, error.to_string()))?)
    }
}
