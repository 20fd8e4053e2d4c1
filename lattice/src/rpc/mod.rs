//! Calls over a transport: a [`Peer`] calls whoever presence says runs the target, and serves calls to itself.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{CallError, Result};
use crate::id::LatticeName;
use crate::identity::claims::{PeerClaims, Verified};
use crate::identity::peer::Identity;
use crate::identity::trust::Trust;
use crate::message::invocation::{Answer, Invocation};
use crate::message::presence::{Presence, Running, State};
use crate::transport::SharedTransport;

/// What serves the calls that arrive.
#[async_trait]
pub trait Serve: Send + Sync + 'static {
    /// Answers a call. The frame's seal, replay window, deadline and size were checked; whether `from` may make this
    /// call is for the implementor to check (it has the link table). Runs on a task of its own, which is aborted
    /// when the caller cancels or the deadline passes.
    async fn serve(
        &self,
        from: &Verified<PeerClaims>,
        invocation: Invocation<Bytes>,
    ) -> Result<Answer<Bytes>, CallError>;
}

/// How a peer joins.
#[derive(Debug)]
pub struct Join {
    /// The lattice.
    pub lattice: LatticeName,
    /// Who joins.
    pub identity: Identity,
    /// Whom it believes.
    pub trust: Arc<Trust>,
    /// Where it says it is; callers prefer peers of their own site.
    pub site: Option<String>,
}

/// A member of a lattice that calls and is called. Dropping the last handle ends its tasks.
pub struct Peer {}

impl Peer {
    /// Joins: subscribes, says so, asks who else is there and waits (at most 300 ms) for the first answers.
    /// Without `serve` it only calls.
    pub async fn join(transport: SharedTransport, join: Join, serve: Option<Arc<dyn Serve>>) -> Result<Arc<Self>> {
        let _ = (transport, join, serve);
        todo!()
    }

    /// Calls `invocation.head.target` on the best peer that runs it, within the head's deadline. Dropping the future
    /// cancels the call there.
    pub async fn call(&self, invocation: Invocation<Bytes>) -> Result<Answer<Bytes>, CallError> {
        let _ = invocation;
        todo!()
    }

    /// Replaces what presence says this peer runs, and says so at once.
    pub fn announce(&self, state: State, running: Vec<Running>) {
        let _ = (state, running);
        todo!()
    }

    /// The peers that are there now, a snapshot.
    pub fn present(&self) -> Vec<Arc<Presence>> {
        todo!()
    }

    /// Says goodbye and ends the tasks. Calls that are being served get until `drain` to finish.
    pub async fn leave(&self, drain: std::time::Duration) {
        let _ = drain;
        todo!()
    }
}
