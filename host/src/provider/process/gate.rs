//! What calls to a process pass: it counts those under way over each link, and lets none pass over a link that is being
//! handed over from one process to another.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use trellis_lattice::error::CallError;
use trellis_lattice::id::{EntityId, LinkName};
use trellis_provider_sdk::{ActiveLink, Body};

use crate::held;

/// The source of calls and the name of the link. A source may have links of that name for several packages; they wait
/// for each other.
type Key = (EntityId, LinkName);

/// The calls to one provider.
#[derive(Debug, Default)]
pub(super) struct Gate(watch::Sender<State>);

#[derive(Debug, Default)]
struct State {
    held: HashSet<Key>,
    under_way: HashMap<Key, usize>,
}

impl Gate {
    /// Lets a call pass as soon as its link is not held.
    ///
    /// # Errors
    /// `Deadline` when it is held for too long; the call had no effect.
    pub(super) async fn pass(self: &Arc<Self>, key: Key, deadline: Instant) -> Result<Pass, CallError> {
        let pass = async {
            while !self.enter(&key) {
                // The sender is here, so that it cannot be gone.
                let _ = self.0.subscribe().wait_for(|state| !state.held.contains(&key)).await;
            }
        };
        let late = |_| CallError::deadline("the provider was being replaced, and that took until the deadline");
        timeout_at(deadline, pass).await.map_err(late)?;
        Ok(Pass { gate: Arc::clone(self), key })
    }

    fn enter(&self, key: &Key) -> bool {
        let mut is_in = false;
        self.0.send_if_modified(|state| {
            is_in = !state.held.contains(key);
            if is_in {
                *state.under_way.entry(key.clone()).or_default() += 1;
            }
            // Nobody waits for calls to begin.
            false
        });
        is_in
    }

    fn leave(&self, key: &Key) {
        self.0.send_if_modified(|state| {
            let Some(count) = state.under_way.get_mut(key) else { return false };
            *count -= 1;
            let is_last = *count == 0;
            if is_last {
                state.under_way.remove(key);
            }
            is_last && state.held.contains(key)
        });
    }

    /// Lets no calls pass over `links` until the hold is dropped.
    pub(super) fn hold(self: &Arc<Self>, links: &[ActiveLink]) -> Hold {
        let keys: Vec<Key> =
            links.iter().map(|active| (active.link.source_id.clone(), active.link.name.clone())).collect();
        if !keys.is_empty() {
            self.0.send_modify(|state| state.held.extend(keys.iter().cloned()));
        }
        Hold { gate: Arc::clone(self), keys }
    }
}

/// Links that are held.
pub(super) struct Hold {
    gate: Arc<Gate>,
    keys: Vec<Key>,
}

impl Hold {
    /// Waits until no call is under way over them, answers read to their ends.
    pub(super) async fn idle(&self) {
        let is_idle = |state: &State| self.keys.iter().all(|key| !state.under_way.contains_key(key));
        // The sender is here, so that it cannot be gone.
        let _ = self.gate.0.subscribe().wait_for(is_idle).await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.keys.is_empty() {
            self.gate.0.send_modify(|state| state.held.retain(|key| !self.keys.contains(key)));
        }
    }
}

/// A call that has passed; it is under way until this is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    key: Key,
}

impl Pass {
    /// The call is under way until `body`, which came with its answer, was read or dropped.
    pub(super) fn until_read(self, body: Body) -> Body {
        held::until_read(body, self)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.leave(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures::FutureExt as _;
    use tokio::time::Instant;
    use trellis_lattice::error::CallErrorKind;
    use trellis_provider_sdk::testing;

    use super::{Gate, Key};

    fn key(source: &str) -> Key {
        (testing::id(source), testing::link(source, "kv", &["wasi:keyvalue/store"]).name)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn calls_over_a_link_that_is_held_wait_and_then_pass() {
        let gate = Arc::<Gate>::default();
        let held = testing::as_target(testing::link("a", "kv", &["wasi:keyvalue/store"]), &[]);
        let before = gate.pass(key("a"), soon()).await.expect("passes");
        let hold = gate.hold(&[held]);
        assert!(hold.idle().now_or_never().is_none(), "a call is under way");
        let mut waiting = Box::pin(gate.pass(key("a"), soon()));
        assert!(waiting.as_mut().now_or_never().is_none(), "another waits");
        gate.pass(key("b"), soon()).await.expect("another link is not held");
        drop(before);
        hold.idle().await;
        drop(hold);
        waiting.await.expect("passes");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_no_longer_than_it_may() {
        let gate = Arc::<Gate>::default();
        let hold = gate.hold(&[testing::as_target(testing::link("a", "kv", &["wasi:keyvalue/store"]), &[])]);
        let error = gate.pass(key("a"), soon()).await.expect_err("held");
        assert_eq!(error.kind, CallErrorKind::Deadline);
        drop(hold);
        gate.pass(key("a"), soon()).await.expect("passes");
    }
}
