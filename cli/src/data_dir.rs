//! The data directory: where things are in it, private files, and who holds it.
//!
//! `keys/` is the key store, `cache/` compiled code, `hosts/<name>/` the state of a host, `lattice/` that of an embedded
//! lattice: its store, `running.json` by which other commands find it, and token and port of its gateway.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use serde::{Deserialize, Serialize};
use trellis_lattice::id::LatticeName;

/// The data directory.
#[derive(Debug, Clone)]
pub(crate) struct DataDir(PathBuf);

/// How to reach the lattice of a running `trellis up`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// The lattice.
    pub(crate) lattice: LatticeName,
    /// Where its gateway listens: `nats://127.0.0.1:<port>`.
    pub(crate) url: String,
    /// What the gateway asks for.
    pub(crate) token: String,
    /// The process.
    pub(crate) pid: u32,
}

/// That nobody else uses what was locked; ends when it is dropped, or with the process.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "the lock is held as long as the file is open")] File);

/// Where `docker login` keeps credentials: in the directory that was named, or in the user's own.
pub(crate) fn docker_config(named: Option<&Path>) -> Option<PathBuf> {
    let home =
        || std::env::var_os("HOME").filter(|value| !value.is_empty()).map(|home| Path::new(&home).join(".docker"));
    named.map(Path::to_owned).or_else(home).map(|dir| dir.join("config.json"))
}

impl DataDir {
    /// The one that was named, or the user's own.
    pub(crate) fn choose(named: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = named {
            let absolute =
                std::path::absolute(path).with_context(|| format!("use data directory {}", path.display()))?;
            return Ok(Self(absolute));
        }
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = set("XDG_DATA_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| set("HOME").map(|home| home.join(".local").join("share")));
        let base = base.ok_or_else(|| anyhow!("there is no HOME to keep data in; name a directory with --data-dir"))?;
        Ok(Self(base.join("trellis")))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    pub(crate) fn code_cache(&self) -> PathBuf {
        self.0.join("cache").join("code")
    }

    pub(crate) fn host(&self, name: &str) -> PathBuf {
        self.0.join("hosts").join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("lattice").join("store.redb")
    }

    /// Where the wadm of `lattice` keeps what is deployed.
    pub(crate) fn wadm_store(&self, lattice: &LatticeName) -> anyhow::Result<PathBuf> {
        let dir = self.0.join("wadm").join(lattice.as_str());
        make_private_dir(&dir)?;
        Ok(dir.join("catalog.redb"))
    }

    fn running_file(&self) -> PathBuf {
        self.0.join("lattice").join("running.json")
    }

    fn gateway_token_file(&self) -> PathBuf {
        self.0.join("lattice").join("gateway.token")
    }

    fn gateway_port_file(&self) -> PathBuf {
        self.0.join("lattice").join("gateway.port")
    }

    /// Takes the embedded lattice for this process.
    pub(crate) fn lock_lattice(&self) -> anyhow::Result<Lock> {
        let dir = self.0.join("lattice");
        make_private_dir(&dir)?;
        let Some(lock) = try_lock(&dir.join("lock"))? else {
            let mut text = format!("data directory {} is used by another `trellis up`", self.0.display());
            if let Ok(Some(running)) = self.running() {
                text = format!("{text}: process {}, lattice {}, bus {}", running.pid, running.lattice, running.url);
            }
            bail!(
                "{text}; commands with this data directory reach it (`trellis get hosts`), and a second lattice needs \
                 a --data-dir of its own"
            );
        };
        Ok(lock)
    }

    /// Takes the state of the host `name` for this process.
    pub(crate) fn lock_host(&self, name: &str) -> anyhow::Result<Lock> {
        let dir = self.host(name);
        make_private_dir(&dir)?;
        let lock = dir.join("lock");
        try_lock(&lock)?.ok_or_else(|| {
            anyhow!(
                "host {name} runs already in another process, which holds {}; give this one another --name, or a \
                 --data-dir of its own",
                lock.display()
            )
        })
    }

    /// The embedded lattice that runs from here, if its file is there.
    pub(crate) fn running(&self) -> anyhow::Result<Option<Running>> {
        let file = self.running_file();
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(anyhow!(error).context(format!("read {}", file.display()))),
        };
        let running =
            serde_json::from_slice(&text).with_context(|| format!("{} is not as it was written", file.display()))?;
        Ok(Some(running))
    }

    /// Lets other commands find the embedded lattice.
    pub(crate) fn announce(&self, running: &Running) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(running).context("write how to reach the lattice")?;
        replace_private(&self.running_file(), &text)
    }

    /// Lets other commands know that it is gone.
    pub(crate) fn retract(&self) {
        // What is left behind is found out by the next command, which then cannot connect.
        let _ = std::fs::remove_file(self.running_file());
    }

