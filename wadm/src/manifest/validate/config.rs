//! Configs of the whole application: one name, one content.

use std::collections::BTreeMap;

use trellis_lattice::id::ConfigName;

use super::{Check, Path};
use crate::manifest::component::{Component, Config};
use crate::manifest::document::shown;
use crate::manifest::scaler::{LinkTarget, LinkTrait, Trait};

impl<'a> Check<'a> {
    pub(super) fn configs(&mut self) {
        let path = Path::default().key("spec").key("components");
        let mut seen: BTreeMap<ConfigName, &'a Config> = BTreeMap::new();
        let components = self.manifest.spec.components.iter().enumerate();
        for (path, config) in components.flat_map(|(i, component)| configs(&path.index(i), component)) {
            self.config(path, config, &mut seen);
        }
    }

    fn config(&mut self, path: Path, config: &'a Config, seen: &mut BTreeMap<ConfigName, &'a Config>) {
        let name = match config.lattice_name(self.app()) {
            Ok(name) => name,
            Err(error) => {
                let help =
                    if config.properties.is_some() { "it is made of the names of application and config" } else { "" };
                self.note(path.key("name"), error.to_string(), help);
                return;
            }
        };
        if config.properties.iter().flat_map(|properties| properties.keys()).any(String::is_empty) {
            self.note(path.key("properties"), "a property without a name", "give it one");
        }
        let Some(first) = seen.get(&name).copied() else {
            seen.insert(name, config);
            return;
        };
        if first.name != config.name {
            let message =
                format!("configs `{}` and `{}` both get the name `{name}`", shown(&first.name), shown(&config.name));
            self.note(path.key("name"), message, "rename one of them");
        } else if first.properties != config.properties {
            let message = format!("config `{}` is given twice with different properties", shown(&config.name));
            self.note(path.key("properties"), message, "make them equal, or rename one of them");
        }
    }
}

/// All configs of a component and of its links.
fn configs<'a>(path: &Path, component: &'a Component) -> Vec<(Path, &'a Config)> {
    let mut found = listed(&path.key("properties").key("config"), &component.properties.config);
    for (i, of_link) in component.traits.iter().enumerate() {
        if let Trait::Link(link) = of_link {
            found.extend(configs_of_link(&path.key("traits").index(i).key("properties"), link));
        }
    }
    found
}

fn configs_of_link<'a>(path: &Path, link: &'a LinkTrait) -> Vec<(Path, &'a Config)> {
    let mut found = listed(&path.key("source_config"), &link.source_config);
    found.extend(listed(&path.key("target_config"), &link.target_config));
    if let Some(source) = &link.source {
        found.extend(listed(&path.key("source").key("config"), &source.config));
    }
    if let LinkTarget::End { config, .. } = &link.target {
        found.extend(listed(&path.key("target").key("config"), config));
    }
    found
}

fn listed<'a>(path: &Path, configs: &'a [Config]) -> Vec<(Path, &'a Config)> {
    configs.iter().enumerate().map(|(i, config)| (path.index(i), config)).collect()
}
