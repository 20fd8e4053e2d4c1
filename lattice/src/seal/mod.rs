//! What makes a frame genuine: one key a direction between two runs of two peers, and a window against replays.
//!
//! Bytes in, bytes out; what the frames mean is [`crate::wire`]'s and rpc's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use x25519_dalek::PublicKey;

use crate::error::{Error, ErrorKind, Result};
use crate::id::{BootId, LatticeName, PeerId};
use crate::identity::claims::{PeerClaims, Verified};
use crate::identity::peer::Identity;
use crate::wire::Tag;

mod window;

pub use window::{WINDOW, Window};

/// The length of the MAC at the end of a sealed frame.
pub const MAC_BYTES: usize = 32;

/// Keeps keys of this use apart from any other that is derived from the same secret.
const KEY_CONTEXT: &str = "trellis 2026-11 frame key between two peers, one direction";

/// What one run of this peer shares with one run of another.
pub struct Session {
    peer: PeerId,
    boot: BootId,
    outgoing: Direction,
    incoming: Direction,
    sequence: AtomicU64,
    /// A lock, because the session is shared with the tasks that send; held for a few instructions.
    window: Mutex<Window>,
}

struct Direction {
    key: [u8; 32],
    tag: Tag,
}

impl Session {
    /// Derives the session of `identity`'s run with the run `boot` of the peer that `claims` is about.
    ///
    /// # Errors
    /// `Untrusted` when the peer's exchange key is a point of small order, or the peer is ourselves.
    pub fn between(
        identity: &Identity,
        lattice: &LatticeName,
        claims: &Verified<PeerClaims>,
        boot: BootId,
    ) -> Result<Self> {
        if claims.peer == *identity.peer() {
            return Err(Error::new(ErrorKind::Untrusted, format!("{} has no session with itself", claims.peer)));
        }
        let shared = identity.exchange().diffie_hellman(&PublicKey::from(claims.exchange));
        if !shared.was_contributory() {
            let message = format!("the exchange key of {} is of small order: issue a new token", claims.peer);
            return Err(Error::new(ErrorKind::Untrusted, message));
        }
        let ours = (identity.peer(), identity.boot);
        let theirs = (&claims.peer, boot);
        let outgoing = Direction::derive(shared.as_bytes(), lattice, ours, theirs);
        let incoming = Direction::derive(shared.as_bytes(), lattice, theirs, ours);
        let peer = claims.peer.clone();
        let sequence = AtomicU64::new(first_sequence());
        Ok(Self { peer, boot, outgoing, incoming, sequence, window: Mutex::default() })
    }

    /// Whom it is with.
    pub fn peer(&self) -> &PeerId {
        &self.peer
    }

    /// Which run of it.
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// Names frames to the other end.
    pub fn outgoing_tag(&self) -> Tag {
        self.outgoing.tag
    }

    /// Names frames from the other end.
    pub fn incoming_tag(&self) -> Tag {
        self.incoming.tag
    }

    /// The next sequence number of a call.
    pub fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// Appends the MAC for the way to the other end.
    pub fn seal(&self, mut frame: Vec<u8>) -> Bytes {
        let mac = blake3::keyed_hash(&self.outgoing.key, &frame);
        frame.extend_from_slice(mac.as_bytes());
        frame.into()
    }

    /// The frame without its MAC, if the other end sealed it. Takes the same time wherever the MAC is wrong.
    pub fn open<'a>(&self, sealed: &'a [u8]) -> Option<&'a [u8]> {
        let (frame, mac) = sealed.split_last_chunk::<MAC_BYTES>()?;
        (blake3::keyed_hash(&self.incoming.key, frame) == *mac).then_some(frame)
    }

    /// Takes the sequence number of a call that was opened; false if it is a replay.
    pub fn is_first(&self, sequence: u64) -> bool {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).take(sequence)
    }
}

