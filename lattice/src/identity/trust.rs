//! Whom a lattice trusts: the authority that signs peers' tokens, and the issuers whose actors may run.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind, Result};
use crate::id::{IssuerId, LatticeName};
use crate::identity::claims::{PeerClaims, Verified};

/// What is trusted. Nothing is, unless it is listed.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Whose tokens make a peer of this lattice.
    pub authority: IssuerId,
    /// Whose actors may run, and what an actor of theirs may import when its claims do not say.
    pub issuers: BTreeMap<IssuerId, Vec<String>>,
}

impl Trust {
    /// Refuses a peer that another authority signed, or for another lattice.
    pub fn accept_peer(&self, claims: &Verified<PeerClaims>, lattice: &LatticeName) -> Result<()> {
        if claims.issuer != self.authority {
            let message = format!(
                "{} has a token of {}, which is not the authority of lattice {lattice}",
                claims.peer, claims.issuer
            );
            return Err(Error::new(ErrorKind::Untrusted, message));
        }
        if claims.lattice != *lattice {
            let message = format!("{} has a token for lattice {}, not for {lattice}", claims.peer, claims.lattice);
            return Err(Error::new(ErrorKind::Untrusted, message));
        }
        Ok(())
    }
}
