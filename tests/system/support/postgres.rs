//! A real PostgreSQL server with one user and one database, on a port of its own.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{nats, wait};

/// The user, who owns a database of that name.
const USER: &str = "bank";

/// A running server; ended when dropped.
pub(crate) struct Postgres {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Postgres {
    /// The password of its user.
    pub(crate) const PASSWORD: &str = "top-secret-of-the-bank";

    /// Starts one and waits until it answers.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        if let Some((uid, gid)) = other_user() {
            chown(folder.path(), Some(uid), Some(gid)).expect("we are root");
        }
        let password = folder.path().join("password");
        fs::write(&password, Self::PASSWORD).expect("written");
        let mut initdb = program("initdb");
        initdb.args([
            "--auth",
            "scram-sha-256",
            "--username",
            USER,
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "--no-sync",
        ]);
        initdb.arg("--pwfile").arg(&password).arg("--pgdata").arg(folder.path().join("data"));
        let output = initdb.output().expect("initdb runs");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let port = nats::free_port();
        let mut server = Self { child: spawn(folder.path(), port), port, folder };
        server.wait();
        assert!(server.psql("postgres", &format!("create database {USER}")).is_ok(), "the database is made");
        server
    }

    /// Ends it and all that work for it without a word; what was committed stays.
    pub(crate) fn stop(&mut self) {
        let server = self.child.id().to_string();
        let children = Command::new("pgrep").args(["-P", &server]).output().expect("pgrep runs").stdout;
        let children = String::from_utf8(children).expect("numbers");
        let ids = children.lines().chain([server.as_str()]);
        // One of them may have ended just now.
        let _ = Command::new("kill").args(["-s", "KILL"]).args(ids).stderr(Stdio::null()).status();
        self.child.wait().expect("it is ours");
    }

    /// Starts it again where it was, and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.folder.path(), self.port);
        self.wait();
    }

    /// Where its database is, without the password.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{USER}", self.port)
    }

    fn wait(&mut self) {
        wait::until("PostgreSQL", || {
            // It ends at once while children of one that was killed still hold its shared memory.
            if self.child.try_wait().expect("it is ours").is_some() {
                self.child = spawn(self.folder.path(), self.port);
            }
            self.psql("postgres", "select 1")
        });
    }

    fn psql(&self, database: &str, sql: &str) -> Result<(), String> {
        let mut psql = program("psql");
        psql.env("PGPASSWORD", Self::PASSWORD).args(["-h", "127.0.0.1", "-U", USER, "-X", "-v", "ON_ERROR_STOP=1"]);
        let output = psql.args(["-p", &self.port.to_string(), "-d", database, "-c", sql]).output();
        let output = output.expect("psql runs");
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, but with its children; it may have ended before.
        let _ = Command::new("kill").args(["-s", "QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, port: u16) -> Child {
    let mut command = program("postgres");
    command.arg("-D").arg(folder.join("data")).args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k", ""]);
    for setting in ["fsync=off", "max_connections=100", "dynamic_shared_memory_type=mmap", "shared_buffers=16MB"] {
        command.args(["-c", setting]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("PostgreSQL starts")
}

/// A program of PostgreSQL's, to be run as a user that may run it.
fn program(name: &str) -> Command {
    let folder = programs();
    let mut command = Command::new(folder.join(name));
    // Where its libraries are, if it was unpacked and not installed.
    let libraries = folder.join("../../..").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    command.current_dir("/").env("LD_LIBRARY_PATH", libraries);
    if let Some((uid, gid)) = other_user() {
        command.uid(uid).gid(gid);
    }
    command
}

/// The folder with its programs: of the one that `TRELLIS_POSTGRES` names, or the one on the search path.
fn programs() -> PathBuf {
    let named = std::env::var_os("TRELLIS_POSTGRES").map(PathBuf::from);
    let found = named.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join("postgres")).find(|program| program.is_file())
    });
    let found = found.expect("`cargo xtask test` finds PostgreSQL or says how; its `postgres` is in TRELLIS_POSTGRES");
    found.canonicalize().expect("it exists").parent().expect("it is in a folder").to_owned()
}

/// PostgreSQL refuses to run as root: then it is the user that its package makes, or one that owns nothing.
fn other_user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").expect("Linux").uid() != 0 {
        return None;
    }
    let id = |flag: &str, user: &str| {
        let output = Command::new("id").args([flag, user]).output().expect("id runs");
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    ["postgres", "nobody"].iter().find_map(|user| Some((id("-u", user)?, id("-g", user)?)))
}