/// Where sequence numbers begin: later than any of a session between the same two runs that was forgotten.
fn first_sequence() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0) << 16
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session(with {})", self.peer)
    }
}

impl Direction {
    /// Key and tag of frames that `from` sends to `to`. All parts but the lattice's name have a fixed length.
    fn derive(shared: &[u8; 32], lattice: &LatticeName, from: (&PeerId, BootId), to: (&PeerId, BootId)) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
        hasher.update(shared);
        for (peer, boot) in [from, to] {
            hasher.update(peer.as_str().as_bytes()).update(&boot.0);
        }
        hasher.update(lattice.as_str().as_bytes());
        let mut output = hasher.finalize_xof();
        let (mut key, mut tag) = ([0; 32], [0; 8]);
        output.fill(&mut key);
        output.fill(&mut tag);
        Self { key, tag: Tag(tag) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Direction, Session};
    use crate::id::{BootId, IssuerId, LatticeName, PeerId};
    use crate::identity::claims::PeerClaims;
    use crate::identity::key::{Key, KeyKind};
    use crate::identity::peer::{Identity, exchange_public};
    use crate::identity::token;

    const NOW: u64 = 1_800_000_000;

    fn lattice() -> LatticeName {
        LatticeName::parse("default").unwrap()
    }

    fn identity() -> Identity {
        let (authority, key) = (Key::generate(KeyKind::Account), Key::generate(KeyKind::Host));
        let claims = PeerClaims {
            issuer: IssuerId::parse(&authority.public()).unwrap(),
            peer: PeerId::parse(&key.public()).unwrap(),
            exchange: exchange_public(&key),
            lattice: lattice(),
            labels: Default::default(),
            entity: None,
            call: Vec::new(),
            expires_at: NOW + 60,
        };
        Identity::new(&key, token::issue_peer(&claims, &authority, NOW).unwrap(), NOW).unwrap()
    }

    fn session(from: &Identity, to: &Identity) -> Session {
        Session::between(from, &lattice(), &to.claims, to.boot).unwrap()
    }

    #[test]
    fn the_other_end_opens_what_was_sealed_and_nobody_else() {
        let (one, other, third) = (identity(), identity(), identity());
        let (here, there) = (session(&one, &other), session(&other, &one));
        assert_eq!((here.outgoing_tag(), here.incoming_tag()), (there.incoming_tag(), there.outgoing_tag()));
        let sealed = here.seal(b"frame".to_vec());
        assert_eq!(there.open(&sealed), Some(&b"frame"[..]));
        assert_eq!(here.open(&sealed), None, "it cannot be reflected");
        assert_eq!(session(&third, &one).open(&sealed), None);
        let again = Session::between(&other, &lattice(), &one.claims, BootId([0; 16])).unwrap();
        assert_eq!(again.open(&sealed), None, "another run has other keys");
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let (one, other) = (identity(), identity());
        let (here, there) = (session(&one, &other), session(&other, &one));
        let sealed = here.seal(b"frame".to_vec());
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(there.open(&changed), None, "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert_eq!(there.open(&sealed[..len]), None, "cut to {len}");
        }
    }

    /// The values that PROTOCOL.md shows. Changing them is a new version of the protocol.
    #[test]
    fn keys_are_derived_as_the_protocol_says() {
        let peer = |byte| {
            let key = nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::Server, [byte; 32]).unwrap();
            PeerId::parse(&key.public_key()).unwrap()
        };
        let (from, to) = (peer(7), peer(8));
        let derived = Direction::derive(&[1; 32], &lattice(), (&from, BootId([2; 16])), (&to, BootId([3; 16])));
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        let document = include_str!("../../../PROTOCOL.md");
        for (name, actual) in [("key", hex(&derived.key)), ("tag", hex(&derived.tag.0))] {
            let golden = document.lines().find_map(|line| line.strip_prefix(&format!("golden {name} ")));
            assert_eq!(golden, Some(&*actual), "{name}");
        }
    }
}