    /// What the gateway asks for; the same in every run, so that clients come back after a restart.
    pub(crate) fn gateway_token(&self) -> anyhow::Result<String> {
        let file = self.gateway_token_file();
        if file.exists() {
            return read_private(&file);
        }
        let token: String = std::iter::repeat_with(|| uuid::Uuid::new_v4().simple().to_string()).take(2).collect();
        create_private(&file, &token)?;
        Ok(token)
    }

    /// Where the gateway listened last; `None` before the first time, and when nobody can tell any more.
    pub(crate) fn gateway_port(&self) -> Option<u16> {
        std::fs::read_to_string(self.gateway_port_file()).ok()?.trim().parse().ok()
    }

    /// Keeps where the gateway listens, for the next time.
    pub(crate) fn keep_gateway_port(&self, port: u16) -> anyhow::Result<()> {
        replace_private(&self.gateway_port_file(), &port.to_string())
    }
}

/// Makes `path` and what is above it, readable by this user only.
pub(crate) fn make_private_dir(path: &Path) -> anyhow::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(path)
        .with_context(|| format!("make directory {}; name another data directory with --data-dir", path.display()))
}

/// Takes the directory `dir` for a moment; waits while another process has it.
pub(crate) fn lock(dir: &Path) -> anyhow::Result<Lock> {
    make_private_dir(dir)?;
    let path = dir.join("lock");
    let file = open_lock(&path)?;
    file.lock().with_context(|| format!("lock {}", path.display()))?;
    Ok(Lock(file))
}

fn open_lock(path: &Path) -> anyhow::Result<File> {
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    open.with_context(|| format!("open lock {}", path.display()))
}

fn try_lock(path: &Path) -> anyhow::Result<Option<Lock>> {
    let file = open_lock(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(anyhow!(error).context(format!("lock {}", path.display()))),
    }
}

/// Writes a new file that only this user can read. Readers see all of it or no file.
///
/// # Errors
/// `AlreadyExists` when it is there already: secrets are never overwritten.
pub(crate) fn create_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = write_private(path, text)?;
    let linked = std::fs::hard_link(&new, path);
    // What is left of it is of no use to anyone else, and readable by nobody else.
    let _ = std::fs::remove_file(&new);
    linked.with_context(|| format!("write {}", path.display()))
}

/// Writes a file that only this user can read, in place of the one that is there.
pub(crate) fn replace_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = write_private(path, text)?;
    std::fs::rename(&new, path).with_context(|| format!("write {}", path.display()))
}

/// Writes `text` beside `path`, and returns where.
fn write_private(path: &Path, text: &str) -> anyhow::Result<PathBuf> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_private_dir(parent)?;
    }
    let new = path.with_added_extension(format!("{}.new", std::process::id()));
    let context = || format!("write {}", path.display());
    let _ = std::fs::remove_file(&new);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new).with_context(context)?;
    file.write_all(format!("{text}\n").as_bytes()).and_then(|()| file.sync_all()).with_context(context)?;
    Ok(new)
}

/// Reads a file that only this user may be able to read.
///
/// # Errors
/// When others can read it too: a secret in it is none any more.
pub(crate) fn read_private(path: &Path) -> anyhow::Result<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = std::fs::metadata(path).with_context(|| format!("read {}", path.display()))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        bail!("{} holds a secret and other users can read it; run `chmod 600 {0}`", path.display());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{DataDir, Running, create_private, read_private};

    #[test]
    fn a_second_lattice_in_one_directory_is_told_how_to_reach_the_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = DataDir::choose(Some(dir.path())).expect("absolute");
        let lock = data.lock_lattice().expect("free");
        let running = Running {
            lattice: "shop".parse().expect("valid"),
            url: "nats://127.0.0.1:5555".to_owned(),
            token: "secret-token".to_owned(),
            pid: 4711,
        };
        data.announce(&running).expect("written");
        assert_eq!(data.running().expect("read"), Some(running));
        let error = data.lock_lattice().expect_err("held").to_string();
        for part in [dir.path().to_str().expect("text"), "4711", "shop", "nats://127.0.0.1:5555", "--data-dir"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("secret-token"), "{error}");
        drop(lock);
        assert!(data.lock_lattice().is_ok(), "the lock ends with its holder");
    }

    #[test]
    fn secrets_are_for_one_user_and_never_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("keys").join("a.seed");
        create_private(&file, "S").expect("written");
        let mode = |path: &std::path::Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().expect("has one"))), (0o600, 0o700));
        assert_eq!(read_private(&file).expect("private"), "S");
        assert!(create_private(&file, "T").is_err());
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("changed");
        let error = read_private(&file).expect_err("readable by all").to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
