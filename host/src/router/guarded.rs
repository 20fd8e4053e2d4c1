//! Calls over links with a policy: the router's way with a guard around each attempt.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use tokio::time::Instant;
use trellis_lattice::body::Loan;
use trellis_lattice::error::{CallError, CallErrorKind};
use trellis_lattice::message::invocation::{self, Answer, Head, Invocation};

use super::{Router, Way, nobody_runs};
use crate::held;
use crate::resilience::{Guard, Nature, Permit, Place};
use crate::runtime::value::Args;

impl Router {
    /// Calls as `guard` lets it. Dropping the future ends the call.
    pub(super) async fn guarded(
        &self,
        guard: Arc<Guard>,
        mut invocation: Invocation<Args>,
        way: Way,
    ) -> Result<Answer<Args>, CallError> {
        let context = &mut invocation.head.context;
        context.deadline = guard.begin(context.deadline, Instant::now());
        let nature = nature(&invocation);
        if !guard.retries() {
            let permit = guard.admit(invocation.head.context.deadline).await?;
            return self.permitted(permit, invocation, way).await;
        }
        let (mut retried, mut last) = (0, None);
        loop {
            let permit = match guard.admit(invocation.head.context.deadline).await {
                Ok(permit) => permit,
                Err(refused) => return Err(last.unwrap_or(refused)),
            };
            let (attempt, spare) = Spare::of(invocation);
            let outcome = self.permitted(permit, attempt, way).await;
            let wait = failure(&outcome, nature).and_then(|error| guard.retry(&error, nature, retried, rand::random()));
            let Some(wait) = wait.filter(|wait| *wait < spare.head.context.remaining()) else { return outcome };
            let Some(next) = spare.next() else { return outcome };
            // An answer that is not given on gives its place back before the wait.
            last = outcome.err();
            tokio::time::sleep(wait).await;
            retried += 1;
            invocation = next;
        }
    }

    /// One attempt that was let through.
    async fn permitted(
        &self,
        permit: Permit,
        invocation: Invocation<Args>,
        way: Way,
    ) -> Result<Answer<Args>, CallError> {
        let outcome = self.attempt(invocation, way).await;
        let place = permit.ended(&outcome);
        outcome.map(|answer| holding(answer, place))
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

/// What of an outcome may be tried again: an error; and the answer 503 of HTTP, by which a server says that it has no room
/// now. What it did before it said so nobody knows.
fn failure(outcome: &Result<Answer<Args>, CallError>, nature: Nature) -> Option<CallError> {
    match outcome {
        Err(error) => Some(error.clone()),
        Ok(Answer { value: Args::Response(parts), .. })
            if parts.status == StatusCode::SERVICE_UNAVAILABLE && nature == Nature::Idempotent =>
        {
            let seconds = parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let retry_after = seconds.map(Duration::from_secs);
            Some(CallError { retry_after, ..CallError::new(CallErrorKind::Overloaded, "the answer was 503") })
        }
        Ok(_) => None,
    }
}

/// What is kept of an invocation for another attempt.
struct Spare {
    head: Head,
    args: Args,
    body: Loan,
}

impl Spare {
    /// The invocation for one attempt, and what another is made of.
    fn of(invocation: Invocation<Args>) -> (Invocation<Args>, Self) {
        let Invocation { head, args, body } = invocation;
        let (body, loan) = body.lend();
        let spare = Self { head: head.clone(), args: args.clone(), body: loan };
        (Invocation { head, args, body }, spare)
    }

    /// The next attempt; `None` when the body can be had only once, and was.
    fn next(self) -> Option<Invocation<Args>> {
        let Self { mut head, args, body } = self;
        let body = body.take_back()?;
        head.id = invocation::new_id();
        head.attempt = head.attempt.saturating_add(1);
        Some(Invocation { head, args, body })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Response;
    use trellis_lattice::body::Body;
    use trellis_lattice::error::{CallError, CallErrorKind};
    use trellis_lattice::message::invocation::Answer;

    use super::failure;
    use crate::resilience::Nature;
    use crate::runtime::value::Args;

    fn answer(status: u16, retry_after: &str) -> Result<Answer<Args>, CallError> {
        let response = Response::builder().status(status).header("retry-after", retry_after).body(()).expect("valid");
        Ok(Answer { value: Args::Response(Box::new(response.into_parts().0)), body: Body::Empty })
    }

    #[test]
    fn an_answer_without_room_is_a_failure_of_what_may_be_repeated() {
        let check = |status, nature, expected: Option<Option<u64>>| {
            let failed = failure(&answer(status, "2"), nature);
            let told = failed.as_ref().map(|error| error.retry_after.map(|after| after.as_secs()));
            assert_eq!(told, expected, "{status} {nature:?}");
            assert!(failed.is_none_or(|error| error.kind == CallErrorKind::Overloaded));
        };
        check(503, Nature::Idempotent, Some(Some(2)));
        check(503, Nature::Once, None);
        check(500, Nature::Idempotent, None);
        check(200, Nature::Idempotent, None);
        let dated = failure(&answer(503, "Fri, 27 Nov 2026 22:00:00 GMT"), Nature::Idempotent).expect("a failure");
        assert_eq!(dated.retry_after, None, "as long as the policy waits");
        let error = CallError::overloaded("full", Duration::from_secs(1));
        assert!(failure(&Err(error), Nature::Once).is_some());
    }
}
