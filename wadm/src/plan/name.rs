//! Names that things of an application have in the lattice, and the ids of scalers: as wasmCloud 1.x makes them.

use sha2::{Digest as _, Sha256};
use trellis_lattice::id::{ConfigName, EntityId, InvalidId};

use super::outcome::ScalerKind;
use crate::intent::AppName;

/// What the names of records that hold a reference to a secret begin with.
const SECRET_PREFIX: &str = "SECRET";

/// The id of a component: the one it asks for, or `<app>-<component>`.
///
/// # Errors
/// When that is too long, or what it asks for is no id.
pub(crate) fn entity(app: &str, id: Option<&str>, component: &str) -> Result<EntityId, InvalidId> {
    match id {
        Some(id) => EntityId::parse(id),
        None => EntityId::parse(&generated(app, component)),
    }
}

/// The name of a config that `app` manages.
pub(crate) fn config(app: &AppName, name: &str) -> Result<ConfigName, InvalidId> {
    ConfigName::parse(&generated(app.as_str(), name))
}

/// The name of the record that refers to a secret of `app`.
pub(crate) fn secret(app: &AppName, name: &str) -> Result<ConfigName, InvalidId> {
    ConfigName::parse(&format!("{SECRET_PREFIX}_{}", generated(app.as_str(), name)))
}

/// The id of a scaler: the same in every version of an application as long as its kind and its subject stay.
pub(crate) fn scaler(app: &AppName, kind: ScalerKind, subject: &str) -> String {
    let digest = Sha256::digest(format!("{}\0{app}\0{subject}", kind.as_str()));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `<app>-<name>`, both in lower case and with `_` for whatever is no letter or digit.
fn generated(app: &str, name: &str) -> String {
    format!("{}-{}", plain(app), plain(name))
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::{config, entity, secret};
    use crate::intent::AppName;

    #[test]
    fn generated_names_are_those_of_wasmcloud() {
        let app = AppName::parse("rust-Hello_world").expect("valid");
        let id = |id, name| entity(app.as_str(), id, name).map(|id| id.to_string());
        assert_eq!(id(None, "http-component"), Ok("rust_hello_world-http_component".to_owned()));
        assert_eq!(id(Some("My-id"), "x"), Ok("My-id".to_owned()));
        assert!(id(None, &"x".repeat(60)).is_err());
        assert_eq!(config(&app, "default-http").expect("valid").as_str(), "rust_hello_world-default_http");
        assert_eq!(secret(&app, "token").expect("valid").as_str(), "SECRET_rust_hello_world-token");
    }
}
