//! Which providers may run as processes, as flags say.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;
use trellis_host::config::{Native, ProcessLimits, Restarts, User};
use trellis_lattice::id::IssuerId;

/// The flags; in a file with settings, keys are named as they are.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[command(next_help_heading = "Providers as processes")]
pub(crate) struct NativeArgs {
    /// An executable that may run as a provider though nobody signed it; may be repeated
    #[arg(long, value_name = "FILE")]
    allow_provider: Vec<PathBuf>,
    /// An issuer whose archives of providers may run; may be repeated [default: every trusted issuer]
    #[arg(long, value_name = "ISSUER")]
    provider_issuer: Vec<IssuerId>,
    /// The user, by numbers, that processes of providers run as; with --provider-dir [default: the host's]
    #[arg(long, value_name = "UID:GID", requires = "provider_dir")]
    provider_user: Option<UserArg>,
    /// Where they keep state and programs; that user has to be able to enter it [default: with the host's state]
    #[arg(long, value_name = "DIR")]
    provider_dir: Option<PathBuf>,
    /// The private memory of one, in MiB [default: 2048]
    #[arg(long, value_name = "MIB")]
    provider_memory: Option<u64>,
}

/// `uid:gid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct UserArg(User);

impl std::str::FromStr for UserArg {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let numbers = text.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
        let (uid, gid) = numbers.with_context(|| format!("{text:?} is not of the form uid:gid, e.g. 1500:1500"))?;
        Ok(Self(User { uid, gid }))
    }
}

impl TryFrom<String> for UserArg {
    type Error = anyhow::Error;

    fn try_from(text: String) -> anyhow::Result<Self> {
        text.parse()
    }
}

impl NativeArgs {
    /// These over those of a file.
    pub(crate) fn over(self, file: Self) -> Self {
        let first = |flags: Vec<_>, file: Vec<_>| if flags.is_empty() { file } else { flags };
        Self {
            allow_provider: first(self.allow_provider, file.allow_provider),
            provider_issuer: if self.provider_issuer.is_empty() { file.provider_issuer } else { self.provider_issuer },
            provider_user: self.provider_user.or(file.provider_user),
            provider_dir: self.provider_dir.or(file.provider_dir),
            provider_memory: self.provider_memory.or(file.provider_memory),
        }
    }

    /// The settings that they mean, with this program for what is built in.
    pub(crate) fn settings(self) -> Native {
        let default = ProcessLimits::default();
        let memory_bytes =
            self.provider_memory.map_or(default.memory_bytes, |mebibytes| mebibytes.saturating_mul(1 << 20));
        Native {
            executables: self.allow_provider,
            issuers: (!self.provider_issuer.is_empty()).then_some(self.provider_issuer),
            own: std::env::current_exe().ok(),
            dir: self.provider_dir,
            user: self.provider_user.map(|UserArg(user)| user),
            limits: ProcessLimits { memory_bytes, ..default },
            restarts: Restarts::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NativeArgs, User, UserArg};

    #[test]
    fn flags_and_file_say_the_same() {
        let text = "allow-provider = [\"dice\"]\nprovider-user = \"1500:1501\"\nprovider-memory = 64";
        let file: NativeArgs = toml::from_str(text).expect("valid");
        let flags = NativeArgs { provider_memory: Some(32), ..NativeArgs::default() };
        let native = flags.over(file).settings();
        assert_eq!((native.executables, native.user), (vec!["dice".into()], Some(User { uid: 1_500, gid: 1_501 })));
        assert_eq!((native.limits.memory_bytes, native.issuers), (32 << 20, None));
        assert!("root".parse::<UserArg>().expect_err("no numbers").to_string().contains("1500:1500"));
    }
}
