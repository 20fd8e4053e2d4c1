//! How calls behave over a link that says nothing of it: as is usual for what its target is.
//!
//! Only calls to providers that go to servers need anything: an actor has its bound (`max_instances` and a queue), so
//! has a provider that keeps to its machine, and hosts that fail are left by those who call. The host that runs the
//! provider applies it, for its own actors and for those elsewhere, because it alone knows what the provider is.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use trellis_lattice::error::CallErrorKind;
use trellis_lattice::message::inventory::{LinkBreaker, LinkTraffic};
use trellis_lattice::message::invocation::Head;
use trellis_lattice::message::link::Link;
use trellis_lattice::policy::{Breaker, Classes, Concurrency, Policy, Retries, WAIT};
use trellis_provider_sdk::Backing;

use super::guard::Guard;
use super::table::Guards;

/// The most calls in flight over a link to a provider that goes to servers.
const IN_FLIGHT: u32 = 1_024;
/// After so many failures in a row a server is not tried for [`PAUSE`].
const FAILURES: u32 = 20;
/// How long a server is left in peace that keeps failing.
const PAUSE: Duration = Duration::from_secs(1);

/// What is usual for a provider behind which `backing` is; `None` when that needs nothing.
fn usual(backing: Backing) -> Option<Policy> {
    let concurrency = Some(Concurrency { limit: IN_FLIGHT, wait: WAIT });
    match backing {
        Backing::Machine => None,
        Backing::Server => Some(Policy {
            retries: Retries { most: 1, on: Classes::of(&[CallErrorKind::NoTarget]) },
            breaker: Some(Breaker {
                failures: FAILURES,
                pause: PAUSE,
                on: Classes::of(&[
                    CallErrorKind::NoTarget,
                    CallErrorKind::Deadline,
                    CallErrorKind::UnknownOutcome,
                    CallErrorKind::Provider,
                ]),
            }),
            concurrency,
            ..Policy::default()
        }),
        // A call names whom it is for: that one does not answer says nothing of the others.
        Backing::Network => Some(Policy { concurrency, ..Policy::default() }),
    }
}

/// The guards of the links of one provider, if it goes to servers. The provider's task writes.
#[derive(Debug, Default)]
pub(crate) struct Defaults(ArcSwap<Guards>);

impl Defaults {
    /// The guard of the link that a call came over, if it needs one.
    pub(crate) fn find(&self, head: &Head) -> Option<Arc<Guard>> {
        self.0.load().find(head)
    }

    /// A link to the provider was established, behind which `backing` is.
    pub(crate) fn put(&self, link: &Link, backing: Backing) {
        let guards = self.0.load();
        self.0.store(Arc::new(match usual(backing) {
            Some(policy) => guards.with(link, policy),
            None => guards.without(link),
        }));
    }

    /// A link to the provider is gone.
    pub(crate) fn remove(&self, link: &Link) {
        let guards = self.0.load().without(link);
        self.0.store(Arc::new(guards));
    }

    /// The breakers that do not let calls pass as usual.
    pub(crate) fn breakers(&self) -> Vec<LinkBreaker> {
        self.0.load().troubles(Instant::now())
    }

    /// The links over which calls are in flight.
    pub(crate) fn traffic(&self) -> Vec<LinkTraffic> {
        self.0.load().traffic()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;
    use trellis_lattice::error::{CallError, CallErrorKind};
    use trellis_provider_sdk::Backing;

    use super::{Defaults, FAILURES, IN_FLIGHT, usual};
    use crate::links::tests::link;
    use crate::resilience::table::tests::head;

    #[test]
    fn only_what_goes_to_servers_has_defaults() {
        assert_eq!(usual(Backing::Machine), None);
        let (server, network) = (usual(Backing::Server).expect("some"), usual(Backing::Network).expect("some"));
        assert!(server.breaker.is_some() && server.retries.most == 1);
        assert!(network.breaker.is_none() && network.retries.most == 0);
        for policy in [server, network] {
            assert_eq!(policy.timeout, None, "objects and answers may stream for longer than any default");
            assert_eq!(policy.concurrency.map(|concurrency| concurrency.limit), Some(IN_FLIGHT));
        }
    }

    #[tokio::test]
    async fn a_server_that_keeps_failing_is_left_in_peace_until_its_link_is_put_elsewhere() {
        let defaults = Defaults::default();
        let link = link("a", "default", "wasi:keyvalue/store", "kv");
        let head = head("wasi:keyvalue/store@0.2.0-draft");
        assert!(defaults.find(&head).is_none());
        defaults.put(&link, Backing::Server);
        let guard = defaults.find(&head).expect("guarded");
        for _ in 0..FAILURES {
            let permit = guard.admit(Instant::now() + Duration::from_secs(1)).await.expect("closed");
            assert_eq!(defaults.traffic()[0].in_flight, 1);
            drop(permit.ended::<()>(&Err(CallError::deadline(""))));
        }
        let error = guard.admit(Instant::now() + Duration::from_secs(1)).await.expect_err("open");
        assert_eq!(error.kind, CallErrorKind::BreakerOpen);
        assert_eq!(defaults.breakers().len(), 1);
        defaults.put(&link, Backing::Server);
        assert_eq!(defaults.breakers().len(), 1, "the same again changes nothing");
        defaults.put(&link, Backing::Machine);
        assert!(defaults.find(&head).is_none() && defaults.breakers().is_empty());
        defaults.put(&link, Backing::Network);
        defaults.remove(&link);
        assert!(defaults.find(&head).is_none());
    }
}
