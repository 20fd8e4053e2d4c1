//! The kinds of runs.

use rand::RngExt as _;
use rand::rngs::StdRng;

/// What goes wrong in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    Calm,
    /// Hosts are killed and started, some with an empty disk, one for good.
    ComeAndGo,
    /// Hosts stop in the middle and go on.
    Hang,
    /// Messages are lost, doubled and late.
    Loss,
    /// Hosts are cut off, a few or most of them.
    Cut,
    /// A wadm is killed at one of its effects, again and again.
    Killed,
    /// Two wadms, of which one or the other hangs in the air.
    Two,
    /// The store answers from the past, or nothing at all.
    Past,
    /// The store and the intent are empty for a while.
    Empty,
    /// All of it.
    Everything,
    /// All of it, while a provider that runs as a process is replaced by others.
    Upgrade,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::Calm,
        Self::ComeAndGo,
        Self::Hang,
        Self::Loss,
        Self::Cut,
        Self::Killed,
        Self::Two,
        Self::Past,
        Self::Empty,
        Self::Everything,
        Self::Upgrade,
    ];

    /// Whether it is made of the others.
    pub(super) fn is_mixed(self) -> bool {
        matches!(self, Self::Everything | Self::Upgrade)
    }

    /// Whether wadms are killed at their effects.
    pub(super) fn kills_wadms(self) -> bool {
        self == Self::Killed || self.is_mixed()
    }

    /// One of the kinds that this one is made of.
    pub(super) fn draw(self, dice: &mut StdRng) -> Self {
        if self.is_mixed() { Self::ALL[dice.random_range(1..9)] } else { self }
    }
}
