//! Calls over links with a policy: the router's way with a guard around each attempt.

use std::sync::Arc;

use tokio::time::Instant;
use trellis_lattice::body::Body;
use trellis_lattice::error::CallError;
use trellis_lattice::message::invocation::{self, Answer, Invocation};

use super::{Router, Way, nobody_runs};
use crate::held;
use crate::resilience::{Guard, Nature, Place};
use crate::runtime::value::Args;

impl Router {
    /// Calls as `guard` lets it. Dropping the future ends the call.
    pub(super) async fn guarded(
        &self,
        guard: &Arc<Guard>,
        mut invocation: Invocation<Args>,
        way: Way,
    ) -> Result<Answer<Args>, CallError> {
        let context = &mut invocation.head.context;
        context.deadline = guard.begin(context.deadline, Instant::now());
        let nature = nature(&invocation);
        let mut retried = 0;
        let mut last = None;
        loop {
            let permit = match guard.admit(invocation.head.context.deadline).await {
                Ok(permit) => permit,
                Err(refused) => return Err(last.unwrap_or(refused)),
            };
            let again = if guard.retries() { copy(&invocation) } else { None };
            let outcome = self.attempt(invocation, way).await;
            let place = permit.ended(&outcome);
            let error = match outcome {
                Ok(answer) => return Ok(holding(answer, place)),
                Err(error) => error,
            };
            drop(place);
            let Some(mut again) = again else { return Err(error) };
            let wait = guard.retry(&error, nature, retried, rand::random());
            match wait.filter(|wait| *wait < again.head.context.remaining()) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            }
            retried += 1;
            again.head.id = invocation::new_id();
            again.head.attempt = again.head.attempt.saturating_add(1);
            (invocation, last) = (again, Some(error));
        }
    }

    async fn attempt(&self, invocation: Invocation<Args>, way: Way) -> Result<Answer<Args>, CallError> {
        match (self.target(&invocation.head.target), way) {
            (Some(target), _) => target.call(invocation).await,
            (None, Way::Anywhere) => self.send(invocation).await,
            (None, Way::Here) => Err(nobody_runs(&invocation.head.target)),
        }
    }
}

/// The answer, which keeps the call's place while its body is read.
fn holding(answer: Answer<Args>, place: Place) -> Answer<Args> {
    Answer { value: answer.value, body: held::until_read(answer.body, place) }
}

/// A call with an idempotency key may be repeated, and an HTTP request by its method (RFC 9110, 9.2.2).
fn nature(invocation: &Invocation<Args>) -> Nature {
    let by_method = matches!(&invocation.args, Args::Request(parts) if parts.method.is_idempotent());
    match by_method || invocation.head.context.idempotency_key.is_some() {
        true => Nature::Idempotent,
        false => Nature::Once,
    }
}

/// The same for another attempt; `None` when its body can be had only once.
fn copy(invocation: &Invocation<Args>) -> Option<Invocation<Args>> {
    let body = match &invocation.body {
        Body::Empty => Body::Empty,
        Body::Bytes(bytes) => Body::Bytes(bytes.clone()),
        Body::Stream(_) => return None,
    };
    Some(Invocation { head: invocation.head.clone(), args: invocation.args.clone(), body })
}
