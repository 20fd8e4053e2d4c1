//! A value that a guest writes: the body of a call that runs while it does.

use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use trellis_interfaces::blobstore::{self as wire, function};
use trellis_lattice::body::Body;
use trellis_lattice::error::CallError;
use trellis_lattice::id::LinkName;
use wasmtime::component::Resource;

use super::pipe::{Handle, Source, Writer, pipe};
use super::{Outcome, no_answer, read, told};
use crate::runtime::State;

type Written = Result<Result<(), wire::Error>, CallError>;

/// An `outgoing-value`. Dropped before it is finished, nothing is stored.
#[expect(unreachable_pub, reason = "the generated code exports it")]
pub struct OutgoingValue {
    handle: Handle,
    writer: Option<Writer>,
    stage: Stage,
}

/// Where the value goes.
enum Stage {
    /// Nowhere yet.
    Unsent(Source),
    /// Into an object, by this call.
    Sent(AbortOnDropHandle<Written>),
    /// The call is over.
    Over,
}

impl OutgoingValue {
    /// An empty value.
    pub(super) fn new() -> Self {
        let (handle, writer, source) = pipe();
        Self { handle, writer: Some(writer), stage: Stage::Unsent(source) }
    }

    /// The stream to write to; once.
    pub(super) fn take_writer(&mut self) -> Option<Writer> {
        self.writer.take()
    }

    /// All was written. What came of it.
    pub(super) async fn finish(self, deadline: Instant) -> Written {
        let Stage::Sent(call) = self.stage else {
            return Ok(Err("the value was written nowhere: call write-data before finish".to_owned()));
        };
        self.handle.finish();
        match timeout_at(deadline, call).await {
            Ok(Ok(written)) => written,
            Ok(Err(_)) => Err(CallError::provider("the call that carried the value broke off")),
            Err(_) => Err(no_answer()),
        }
    }

    /// Waits until somebody reads the value; an outcome that comes before that is the end of it.
    async fn begun(&mut self) -> Option<Written> {
        let Stage::Sent(call) = &mut self.stage else { return None };
        let outcome = tokio::select! {
            biased;
            outcome = call => outcome,
            () = self.handle.read_from() => return None,
        };
        self.stage = Stage::Over;
        Some(outcome.unwrap_or_else(|_| Err(CallError::provider("the call that carried the value broke off"))))
    }
}

impl State {
    /// Begins to write `value` to the object that `params` name. Returns once it is read, or was refused.
    pub(super) async fn send_value(
        &mut self,
        value: &Resource<OutgoingValue>,
        link: LinkName,
        params: &wire::WriteData,
    ) -> Outcome<()> {
        let Stage::Unsent(source) = std::mem::replace(&mut self.table.get_mut(value)?.stage, Stage::Over) else {
            return Ok(Err("the value is written already; make a new one for each object".to_owned()));
        };
        let call = self.blobstore_call(link, function::WRITE_DATA, params, Body::stream(source))?;
        let router = self.scope.guest.router.clone();
        let sent = tokio::spawn(async move {
            let answer = timeout_at(call.context.deadline, router.call(call)).await;
            let result = read::<()>(answer.unwrap_or_else(|_| Err(no_answer()))?)?;
            Ok(result.map(|((), _)| ()))
        });
        let value = self.table.get_mut(value)?;
        value.stage = Stage::Sent(AbortOnDropHandle::new(sent));
        match value.begun().await {
            Some(outcome) => told(outcome),
            None => Ok(Ok(())),
        }
    }
}
