//! Where the settings of a host come from: flags, then the environment (clap reads both), then a file, then defaults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde::Deserialize;
use trellis_host::config::{Resume, Unlinked, Unsigned};
use trellis_lattice::id::{EntityId, IssuerId, LatticeName};
use trellis_lattice::message::command::StringMap;

use super::{DEFAULT_DRAIN, RunHost, default_lattice, map_of, parse_issuer, parse_unsigned};
use crate::args::Nats;
use crate::context::Context;
use crate::native::NativeArgs;

/// All of it, checked.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) lattice: LatticeName,
    pub(super) nats: Nats,
    pub(super) name: String,
    pub(super) labels: StringMap,
    pub(super) site: Option<String>,
    pub(super) seed: Option<PathBuf>,
    pub(super) token: Option<PathBuf>,
    pub(super) issuers: BTreeMap<IssuerId, Vec<String>>,
    pub(super) unsigned: Vec<Unsigned>,
    pub(super) unlinked: Unlinked,
    pub(super) resume: Resume,
    pub(super) drain: Duration,
    pub(super) insecure_registries: Vec<String>,
    pub(super) native: NativeArgs,
}

/// What a file may say. Relative paths in it are relative to it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    lattice: Option<LatticeName>,
    name: Option<EntityId>,
    labels: StringMap,
    site: Option<String>,
    nats_url: Vec<String>,
    nats_creds: Option<PathBuf>,
    nats_token_file: Option<PathBuf>,
    nats_nkey_file: Option<PathBuf>,
    nats_ca: Option<PathBuf>,
    host_seed: Option<PathBuf>,
    host_token: Option<PathBuf>,
    trust_issuers: BTreeMap<IssuerId, Vec<String>>,
    allow_unsigned: Vec<String>,
    allow_unlinked: bool,
    resume: bool,
    drain_ms: Option<u64>,
    insecure_registries: Vec<String>,
    providers: NativeArgs,
}

/// What is wrong in which line, of which the beginning is shown: it may be long.
fn wrong(path: &Path, text: &str, error: &toml::de::Error) -> anyhow::Error {
    let at = error.span().map_or(0, |span| text.get(..span.start).unwrap_or_default().matches('\n').count());
    let line: String = text.lines().nth(at).unwrap_or_default().chars().take(60).collect();
    anyhow!("{}:{}: {}, in `{line}`", path.display(), at + 1, error.message())
}

impl File {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let mut file: Self = toml::from_str(&text).map_err(|error| wrong(path, &text, &error))?;
        let base = path.parent().unwrap_or(Path::new("")).to_owned();
        let paths = [
            &mut file.nats_creds,
            &mut file.nats_token_file,
            &mut file.nats_nkey_file,
            &mut file.nats_ca,
            &mut file.host_seed,
            &mut file.host_token,
        ];
        for path in paths.into_iter().flatten() {
            *path = base.join(&*path);
        }
        Ok(file)
    }
}

/// Flags and environment over the file over the defaults.
pub(super) fn merge(context: &Context, flags: RunHost) -> anyhow::Result<Settings> {
    let file = match &flags.config {
        Some(path) => File::read(path)?,
        None => File::default(),
    };
    let nats = merge_nats(&context.nats, &file);
    if nats.nats_url.is_empty() {
        bail!(
            "a host needs a nats-server: name one with --nats-url, e.g. nats://127.0.0.1:4222; `trellis up` runs a \
             lattice without one"
        );
    }
    let mut labels = file.labels;
    labels.extend(map_of(&flags.label)?);
    let mut issuers = file.trust_issuers;
    for text in &flags.trust_issuer {
        let (issuer, patterns) = parse_issuer(text)?;
        issuers.insert(issuer, patterns);
    }
    let unsigned = file.allow_unsigned.iter().chain(&flags.allow_unsigned).map(|text| parse_unsigned(text)).collect();
    let name = flags.name.or(file.name).map_or_else(|| "host".to_owned(), |name| name.to_string());
    Ok(Settings {
        lattice: context.named_lattice().cloned().or(file.lattice).unwrap_or_else(default_lattice),
        nats,
        name,
        labels,
        site: flags.site.or(file.site),
        seed: flags.host_seed.or(file.host_seed),
        token: flags.host_token.or(file.host_token),
        issuers,
        unsigned,
        unlinked: if flags.allow_unlinked || file.allow_unlinked { Unlinked::AtCall } else { Unlinked::Refuse },
        resume: if flags.resume || file.resume { Resume::LastAssignment } else { Resume::Never },
        drain: flags.drain_ms.or(file.drain_ms).map_or(DEFAULT_DRAIN, Duration::from_millis),
        insecure_registries: file.insecure_registries,
        native: flags.native.over(file.providers),
    })
}

