//! How a host is set up. Read from flags and files by the binary; nothing here looks at the environment.

use std::path::PathBuf;
use std::time::Duration;

use trellis_lattice::id::{IssuerId, LatticeName};
use trellis_lattice::message::command::StringMap;

use crate::artifact::registry::Access;

/// The settings of a host.
#[derive(Debug, Clone)]
pub struct Config {
    /// The lattice it joins.
    pub lattice: LatticeName,
    /// A name for people.
    pub name: String,
    /// Its labels; `hostcore.*` and those that its token grants are added and win.
    pub labels: StringMap,
    /// Where it is; callers prefer targets of their own site.
    pub site: Option<String>,
    /// Where it keeps its state: one directory a host, made if absent, mode 0700.
    pub data_dir: PathBuf,
    /// What may run without claims; everything else has to be signed by a trusted issuer.
    pub unsigned: Vec<Unsigned>,
    /// What happens to an actor whose imports nothing is linked to.
    pub unlinked: Unlinked,
    /// Whether the last assignment is taken up again at start.
    pub resume: Resume,
    /// The longest that calls in flight are waited for when something is stopped.
    pub drain: Duration,
    /// How registries are reached.
    pub registries: Access,
    /// Which providers may run as processes, and with which limits.
    pub native: Native,
}

impl Config {
    /// The defaults for `lattice`, with state in `data_dir`: only signed actors, links needed at start, nothing resumed.
    pub fn new(lattice: LatticeName, data_dir: PathBuf) -> Self {
        Self {
            lattice,
            name: "host".to_owned(),
            labels: StringMap::new(),
            site: None,
            data_dir,
            unsigned: Vec::new(),
            unlinked: Unlinked::default(),
            resume: Resume::default(),
            drain: Duration::from_secs(10),
            registries: Access::default(),
            native: Native::default(),
        }
    }
}

/// Native code as processes of their own: which, and with which limits. By default only signed archives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Native {
    /// Executables that may run though nobody signed them, by their path.
    pub executables: Vec<PathBuf>,
    /// Whose archives may run; `None`: those of every trusted issuer.
    pub issuers: Option<Vec<IssuerId>>,
    /// The program that this host is part of, if it can run `provider <name>` and `confine … -- <program>`. Without it
    /// there are no `process:` providers, and processes run without limits and unconfined.
    pub own: Option<PathBuf>,
    /// How far processes are kept to what is theirs.
    pub confinement: Confinement,
    /// Files and folders outside of a process's own folder that it may read.
    pub readable: Vec<PathBuf>,
    /// Those that it may write to as well.
    pub writable: Vec<PathBuf>,
    /// Control groups in which this host may make one for each process: of version 2, or one a controller of version 1.
    /// Empty where there are none; limits hold for each process and user then.
    pub groups: Vec<PathBuf>,
    /// Where processes keep their state and archives' programs are kept; `None`: in the host's own directory, which
    /// only the host's user can enter.
    pub dir: Option<PathBuf>,
    /// As whom processes run; needs the right to change users. `None`: as the host.
    pub user: Option<User>,
    /// What a process may use.
    pub limits: ProcessLimits,
    /// When one that ended is started again.
    pub restarts: Restarts,
}

/// How far processes of providers are kept to what is theirs: their own folder, the network, the system's libraries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Confinement {
    /// They can do what their user can.
    Off,
    /// As far as this kernel can.
    #[default]
    Prefer,
    /// One that cannot be confined is not started.
    Require,
}

/// A user of the system, by numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// What a process may use; more is refused by the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Private memory.
    pub memory_bytes: u64,
    /// Open files and sockets.
    pub open_files: u64,
    /// Threads, and processes where it may start some; holds where there are control groups, or where processes of
    /// providers have a user of their own.
    pub processes: u64,
    /// What it keeps in its own folder, and the largest file that it can write.
    pub disk_bytes: u64,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self { memory_bytes: 2 << 30, open_files: 4_096, processes: 512, disk_bytes: 10 << 30 }
    }
}

/// When a process that ended is started again, and when no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restarts {
    /// The wait after the first failure; it doubles with each further one, and is spread by up to a quarter.
    pub first_wait: Duration,
    /// The longest wait, before it is spread.
    pub last_wait: Duration,
    /// A process that has run so long has made up for failures before.
    pub stable: Duration,
    /// So many failures in a row, and it is given up.
    pub max_failures: u32,
}

impl Default for Restarts {
    /// In ten minutes, a process is started twelve times at most.
    fn default() -> Self {
        let (first_wait, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        Self { first_wait, last_wait: minute, stable: minute, max_failures: 10 }
    }
}

/// A component that may run without claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsigned {
    /// The one in this file, whatever it holds when it is read.
    File(PathBuf),
    /// The one with this digest: hex of the SHA-256 of its bytes.
    Digest(String),
}

/// What happens to an actor whose imports nothing is linked to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unlinked {
    /// It is not started; the error lists all such imports.
    #[default]
    Refuse,
    /// It is started; a call over a link that is absent fails.
    AtCall,
}

/// Whether a host takes up its last assignment when it starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resume {
    /// It starts empty.
    #[default]
    Never,
    /// It starts what it ran last, from its own disk.
    LastAssignment,
}
