//! Until when a command counts, by the clock of the host that takes it: a host that was stopped in the middle must not
//! carry out, when it goes on, what was given up long ago. Each host says with its presence what its clock shows, so that
//! the clocks of hosts need agree neither with each other nor with ours.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use trellis_lattice::id::HostId;

use crate::observe::Sight;

/// For how long a command counts: longer than it is waited for, with room for what messages take on the way, which makes
/// a host's clock look late; short enough that little has changed.
const VALIDITY: Duration = Duration::from_secs(5);

/// What the clocks of hosts showed when they were heard last.
#[derive(Debug, Default)]
pub(super) struct HostClocks(BTreeMap<HostId, Shown>);

#[derive(Debug, Clone, Copy)]
struct Shown {
    clock_ms: u64,
    at: Instant,
}

impl HostClocks {
    /// Those of the hosts that are heard.
    pub(super) fn of(sight: &Sight) -> Self {
        let heard = sight.clocks().map(|(host, clock_ms, at)| (host.clone(), Shown { clock_ms, at }));
        Self(heard.collect())
    }

    /// Until when a command that is sent `now` counts. One that any host may take counts by the clock that is furthest
    /// on, so that no host refuses it. `None` when no host said what its clock shows.
    pub(super) fn not_after_ms(&self, host: Option<&HostId>, now: Instant) -> Option<u64> {
        let end = |shown: &Shown| {
            let more = now.saturating_duration_since(shown.at) + VALIDITY;
            shown.clock_ms.saturating_add(u64::try_from(more.as_millis()).unwrap_or(u64::MAX))
        };
        match host {
            Some(host) => self.0.get(host).map(end),
            None => self.0.values().map(end).max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;
    use trellis_lattice::id::HostId;

    use super::{HostClocks, Shown};

    fn host(number: u8) -> HostId {
        let key = nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::Server, [number; 32]).expect("32 bytes");
        HostId::parse(&key.public_key()).expect("a host's key")
    }

    #[test]
    fn a_command_counts_by_the_clock_of_its_host() {
        let at = Instant::now();
        let [slow, fast] = [1_000, 9_000].map(|clock_ms| Shown { clock_ms, at });
        let clocks = HostClocks([(host(1), slow), (host(2), fast)].into());
        let now = at + Duration::from_millis(300);
        assert_eq!(clocks.not_after_ms(Some(&host(1)), now), Some(6_300));
        assert_eq!(clocks.not_after_ms(Some(&host(3)), now), None);
        assert_eq!(clocks.not_after_ms(None, now), Some(14_300));
        assert_eq!(HostClocks::default().not_after_ms(None, now), None);
    }
}
