//! Policies: where secrets come from, and how calls over links behave.

use trellis_lattice::policy;

use super::{Check, Path};
use crate::manifest::document::shown;
use crate::manifest::model::{Policy, RESILIENCE_POLICY, SECRET_POLICY};
use crate::manifest::read::suggestion;

impl Check<'_> {
    pub(super) fn policies(&mut self) {
        let path = Path::default().key("spec").key("policies");
        let policies = &self.manifest.spec.policies;
        let names = policies.iter().enumerate();
        self.unique("policy", names.map(|(i, policy)| (path.index(i).key("name"), policy.name.as_str())));
        for (i, policy) in policies.iter().enumerate() {
            match policy.kind.as_str() {
                SECRET_POLICY => self.secret_policy(&path.index(i), policy),
                RESILIENCE_POLICY => self.resilience_policy(&path.index(i), policy),
                _ => {}
            }
        }
    }

    fn secret_policy(&mut self, path: &Path, policy: &Policy) {
        if !policy.properties.contains_key("backend") {
            let message = format!("policy `{}` names no backend of secrets", shown(&policy.name));
            self.note(path.key("properties"), message, "add the key `backend`");
        }
    }

    fn resilience_policy(&mut self, path: &Path, policy: &Policy) {
        if let Err(error) = policy.lattice_name(self.app()) {
            let help = "it is made of the names of application and policy";
            self.note(path.key("name"), error.to_string(), help);
        }
        let Err(problems) = policy::Policy::parse(&policy.properties) else { return };
        for policy::Problem { key, what, expected, example } in problems.0 {
            let message = format!("`{}` of policy `{}` {what}", shown(&key), shown(&policy.name));
            let help = match policy::KEYS.contains(&key.as_str()) {
                true => format!("expected {expected}, e.g. `{example}`"),
                false => suggestion(&key, &policy::KEYS),
            };
            self.note(path.key("properties").key(&key), message, help);
        }
    }

    /// The policy that a trait names.
    pub(super) fn known_policy(&mut self, path: Path, name: &str) {
        let policies = self.manifest.spec.policies.iter().filter(|policy| policy.kind == RESILIENCE_POLICY);
        let known: Vec<&str> = policies.map(|policy| policy.name.as_str()).collect();
        if known.contains(&name) {
            return;
        }
        let help = match known.is_empty() {
            true => format!("add it to `spec.policies`, with the type `{RESILIENCE_POLICY}`"),
            false => suggestion(name, &known),
        };
        self.note(path, format!("there is no policy `{}` of how calls behave", shown(name)), help);
    }
}
