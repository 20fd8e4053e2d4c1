//! Configs and secrets of a manifest: under which names the lattice knows them, and what they hold.

use std::collections::BTreeMap;

use trellis_lattice::id::ConfigName;
use trellis_lattice::message::command::StringMap;

use super::model::WantedConfig;
use crate::intent::AppName;
use crate::manifest::{Config, Policy, Secret};
use crate::plan::name;
use crate::plan::outcome::{Problem, ScalerKind};

/// What a record that refers to a secret says it is.
const SECRET_TYPE: &str = "secret.wasmcloud.dev/v1alpha1";

/// What the properties of a policy say they are, inside such a record.
const PROPERTIES_TYPE: &str = "properties.secret.wasmcloud.dev/v1alpha1";

/// Gathers the configs that an application manages while its components and links are read.
pub(super) struct Configs<'a> {
    pub(super) app: &'a AppName,
    pub(super) policies: &'a [Policy],
    pub(super) managed: BTreeMap<ConfigName, WantedConfig>,
    pub(super) problems: Vec<Problem>,
}

/// The configs of one component or one end of a link.
#[derive(Default)]
pub(super) struct Names {
    /// All, in order.
    pub(super) all: Vec<ConfigName>,
    /// Those that somebody else must put.
    pub(super) external: Vec<ConfigName>,
}

impl Configs<'_> {
    /// The names of `configs` and `secrets`; what they hold is kept, what is wrong with them becomes a problem.
    pub(super) fn names(&mut self, configs: &[Config], secrets: &[Secret]) -> Names {
        let mut names = Names::default();
        for config in configs {
            self.config(config, &mut names);
        }
        for secret in secrets {
            self.secret(secret, &mut names);
        }
        names
    }

    fn config(&mut self, config: &Config, names: &mut Names) {
        let name = match config.lattice_name(self.app.as_str()) {
            Ok(name) => name,
            Err(error) => return self.problem(&config.name, error.to_string()),
        };
        match &config.properties {
            Some(properties) => self.manage(name.clone(), &config.name, properties.clone()),
            None => names.external.push(name.clone()),
        }
        names.all.push(name);
    }

    fn secret(&mut self, secret: &Secret, names: &mut Names) {
        let Some(policy) = self.policies.iter().find(|policy| policy.name == secret.properties.policy) else {
            let message = format!("its policy {:?} is not in `spec.policies`: add it", secret.properties.policy);
            return self.problem(&secret.name, message);
        };
        match secret.lattice_name(self.app.as_str()) {
            Ok(name) => {
                let record = secret_record(secret, policy);
                self.manage(name.clone(), &secret.name, record);
                names.all.push(name);
            }
            Err(error) => self.problem(&secret.name, error.to_string()),
        }
    }

    /// Adds the policy of this application that is called `name`.
    pub(super) fn policy(&mut self, name: &str, names: &mut Names) {
        let Some(policy) = self.policies.iter().find(|policy| policy.name == name) else {
            return self.problem(name, "no such policy is in `spec.policies`: add it".to_owned());
        };
        match policy.lattice_name(self.app.as_str()) {
            Ok(config) => {
                self.manage(config.clone(), name, policy.properties.clone());
                names.all.push(config);
            }
            Err(error) => self.problem(name, error.to_string()),
        }
    }

    /// Adds a config that this application manages.
    pub(super) fn manage(&mut self, name: ConfigName, title: &str, values: StringMap) {
        match self.managed.get(&name) {
            Some(known) if known.values != values => {
                let message = format!(
                    "{title:?} and {:?} are both {name} in the lattice, with different content: rename one",
                    known.title
                );
                self.problem(title, message);
            }
            Some(_) => {}
            None => {
                let scaler = name::scaler(self.app, ScalerKind::Config, name.as_str());
                self.managed.insert(name, WantedConfig { values, title: title.to_owned(), scaler });
            }
        }
    }

    pub(super) fn problem(&mut self, subject: &str, message: String) {
        self.problems.push(Problem { app: self.app.clone(), subject: subject.to_owned(), message });
    }
}

fn secret_record(secret: &Secret, policy: &Policy) -> StringMap {
    let mut properties = policy.properties.clone();
    let backend = properties.remove("backend").unwrap_or_default();
    let typed = serde_json::json!({ "type": PROPERTIES_TYPE, "properties": properties });
    let source = &secret.properties;
    let mut record: StringMap = [
        ("type", SECRET_TYPE.to_owned()),
        ("name", secret.name.clone()),
        ("backend", backend),
        ("key", source.key.clone()),
        ("policy", typed.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    let optional = [("field", &source.field), ("version", &source.version)];
    record.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))));
    record
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Configs;
    use crate::intent::AppName;
    use crate::manifest::{Policy, Secret, SecretSource};
    use trellis_lattice::secrets::{Backend, Reference};

    #[test]
    fn hosts_read_the_references_that_are_written_for_secrets() {
        let app = AppName::parse("shop").expect("valid");
        let policies = [Policy {
            name: "ours".to_owned(),
            kind: "policy.secret.wasmcloud.dev/v1alpha1".to_owned(),
            properties: [("backend".to_owned(), "nats-kv".to_owned())].into(),
        }];
        let mut configs = Configs { app: &app, policies: &policies, managed: BTreeMap::new(), problems: Vec::new() };
        let properties = SecretSource {
            policy: "ours".to_owned(),
            key: "db-password".to_owned(),
            field: Some("password".to_owned()),
            version: Some("3".to_owned()),
        };
        let names = configs.names(&[], &[Secret { name: "db".to_owned(), properties }]);
        assert!(configs.problems.is_empty() && names.external.is_empty());
        let [name] = &names.all[..] else { panic!("one reference") };
        let read = Reference::parse(name, &configs.managed[name].values).expect("hosts take it");
        assert_eq!((read.name.as_str(), read.backend, read.secret.as_str()), ("db", Backend::Lattice, "db-password"));
        assert_eq!((read.field.as_deref(), read.version), (Some("password"), Some(3)));
    }
}
