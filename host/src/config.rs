//! How a host is set up. Read from flags and files by the binary; nothing here looks at the environment.

use std::path::PathBuf;
use std::time::Duration;

use trellis_lattice::id::LatticeName;
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
        }
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
