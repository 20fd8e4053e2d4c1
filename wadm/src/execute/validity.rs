//! Until when a command counts, by the clock of the host that takes it: a host that was stopped in the middle must not
//! carry out, when it goes on, what was given up long ago. Each host says with its presence what its clock shows, so that
//! the clocks of hosts need agree neither with each other nor with ours. What any host could do is asked of one of them,
//! so that it counts by that one's clock.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use trellis_lattice::id::HostId;

use crate::observe::Sight;

/// For how long a command counts: longer than it is waited for, with room for what messages take on the way, which makes
/// a host's clock look late; short enough that little has changed.
const VALIDITY: Duration = Duration::from_secs(5);

/// After so long no host carries out a command any more: [`VALIDITY`], with room for clocks that are not of one pace.
pub(super) const OVER: Duration = Duration::from_secs(6);

/// A host that says nothing for so long is not asked for what any host could do.
const LATE: Duration = Duration::from_millis(1_400);

/// So many hosts are kept to be asked for what any host could do.
const MOST_SCRIBES: usize = 8;

/// What the clocks of hosts showed when they were heard last.
#[derive(Debug, Default)]
pub(super) struct HostClocks {
    shown: BTreeMap<HostId, Shown>,
    /// Who is to write records, the nearest first.
    scribes: Vec<HostId>,
}

#[derive(Debug, Clone, Copy)]
struct Shown {
    clock_ms: u64,
    at: Instant,
}

impl HostClocks {
    /// Those of the hosts that are heard.
    pub(super) fn of(sight: &Sight) -> Self {
        let heard = sight.clocks().map(|(host, clock_ms, at)| (host.clone(), Shown { clock_ms, at }));
        let mut ranked: Vec<_> = sight
            .clocks()
            .map(|(host, _, at)| (sight.at.saturating_duration_since(at) > LATE, sight.distance(host), host))
            .filter(|(_, distance, _)| distance.is_some())
            .collect();
        ranked.sort_unstable();
        if ranked.first().is_some_and(|(is_late, ..)| !is_late) {
            ranked.retain(|(is_late, ..)| !is_late);
        }
        let scribes = ranked.into_iter().take(MOST_SCRIBES).map(|(.., host)| host.clone()).collect();
        Self { shown: heard.collect(), scribes }
    }

    /// Who writes a record, when that failed so many times before: another one each time.
    pub(super) fn scribe(&self, failures: u32) -> Option<&HostId> {
        let at = failures as usize % self.scribes.len().max(1);
        self.scribes.get(at)
    }

    /// Until when a command to `host` that is sent `now` counts. `None` when it did not say what its clock shows.
    pub(super) fn not_after_ms(&self, host: &HostId, now: Instant) -> Option<u64> {
        let shown = self.shown.get(host)?;
        let more = now.saturating_duration_since(shown.at) + VALIDITY;
        Some(shown.clock_ms.saturating_add(u64::try_from(more.as_millis()).unwrap_or(u64::MAX)))
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
        let clocks = HostClocks { shown: [(host(1), slow), (host(2), fast)].into(), scribes: Vec::new() };
        let now = at + Duration::from_millis(300);
        assert_eq!(clocks.not_after_ms(&host(1), now), Some(6_300));
        assert_eq!(clocks.not_after_ms(&host(2), now), Some(14_300));
        assert_eq!(clocks.not_after_ms(&host(3), now), None);
    }

    #[test]
    fn a_record_that_one_host_did_not_write_is_written_by_another() {
        let clocks = HostClocks { shown: [].into(), scribes: vec![host(1), host(2)] };
        let asked = [0, 1, 2].map(|failures| clocks.scribe(failures).cloned());
        assert_eq!(asked, [Some(host(1)), Some(host(2)), Some(host(1))]);
        assert_eq!(HostClocks::default().scribe(3), None);
    }
}
