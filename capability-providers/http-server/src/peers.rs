//! How many connections each peer has, so that none takes all of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// The peers that have connections. Locked to count, once when a connection begins and once when it ends.
#[derive(Default)]
pub(crate) struct Peers(Mutex<HashMap<IpAddr, usize>>);

impl Peers {
    /// A place for one more connection of `peer`, if it has fewer than `limit`.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr, limit: usize) -> Option<Place> {
        let peer = network(peer);
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.entry(peer).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place { peers: self.clone(), peer })
    }
}

/// An address of IPv6 stands for its /64, of which whoever has one has all.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

/// A connection that counts.
pub(crate) struct Place {
    peers: Arc<Peers>,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = peers.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Peers;
    use std::sync::Arc;

    #[test]
    fn each_peer_has_its_own_places() {
        let peers = Arc::new(Peers::default());
        let admit = |peer: &str| peers.admit(peer.parse().expect("an address"), 2);
        let first = (admit("10.0.0.1"), admit("::ffff:10.0.0.1"));
        assert!(first.0.is_some() && first.1.is_some() && admit("10.0.0.1").is_none());
        assert!(admit("10.0.0.2").is_some());
        let second = (admit("2a00::1"), admit("2a00::2"));
        assert!(second.0.is_some() && admit("2a00::ffff:0:0:3").is_none() && admit("2a00:0:0:1::1").is_some());
        drop(first);
        assert!(admit("10.0.0.1").is_some());
        drop(second);
        assert!(peers.0.lock().expect("no test panicked").is_empty());
    }
}
