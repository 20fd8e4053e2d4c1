//! What a host says of itself once a second and on change: that it is there, who it is, and what it runs.

use serde::{Deserialize, Serialize};

use crate::contract::{Interface, Signature};
use crate::id::{BootId, EntityId, PeerId};

/// One host's presence. It replaces what the same boot said before with a lower sequence number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Who.
    pub peer: PeerId,
    /// Its JWT, signed by the lattice's authority: carries its X25519 key and labels.
    pub token: String,
    /// Which run of it.
    pub boot: BootId,
    /// When that run began by its own clock, milliseconds since 1970: of two runs the later one is meant.
    pub started_at_ms: u64,
    /// Grows with every message of this boot.
    pub sequence: u64,
    /// Its clock when it said this, milliseconds since 1970.
    pub said_at_ms: u64,
    /// The site it says it is in; callers prefer their own.
    pub site: Option<String>,
    /// Whether it takes no new calls: it is going away.
    pub state: State,
    /// Actors and providers it runs.
    pub running: Vec<Running>,
}

/// Whether a host takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It takes calls.
    Ready,
    /// It finishes what it has and takes no more.
    Draining,
    /// It is gone with this message.
    Gone,
}

/// An actor or provider that a host runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its id.
    pub id: EntityId,
    /// What it exports; the signature is absent for contracts that everyone has built in.
    pub exports: Vec<(Interface, Option<Signature>)>,
}
