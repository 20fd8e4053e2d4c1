//! Credentials for registries: as the lattice tells them, and where `docker login` keeps them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use trellis_lattice::message::command::RegistryCredential;

use crate::error::{Error, ErrorKind, Result};

/// The longest that a credential helper may take.
const HELPER_TIMEOUT: Duration = Duration::from_secs(10);

/// What the lattice told, for the client.
///
/// # Errors
/// Says what is missing.
pub(super) fn auth_of(told: &RegistryCredential) -> Result<RegistryAuth, String> {
    if told.registry_type != "oci" {
        return Err("only registries of type \"oci\" are known".to_owned());
    }
    let reveal = |secret: &Option<trellis_lattice::secret::Secret>| secret.as_ref().map(|it| it.reveal().to_owned());
    match (told.username.clone(), reveal(&told.password).or_else(|| reveal(&told.token))) {
        (Some(username), Some(secret)) => Ok(RegistryAuth::Basic(username, secret)),
        (None, Some(token)) => Ok(RegistryAuth::Bearer(token)),
        _ => Err("give a username with a password, or a token".to_owned()),
    }
}

/// The host of a registry that may be written as a URL.
pub(super) fn host_of(name: &str) -> &str {
    let name = name.split_once("://").map_or(name, |(_, rest)| rest);
    name.split('/').next().unwrap_or(name)
}

/// The file of `docker login`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct DockerConfig {
    auths: BTreeMap<String, DockerAuth>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DockerAuth {
    /// Base64 of `user:password`.
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// What a credential helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

/// The credentials for `registry` in the file `config`; anonymous when there are none.
///
/// # Errors
/// `Config` when the file cannot be read.
pub(super) async fn from_docker(config: Option<&Path>, registry: &str) -> Result<RegistryAuth> {
    let Some(path) = config else { return Ok(RegistryAuth::Anonymous) };
    let unreadable = |why: String| Error::new(ErrorKind::Config, format!("cannot use {}: {why}", path.display()));
    let text = match tokio::fs::read(path).await {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(RegistryAuth::Anonymous),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let config: DockerConfig = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
    let named = |name: &&String| host_of(name) == registry;
    let helper = config.helpers.keys().find(named).and_then(|name| config.helpers.get(name)).or(config.store.as_ref());
    if let Some(helper) = helper
        && let Some(auth) = ask_helper(helper, registry).await
    {
        return Ok(auth);
    }
    let Some(entry) = config.auths.keys().find(named).and_then(|name| config.auths.get(name)) else {
        return Ok(RegistryAuth::Anonymous);
    };
    let damaged = || unreadable(format!("the `auth` of {registry} is not base64 of `user:password`"));
    match (&entry.auth, &entry.username, &entry.password) {
        (Some(auth), ..) if !auth.is_empty() => basic(auth).ok_or_else(damaged),
        (_, Some(username), Some(password)) => Ok(RegistryAuth::Basic(username.clone(), password.clone())),
        _ => Ok(RegistryAuth::Anonymous),
    }
}

fn basic(auth: &str) -> Option<RegistryAuth> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(RegistryAuth::Basic(username.to_owned(), password.to_owned()))
}

/// Asks `docker-credential-<helper>`. One that has nothing, or is not there, says nothing.
async fn ask_helper(helper: &str, registry: &str) -> Option<RegistryAuth> {
    let is_name = !helper.is_empty() && helper.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !is_name {
        tracing::warn!("name of a credential helper was refused");
        return None;
    }
    let mut command = Command::new(format!("docker-credential-{helper}"));
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let ask = async {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(registry.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(HELPER_TIMEOUT, ask).await {
        Ok(Ok(output)) if output.status.success() => output,
        Ok(Ok(_)) => return None,
        Ok(Err(error)) => {
            tracing::warn!(helper, error = %error, "credential helper could not be asked");
            return None;
        }
        Err(_) => {
            tracing::warn!(helper, "credential helper did not answer");
            return None;
        }
    };
    let Helped { username, secret } = serde_json::from_slice(&output.stdout).ok()?;
    Some(RegistryAuth::Basic(username, secret))
}

#[cfg(test)]
mod tests {
    use super::{RegistryAuth, auth_of, from_docker};

    async fn found(text: &str, registry: &str) -> Result<RegistryAuth, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config.json");
        std::fs::write(&path, text).expect("written");
        from_docker(Some(&path), registry).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn credentials_are_found_by_host_and_by_url() {
        let user = || RegistryAuth::Basic("user".to_owned(), "se:cret".to_owned());
        let text = r#"{"auths": {
            "registry.example": {"auth": "dXNlcjpzZTpjcmV0"},
            "https://other.example/v1/": {"username": "user", "password": "se:cret"},
            "empty.example": {}
        }}"#;
        for (registry, expected) in [
            ("registry.example", user()),
            ("other.example", user()),
            ("empty.example", RegistryAuth::Anonymous),
            ("stranger.example", RegistryAuth::Anonymous),
        ] {
            assert_eq!(found(text, registry).await, Ok(expected), "{registry}");
        }
        assert_eq!(from_docker(None, "registry.example").await.expect("nobody is asked"), RegistryAuth::Anonymous);
    }

    #[tokio::test]
    async fn a_damaged_file_is_named_and_its_content_is_not() {
        for text in ["{", r#"{"auths": {"r.example": {"auth": "c2VjcmV0"}}}"#] {
            let error = found(text, "r.example").await.expect_err(text);
            assert!(error.contains("config.json") && !error.contains("secret"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there_is_passed_over() {
        let text = r#"{"credsStore": "none-of-that-name", "credHelpers": {"r.example": "../../bin/sh"}}"#;
        assert_eq!(found(text, "r.example").await, Ok(RegistryAuth::Anonymous));
        assert_eq!(found(text, "s.example").await, Ok(RegistryAuth::Anonymous));
    }

    #[test]
    fn what_the_lattice_tells_is_a_password_or_a_token() {
        let auth = |text: &str| auth_of(&serde_json::from_str(text).expect("a credential"));
        let basic = RegistryAuth::Basic("u".to_owned(), "p".to_owned());
        assert_eq!(auth(r#"{"username": "u", "password": "p"}"#), Ok(basic.clone()));
        assert_eq!(auth(r#"{"username": "u", "token": "p", "registryType": "oci"}"#), Ok(basic));
        assert_eq!(auth(r#"{"token": "t"}"#), Ok(RegistryAuth::Bearer("t".to_owned())));
        assert!(auth(r#"{"username": "u"}"#).is_err() && auth(r#"{"token": "t", "registryType": "git"}"#).is_err());
    }
}
