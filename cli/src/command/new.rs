//! `trellis new actor|provider`: the beginning of one, which builds as it is.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::context::Context;

/// What a folder of a new actor holds.
const ACTOR: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../../templates/actor/Cargo.toml.template")),
    ("src/lib.rs", include_str!("../../templates/actor/lib.rs.template")),
    ("wit/world.wit", include_str!("../../templates/actor/world.wit.template")),
    ("README.md", include_str!("../../templates/actor/README.md.template")),
    (".gitignore", "/target\n"),
];

/// What a folder of a new provider holds.
const PROVIDER: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../../templates/provider/Cargo.toml.template")),
    ("src/main.rs", include_str!("../../templates/provider/main.rs.template")),
    ("wit/world.wit", include_str!("../../templates/provider/world.wit.template")),
    ("README.md", include_str!("../../templates/provider/README.md.template")),
    (".gitignore", "/target\n"),
];

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct New {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Begin an actor
    Actor {
        /// Its name; a folder of that name is made
        name: Name,
    },
    /// Begin a provider
    Provider {
        /// Its name; a folder of that name is made
        name: Name,
        /// The folder of trellis-provider-sdk [default: the published one of this version]
        #[arg(long, value_name = "DIR")]
        sdk: Option<PathBuf>,
    },
}

/// A name that is good for a crate and for WIT: words of lower-case letters and digits, joined by `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name(String);

impl std::str::FromStr for Name {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let is_word = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        if text.len() > 60 || !text.split('-').all(is_word) {
            bail!("a name is made of words of lower-case letters and digits, joined by `-`, e.g. price-list");
        }
        Ok(Self(text.to_owned()))
    }
}

pub(crate) fn run(context: &Context, arguments: &New) -> anyhow::Result<()> {
    let (Name(name), files, sdk) = match &arguments.what {
        What::Actor { name } => (name, ACTOR, String::new()),
        What::Provider { name, sdk } => (name, PROVIDER, dependency(sdk.as_deref())?),
    };
    let folder = Path::new(name);
    if folder.exists() {
        bail!("{name} is there already");
    }
    for (file, text) in files {
        let path = folder.join(file);
        let text =
            text.replace("{{name}}", name).replace("{{snake}}", &name.replace('-', "_")).replace("{{sdk}}", &sdk);
        std::fs::create_dir_all(path.parent().expect("a file in a folder"))
            .and_then(|()| std::fs::write(&path, text))
            .with_context(|| format!("write {}", path.display()))?;
    }
    let written: Vec<PathBuf> = files.iter().map(|(file, _)| folder.join(file)).collect();
    let next = folder.join("README.md");
    context.output.result(&json!({"name": name, "files": written}), format!("{name} is begun: see {}", next.display()))
}

/// How the SDK is depended on.
fn dependency(sdk: Option<&Path>) -> anyhow::Result<String> {
    let Some(sdk) = sdk else { return Ok(format!("{:?}", env!("CARGO_PKG_VERSION"))) };
    let sdk = std::fs::canonicalize(sdk).with_context(|| format!("find {}", sdk.display()))?;
    if !sdk.join("Cargo.toml").is_file() {
        bail!("{} is not the folder of a crate", sdk.display());
    }
    Ok(format!("{{ path = {:?} }}", sdk.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::{ACTOR, Name, PROVIDER};

    #[test]
    fn a_name_is_good_for_crates_and_wit() {
        assert!("price-list2".parse::<Name>().is_ok());
        for bad in ["", "-a", "a-", "a--b", "A", "1a", "a_b", "../a", "a b", &"a".repeat(61)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        for (file, text) in ACTOR.iter().chain(PROVIDER) {
            let known = ["{{name}}", "{{snake}}", "{{sdk}}"];
            let filled = known.iter().fold((*text).to_owned(), |text, field| text.replace(field, "x"));
            assert!(!filled.contains("{{"), "{file}");
        }
    }
}
