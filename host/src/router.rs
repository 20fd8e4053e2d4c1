//! Every call that leaves a guest or a built-in provider passes here: link lookup, policy, then a target on this host
//! directly, else by rpc.

use trellis_lattice::error::CallError;
use trellis_lattice::message::invocation::{Answer, Call};

use crate::runtime::value::Args;

/// Finds the target of a call and calls it.
pub struct Router {}

impl Router {
    /// Calls over the link of `call.source` that covers the interface.
    ///
    /// # Errors
    /// `NoTarget` when nothing is linked or nobody runs the target; whatever the target fails with.
    pub async fn call(&self, call: Call<Args>) -> Result<Answer<Args>, CallError> {
        let _ = call;
        todo!()
    }
}
