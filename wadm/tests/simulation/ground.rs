//! What is really the case: hosts and what runs on them, however little of it anybody sees. And the trace of what
//! happened, in order.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use trellis_lattice::id::{ConfigName, EntityId, HostId};
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::lease::Lease;
use trellis_lattice::message::link::Link;

use crate::judge::Strictness;
use crate::wishes::Wanted;

/// The ground, shared by all that stand on it. A lock, because everything is on one thread and held for no await.
#[derive(Clone)]
pub(crate) struct Ground(Arc<Mutex<Truth>>);

/// All that is.
pub(crate) struct Truth {
    pub(crate) hosts: BTreeMap<HostId, HostTruth>,
    pub(crate) links: BTreeMap<String, Link>,
    pub(crate) configs: BTreeMap<ConfigName, StringMap>,
    /// What is wanted.
    pub(crate) wanted: Wanted,
    /// What was wanted before that.
    pub(crate) wanted_before: Wanted,
    /// When that last changed.
    pub(crate) wanted_since: Duration,
    /// How strict the judge is.
    pub(crate) strictness: Strictness,
    /// The lease as it was written last, and when.
    pub(crate) lease: Option<(Lease, Duration)>,
    /// When which command was sent last.
    pub(crate) sent: BTreeMap<Bytes, Duration>,
    /// Since when there is too much of something.
    pub(crate) surplus: BTreeMap<(EntityId, Option<&'static str>), Duration>,
    /// How often somebody else began to act.
    pub(crate) turns: u32,
    /// What went wrong, in order; empty in a run that passes.
    pub(crate) violations: Vec<String>,
    trace: String,
    start: Instant,
}

/// A host as it really is.
#[derive(Debug, Clone)]
pub(crate) struct HostTruth {
    pub(crate) name: String,
    pub(crate) labels: StringMap,
    pub(crate) health: Health,
    pub(crate) is_cut: bool,
    /// When its health or its connection last changed.
    pub(crate) since: Duration,
    pub(crate) runs: BTreeMap<EntityId, Run>,
    /// What it carries out commands for.
    pub(crate) underway: Vec<EntityId>,
    /// The highest token it has seen; on its disk.
    pub(crate) fence: u64,
}

impl HostTruth {
    /// The zone that it is in.
    pub(crate) fn zone(&self) -> &str {
        self.labels.get("zone").map_or("", String::as_str)
    }

    /// Whether it answers and is heard.
    pub(crate) fn is_there(&self) -> bool {
        self.health == Health::Up && !self.is_cut
    }

    /// Whether nobody can know better at `now` than that it is there.
    pub(crate) fn seems_there(&self, now: Duration) -> bool {
        self.is_there() || now < self.since + UNNOTICED
    }
}

/// For how long nobody can tell that a host is gone, or that it is back.
pub(crate) const UNNOTICED: Duration = Duration::from_millis(3_700);

/// Whether a host lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Up,
    /// It is stopped in the middle: says and does nothing, and goes on later.
    Hung,
    Down,
}

/// An actor or provider that a host runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) kind: Kind,
    pub(crate) reference: String,
    /// Instances at most; 1 for a provider.
    pub(crate) count: u32,
    pub(crate) config: Vec<ConfigName>,
    pub(crate) annotations: Option<StringMap>,
}

impl Run {
    /// An annotation; empty when there is none.
    pub(crate) fn note(&self, key: &str) -> &str {
        self.annotations.as_ref().and_then(|notes| notes.get(key)).map_or("", String::as_str)
    }

    /// The application that it says it belongs to, if wadm manages it.
    pub(crate) fn app(&self) -> Option<&str> {
        (self.note("wasmcloud.dev/managed-by") == "wadm").then(|| self.note("wasmcloud.dev/appspec"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Actor,
    Provider,
}

impl Ground {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        let truth = Truth {
            hosts: BTreeMap::new(),
            links: BTreeMap::new(),
            configs: BTreeMap::new(),
            wanted: Wanted::default(),
            wanted_before: Wanted::default(),
            wanted_since: Duration::ZERO,
            strictness: Strictness::default(),
            lease: None,
            sent: BTreeMap::new(),
            surplus: BTreeMap::new(),
            turns: 0,
            violations: Vec::new(),
            trace: String::new(),
            start: Instant::now(),
        };
        Self(Arc::new(Mutex::new(truth)))
    }

    /// All that is.
    pub(crate) fn truth(&self) -> MutexGuard<'_, Truth> {
        self.0.lock().expect("nobody panicked with the truth in hand")
    }

    /// Writes a line of the trace.
    pub(crate) fn note(&self, line: &str) {
        self.truth().note(line);
    }
}

impl Truth {
    /// Writes a line of the trace.
    pub(crate) fn note(&mut self, line: &str) {
        let at = self.elapsed();
        writeln!(self.trace, "{:>9.3} {line}", at.as_secs_f64()).expect("a string takes it");
    }

    /// A command is sent.
    pub(crate) fn sends(&mut self, line: &str, command: Bytes) {
        self.note(line);
        let now = self.elapsed();
        self.sent.insert(command, now);
    }

    /// Since the simulation began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Says that something is wrong.
    pub(crate) fn violation(&mut self, text: String) {
        self.note(&format!("VIOLATION {text}"));
        self.violations.push(text);
    }

    /// What happened so far.
    pub(crate) fn trace(&self) -> &str {
        &self.trace
    }

    /// Sets what a host's health is, or whether it is cut off.
    pub(crate) fn set(&mut self, id: &HostId, change: impl FnOnce(&mut HostTruth)) {
        let now = self.elapsed();
        let host = self.host(id);
        let before = (host.health, host.is_cut);
        change(host);
        if before != (host.health, host.is_cut) {
            host.since = now;
        }
    }

    /// A host.
    pub(crate) fn host(&mut self, id: &HostId) -> &mut HostTruth {
        self.hosts.get_mut(id).expect("hosts are entered before they run and never removed")
    }
}