fn merge_nats(flags: &Nats, file: &File) -> Nats {
    // Credentials of one source only: those of the file are for the file's server.
    let named = flags.nats_creds.is_some() || flags.nats_token_file.is_some() || flags.nats_nkey_file.is_some();
    let from_file = |path: &Option<PathBuf>| if named { None } else { path.clone() };
    Nats {
        nats_url: if flags.nats_url.is_empty() { file.nats_url.clone() } else { flags.nats_url.clone() },
        nats_creds: flags.nats_creds.clone().or_else(|| from_file(&file.nats_creds)),
        nats_token_file: flags.nats_token_file.clone().or_else(|| from_file(&file.nats_token_file)),
        nats_nkey_file: flags.nats_nkey_file.clone().or_else(|| from_file(&file.nats_nkey_file)),
        nats_ca: flags.nats_ca.clone().or_else(|| file.nats_ca.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;
    use trellis_host::config::{Resume, Unlinked, Unsigned};

    use super::{File, Settings, merge};
    use crate::args::{Cli, Command};
    use crate::context::Context;

    fn settings(arguments: &[&str]) -> anyhow::Result<Settings> {
        let all = ["trellis", "host", "--data-dir", "/nowhere"].iter().chain(arguments);
        let cli = Cli::try_parse_from(all)?;
        let context = Context::new(cli.global)?;
        let Command::Host(flags) = cli.command else { panic!("the command is host") };
        merge(&context, flags.run)
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("host.toml");
        let text = r#"
            lattice = "shop"
            name = "from-file"
            nats-url = ["nats://file:4222"]
            nats-creds = "file.creds"
            allow-unlinked = true
            allow-unsigned = ["a.wasm"]
            drain-ms = 5
            [labels]
            zone = "a"
            disk = "ssd"
        "#;
        std::fs::write(&path, text).expect("written");
        let config = path.to_str().expect("text");
        let file = settings(&["--config", config]).expect("valid");
        assert_eq!((file.lattice.as_str(), &*file.name, file.drain), ("shop", "from-file", Duration::from_millis(5)));
        assert_eq!(file.nats.nats_creds, Some(dir.path().join("file.creds")));
        assert_eq!((file.unlinked, file.resume), (Unlinked::AtCall, Resume::Never));
        assert_eq!(file.unsigned, [Unsigned::File("a.wasm".into())]);
        let flags = ["--config", config, "--name", "b", "--label", "zone=b", "--nats-url", "nats://flag:1", "--resume"];
        let both = settings(&flags).expect("valid");
        assert_eq!((&*both.name, both.nats.nats_url), ("b", vec!["nats://flag:1".to_owned()]));
        assert_eq!(both.labels, [("zone", "b"), ("disk", "ssd")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert_eq!(both.resume, Resume::LastAssignment);
    }

    #[test]
    fn a_host_without_a_server_is_told_what_it_needs() {
        let error = settings(&[]).expect_err("no server").to_string();
        assert!(error.contains("--nats-url") && error.contains("trellis up"), "{error}");
    }

    #[test]
    fn a_wrong_file_is_named_with_what_is_wrong_in_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let check = |text: &str, part: &str| {
            let path = dir.path().join("host.toml");
            std::fs::write(&path, text).expect("written");
            let error = crate::output::describe(&File::read(&path).expect_err(text));
            assert!(error.contains("host.toml") && error.contains(part), "{error}");
        };
        check("nats-urls = []", "nats-urls");
        check("name = \"a.b\"", "a.b");
        check("lattice = 3", "lattice");
        check("\n= 3", "host.toml:2:");
        assert!(File::read(&dir.path().join("none.toml")).is_err());
    }
}
