//! A PostgreSQL server of a test's own: own port, own directory, gone when dropped.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use trellis_provider_sdk::testing::SmallDisk;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    place: Place,
    pub(crate) port: u16,
    process: Child,
}

/// Where it keeps what it has. Its write-ahead log lies apart: without room for that it would end, rather than refuse.
struct Place {
    /// Unmounted before the folder goes that it is mounted on.
    _disk: Option<SmallDisk>,
    directory: TempDir,
    log: TempDir,
}

impl Place {
    fn new() -> Self {
        Self::on(|_| None)
    }

    fn on(disk: impl Fn(&Path) -> Option<SmallDisk>) -> Self {
        let [directory, log] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let disk = disk(directory.path());
        if let Some((uid, gid)) = other_user() {
            for folder in [&directory, &log] {
                std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).unwrap();
            }
        }
        Self { _disk: disk, directory, log }
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(Place::new(), |_| &[])
    }

    /// Whose databases lie on a disk of so many MiB, and the folder that this is.
    pub(crate) fn start_on_small_disk(mebibytes: u32) -> (Self, PathBuf) {
        let server = Self::start_with(Place::on(|folder| Some(SmallDisk::mount(folder, mebibytes))), |_| &[]);
        let folder = server.place.directory.path().to_owned();
        (server, folder)
    }

    /// With a certificate for `localhost`, and the path of it.
    pub(crate) fn start_with_tls() -> (Self, PathBuf) {
        let server = Self::start_with(Place::new(), |data| {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            for (name, text) in [("server.crt", made.cert.pem()), ("server.key", made.signing_key.serialize_pem())] {
                let path = data.join(name);
                std::fs::write(&path, text).unwrap();
                std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
                if let Some((uid, gid)) = other_user() {
                    std::os::unix::fs::chown(&path, Some(uid), Some(gid)).unwrap();
                }
            }
            &["ssl=on"]
        });
        let certificate = server.place.directory.path().join("data/server.crt");
        (server, certificate)
    }

    fn start_with(place: Place, prepare: impl Fn(&Path) -> &'static [&'static str]) -> Self {
        let directory = &place.directory;
        let password = directory.path().join("password");
        std::fs::write(&password, "top-secret").unwrap();
        std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let mut initdb = program("initdb");
        initdb.args(["--auth", "scram-sha-256", "--username", "admin", "--encoding", "UTF8", "--locale", "C"]);
        initdb.args(["--no-sync", "--pwfile"]).arg(&password).arg("--pgdata").arg(directory.path().join("data"));
        initdb.arg("--waldir").arg(place.log.path().join("wal"));
        let output = initdb.output().unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = prepare(&directory.path().join("data"));
        let process = run(directory.path(), port, settings);
        Self { place, port, process }.ready(settings)
    }

    fn ready(mut self, settings: &[&str]) -> Self {
        let start = Instant::now();
        loop {
            // It ends at once while children of one that was killed still hold its shared memory.
            if self.process.try_wait().unwrap().is_some() {
                self.process = run(self.place.directory.path(), self.port, settings);
            }
            let output = self.psql("postgres", "select 1");
            if output.status.success() {
                return self;
            }
            assert!(start.elapsed() < PATIENCE, "{}", String::from_utf8_lossy(&output.stderr));
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn psql(&self, database: &str, sql: &str) -> std::process::Output {
        let mut psql = program("psql");
        psql.env("PGPASSWORD", "top-secret").args([
            "-h",
            "127.0.0.1",
            "-U",
            "admin",
            "-v",
            "ON_ERROR_STOP=1",
            "-X",
            "-t",
            "-A",
        ]);
        psql.args(["-p", &self.port.to_string(), "-d", database, "-c", sql]).output().unwrap()
    }

    /// Runs `sql` as administrator; what it prints.
    pub(crate) fn admin(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database, sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Makes a user with a database that is theirs alone.
    pub(crate) fn add_user(&self, name: &str) {
        self.admin("postgres", &format!("create role {name} login password 'pw-{name}'"));
        self.admin("postgres", &format!("create database {name} owner {name}"));
        self.admin("postgres", &format!("revoke connect on database {name} from public"));
    }

    pub(crate) fn url(&self, user: &str) -> String {
        format!("postgres://{user}:pw-{user}@127.0.0.1:{}/{user}", self.port)
    }

    /// Holds it and all that work for it, or lets them go on.
    pub(crate) fn signal(&self, signal: Signal) {
        let server = i32::try_from(self.process.id()).unwrap();
        let children = Command::new("pgrep").args(["-P", &server.to_string()]).output().unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        for id in children.lines().map(|line| line.parse().unwrap()).chain([server]) {
            // One of them may have ended just now.
            let _ = kill_process(Pid::from_raw(id).unwrap(), signal);
        }
    }

    /// Ends it without warning, and starts it again.
    pub(crate) fn crash(self) -> Self {
        self.stop().start_again()
    }

    pub(crate) fn stop(mut self) -> Stopped {
        self.signal(Signal::KILL);
        self.process.wait().unwrap();
        let place = std::mem::replace(&mut self.place, Place::new());
        Stopped { place, port: self.port }
    }
}

/// A server that is not running.
pub(crate) struct Stopped {
    place: Place,
    port: u16,
}

impl Stopped {
    pub(crate) fn start_again(self) -> Server {
        let process = run(self.place.directory.path(), self.port, &[]);
        Server { place: self.place, port: self.port, process }.ready(&[])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        if let Some(id) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(id, Signal::QUIT);
        }
        let _ = self.process.wait();
    }
}

fn run(directory: &Path, port: u16, settings: &[&str]) -> Child {
    let mut command = program("postgres");
    command.arg("-D").arg(directory.join("data")).args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k", ""]);
    let usual = ["fsync=off", "max_connections=50", "dynamic_shared_memory_type=mmap", "shared_buffers=16MB"];
    for setting in usual.iter().chain(settings) {
        command.args(["-c", setting]);
    }
    let log = std::fs::File::create(directory.join("log")).unwrap();
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
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
    let found =
        found.expect("install PostgreSQL (`apt-get install postgresql`) or name its `postgres` in TRELLIS_POSTGRES");
    found.canonicalize().unwrap().parent().unwrap().to_owned()
}

/// PostgreSQL refuses to run as root: then it is the user that its package makes, or one that owns nothing.
fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let id = |flag: &str, user: &str| {
        let output = Command::new("id").args([flag, user]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().ok()
    };
    ["postgres", "nobody"].iter().find_map(|user| Some((id("-u", user)?, id("-g", user)?)))
}
