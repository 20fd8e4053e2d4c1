//! The commands, one file each: its arguments, and what it does.

pub(crate) mod app;
pub(crate) mod build;
pub(crate) mod call;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod confine;
pub(crate) mod events;
pub(crate) mod get;
pub(crate) mod host;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod label;
pub(crate) mod link;
pub(crate) mod new;
pub(crate) mod par;
pub(crate) mod policy;
pub(crate) mod provider;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod scale;
pub(crate) mod secret;
pub(crate) mod sign;
pub(crate) mod start;
pub(crate) mod stop;
pub(crate) mod up;
pub(crate) mod wadm;

use std::path::Path;

use anyhow::bail;
use trellis_lattice::id::{ConfigName, SecretName};
use trellis_lattice::message::command::StringMap;
use trellis_lattice::secrets::Reference;

use crate::args::{Cli, Command};
use crate::context::Context;

/// Does what the command line says.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<()> {
    if let Command::Provider(arguments) = &cli.command {
        // It has no environment, and so no data directory.
        return provider::run(arguments).await;
    }
    let context = Context::new(cli.global)?;
    match cli.command {
        Command::Up(arguments) => up::run(&context, arguments).await,
        Command::Host(arguments) => host::run(&context, arguments).await,
        Command::Wadm(arguments) => wadm::run(&context, arguments).await,
        Command::App(arguments) => app::run(&context, arguments).await,
        Command::Start(arguments) => start::run(&context, arguments).await,
        Command::Stop(arguments) => stop::run(&context, arguments).await,
        Command::Scale(arguments) => scale::run(&context, arguments).await,
        Command::Link(arguments) => link::run(&context, arguments).await,
        Command::Config(arguments) => config::run(&context, arguments).await,
        Command::Policy(arguments) => policy::run(&context, arguments).await,
        Command::Secret(arguments) => secret::run(&context, arguments).await,
        Command::Label(arguments) => label::run(&context, arguments).await,
        Command::Get(arguments) => get::run(&context, arguments).await,
        Command::Events(arguments) => events::run(&context, arguments).await,
        Command::Call(arguments) => call::run(&context, arguments).await,
        Command::Build(arguments) => build::run(&context, &arguments),
        Command::Sign(arguments) => sign::run(&context, &arguments),
        Command::Push(arguments) => push::run(&context, arguments).await,
        Command::Pull(arguments) => pull::run(&context, arguments).await,
        Command::Inspect(arguments) => inspect::run(&context, &arguments),
        Command::Keys(arguments) => keys::run(&context, arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Par(arguments) => par::run(&context, arguments),
        Command::New(arguments) => new::run(&context, &arguments),
        Command::Provider(_) | Command::Confine(_) => bail!("hosts run this"),
    }
}

/// The annotation in which an actor's configs are kept: a scale states all configs anew, and inventories do not list
/// them.
pub(crate) const CONFIG_ANNOTATION: &str = "trellis.host/config";

/// `key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    key: String,
    value: String,
}

impl std::str::FromStr for Pair {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self { key: key.to_owned(), value: value.to_owned() }),
            _ => bail!("{text:?} is not of the form key=value"),
        }
    }
}

/// Pairs as a map.
///
/// # Errors
/// When a key stands twice with different values.
pub(crate) fn map_of(pairs: &[Pair]) -> anyhow::Result<StringMap> {
    let mut map = StringMap::new();
    for Pair { key, value } in pairs {
        if let Some(other) = map.insert(key.clone(), value.clone())
            && other != *value
        {
            bail!("{key} is given twice, as {other:?} and as {value:?}");
        }
    }
    Ok(map)
}

/// The names of configs, and of the configs that refer to secrets.
pub(crate) fn configs(configs: &[ConfigName], secrets: &[SecretName]) -> anyhow::Result<Vec<ConfigName>> {
    let mut all = configs.to_vec();
    for secret in secrets {
        all.push(Reference::config_name(secret)?);
    }
    Ok(all)
}

/// A reference as a host understands it wherever it was started: a path that is there becomes absolute.
pub(crate) fn absolute_reference(reference: &str) -> String {
    let path = Path::new(reference.strip_prefix("file://").unwrap_or(reference));
    match std::fs::canonicalize(path) {
        Ok(absolute) if absolute.is_file() => format!("file://{}", absolute.display()),
        _ => reference.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Pair, absolute_reference, map_of};

    #[test]
    fn pairs_are_maps_without_contradictions() {
        let pair = |text: &str| text.parse::<Pair>().expect("valid");
        let map = map_of(&[pair("a=1=2"), pair("b=")]).expect("no contradiction");
        assert_eq!(map, [("a".to_owned(), "1=2".to_owned()), ("b".to_owned(), String::new())].into());
        assert!(map_of(&[pair("a=1"), pair("a=2")]).is_err());
        for bad in ["", "a", "=1"] {
            assert!(bad.parse::<Pair>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_files_that_are_there_become_absolute() {
        let reference = absolute_reference("Cargo.toml");
        assert!(reference.starts_with("file:///") && reference.ends_with("/Cargo.toml"), "{reference}");
        for other in ["builtin:keyvalue", "ghcr.io/x/y:1", "missing.wasm"] {
            assert_eq!(absolute_reference(other), other);
        }
    }
}
