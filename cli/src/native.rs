//! Which providers may run as processes, and what they may use and reach, as flags say.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Deserialize;
use trellis_host::config::{Confinement, Native, ProcessLimits, Restarts, User};
use trellis_lattice::id::IssuerId;

use crate::command::confine::{self, Level};
use crate::control_group;

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
    /// What one may keep on the disk, in MiB [default: 10240]
    #[arg(long, value_name = "MIB")]
    provider_disk: Option<u64>,
    /// The threads of one, where this host can make control groups or has --provider-user [default: 512]
    #[arg(long, value_name = "COUNT")]
    provider_threads: Option<u64>,
    /// A file or folder outside of their own that they may read; may be repeated
    #[arg(long, value_name = "PATH")]
    provider_read: Vec<PathBuf>,
    /// A file or folder outside of their own that they may write to; may be repeated
    #[arg(long, value_name = "PATH")]
    provider_write: Vec<PathBuf>,
    /// How far they are kept to their own folder and the network [default: prefer]
    #[arg(long, value_enum, value_name = "LEVEL")]
    provider_confine: Option<Level>,
}

/// `uid:gid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct UserArg(User);

impl UserArg {
    /// The user.
    pub(crate) fn user(self) -> User {
        self.0
    }
}

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
            provider_disk: self.provider_disk.or(file.provider_disk),
            provider_threads: self.provider_threads.or(file.provider_threads),
            provider_read: first(self.provider_read, file.provider_read),
            provider_write: first(self.provider_write, file.provider_write),
            provider_confine: self.provider_confine.or(file.provider_confine),
        }
    }

    /// The settings that they mean, with this program for what is built in. Says what of them cannot be had here.
    ///
    /// # Errors
    /// When providers are to be confined, and this kernel cannot.
    pub(crate) fn settings(self) -> anyhow::Result<Native> {
        let limits = self.limits();
        let confinement = match self.provider_confine.unwrap_or(Level::Prefer) {
            Level::Off => Confinement::Off,
            Level::Prefer => Confinement::Prefer,
            Level::Require => Confinement::Require,
        };
        let groups = tell(confinement, confine::missing(), control_group::parents())?;
        if groups.is_empty() && self.provider_user.is_none() && rustix::process::geteuid().is_root() {
            // The kernel holds a superuser to no number of threads.
            tracing::warn!(
                "threads of providers are not bounded: this host is root and can make no control groups; \
                 --provider-user gives them a user whose threads are counted"
            );
        }
        // A provider has another working directory.
        let absolute =
            |paths: Vec<PathBuf>| -> std::io::Result<Vec<PathBuf>> { paths.iter().map(std::path::absolute).collect() };
        Ok(Native {
            executables: self.allow_provider,
            issuers: (!self.provider_issuer.is_empty()).then_some(self.provider_issuer),
            own: std::env::current_exe().ok(),
            confinement,
            readable: absolute(self.provider_read).context("use --provider-read")?,
            writable: absolute(self.provider_write).context("use --provider-write")?,
            groups,
            dir: self.provider_dir,
            user: self.provider_user.map(|UserArg(user)| user),
            limits,
            restarts: Restarts::default(),
        })
    }

    fn limits(&self) -> ProcessLimits {
        let default = ProcessLimits::default();
        let bytes =
            |mebibytes: Option<u64>, default| mebibytes.map_or(default, |number| number.saturating_mul(1 << 20));
        ProcessLimits {
            memory_bytes: bytes(self.provider_memory, default.memory_bytes),
            disk_bytes: bytes(self.provider_disk, default.disk_bytes),
            processes: self.provider_threads.unwrap_or(default.processes),
            ..default
        }
    }
}

/// Says once what providers are not kept from on this machine; gives the control groups.
fn tell(
    confinement: Confinement,
    missing: Vec<&'static str>,
    groups: Result<Vec<PathBuf>, String>,
) -> anyhow::Result<Vec<PathBuf>> {
    let missing = missing.join("; ");
    match confinement {
        Confinement::Off => tracing::warn!("providers that are processes are not confined, as --provider-confine says"),
        Confinement::Require if !missing.is_empty() => bail!(
            "providers cannot be confined as --provider-confine=require wants it: this kernel lacks {missing}; with \
             `prefer` they run with what there is"
        ),
        Confinement::Prefer if !missing.is_empty() => {
            tracing::warn!(missing, "providers that are processes are not confined as they should be");
        }
        Confinement::Prefer | Confinement::Require => {}
    }
    Ok(groups.unwrap_or_else(|reason| {
        tracing::info!(reason, "no control groups for providers: limits hold for each process and user");
        Vec::new()
    }))
}

#[cfg(test)]
mod tests {
    use super::{Confinement, NativeArgs, User, UserArg, tell};

    #[test]
    fn flags_and_file_say_the_same() {
        let text = "allow-provider = [\"dice\"]\nprovider-user = \"1500:1501\"\nprovider-memory = 64\n\
                    provider-disk = 7\nprovider-read = [\"/srv/a\"]\nprovider-confine = \"off\"";
        let file: NativeArgs = toml::from_str(text).expect("valid");
        let flags =
            NativeArgs { provider_memory: Some(32), provider_read: vec!["/srv/b".into()], ..NativeArgs::default() };
        let native = flags.over(file).settings().expect("possible");
        assert_eq!((native.executables, native.user), (vec!["dice".into()], Some(User { uid: 1_500, gid: 1_501 })));
        assert_eq!((native.limits.memory_bytes, native.issuers), (32 << 20, None));
        assert_eq!((native.limits.disk_bytes, native.confinement), (7 << 20, Confinement::Off));
        assert_eq!(native.readable, [std::path::PathBuf::from("/srv/b")]);
        assert!("root".parse::<UserArg>().expect_err("no numbers").to_string().contains("1500:1500"));
    }

    #[test]
    fn a_kernel_that_cannot_confine_is_told_of_or_refused() {
        let groups = || Ok(vec!["/sys/fs/cgroup/a".into()]);
        assert_eq!(tell(Confinement::Prefer, vec!["Landlock"], groups()).expect("runs").len(), 1);
        assert!(tell(Confinement::Require, Vec::new(), Err("none".into())).expect("runs").is_empty());
        let error = tell(Confinement::Require, vec!["Landlock"], groups()).expect_err("refused").to_string();
        assert!(error.contains("Landlock") && error.contains("prefer"), "{error}");
    }
}
