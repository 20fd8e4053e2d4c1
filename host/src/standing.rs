//! What the lattice has told this host apart from what to run: how its labels differ from its settings, and whose
//! commands still count. Kept on disk with the assignment, so that a restart changes neither.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What holds until somebody says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// The highest fencing token that was seen, in a command or in the lattice's lease record.
    #[serde(default)]
    pub(crate) fence: u64,
    /// Labels that were put (a value) or deleted (none), over those of the settings.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, Option<String>>,
}

/// The standing as it is now: written from anywhere, followed by whoever keeps it.
#[derive(Debug)]
pub(crate) struct Told(watch::Sender<Standing>);

impl Told {
    /// Begins with what was kept.
    pub(crate) fn new(kept: Standing) -> Self {
        Self(watch::Sender::new(kept))
    }

    /// As it is now.
    pub(crate) fn now(&self) -> Standing {
        self.0.borrow().clone()
    }

    /// The highest fencing token that was seen.
    pub(crate) fn fence(&self) -> u64 {
        self.0.borrow().fence
    }

    /// Wakes when it changed.
    pub(crate) fn changes(&self) -> watch::Receiver<Standing> {
        self.0.subscribe()
    }

    /// Remembers a fencing token, if it is higher than those before.
    pub(crate) fn learn_fence(&self, token: u64) {
        self.0.send_if_modified(|standing| {
            let is_higher = token > standing.fence;
            standing.fence = standing.fence.max(token);
            is_higher
        });
    }

    /// Whether a command with that fencing token still counts; if so, lower ones no longer do. A command without one
    /// comes from a person or from a client of lattice v1, and counts.
    ///
    /// # Errors
    /// Names both tokens.
    pub(crate) fn admit(&self, token: Option<u64>) -> Result<(), String> {
        let Some(token) = token else { return Ok(()) };
        self.learn_fence(token);
        let highest = self.fence();
        if token < highest {
            return Err(format!(
                "the command has fencing token {token}, and this host knows {highest}: another wadm has taken over"
            ));
        }
        Ok(())
    }

    /// Sets a label.
    pub(crate) fn put_label(&self, key: String, value: String) {
        self.0.send_modify(|standing| drop(standing.labels.insert(key, Some(value))));
    }

    /// Deletes a label, also one of the settings.
    pub(crate) fn delete_label(&self, key: String) {
        self.0.send_modify(|standing| drop(standing.labels.insert(key, None)));
    }

    /// Forgets what was told of a label.
    pub(crate) fn forget_label(&self, key: &str) {
        self.0.send_modify(|standing| drop(standing.labels.remove(key)));
    }
}

#[cfg(test)]
mod tests {
    use super::{Standing, Told};

    #[test]
    fn a_lower_fencing_token_than_the_highest_seen_is_refused() {
        let told = Told::new(Standing { fence: 3, ..Standing::default() });
        assert_eq!(told.admit(None), Ok(()));
        assert_eq!(told.admit(Some(3)), Ok(()));
        assert_eq!(told.admit(Some(5)), Ok(()));
        let error = told.admit(Some(4)).expect_err("lower");
        assert!(error.contains('4') && error.contains('5'), "{error}");
        told.learn_fence(4);
        assert_eq!(told.fence(), 5);
    }
}
