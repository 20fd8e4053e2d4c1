//! What went wrong on a server, in words for who has to do something about it.

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::stream::{DirectGetError, DirectGetErrorKind};
use async_nats::jetstream::{self, ErrorCode};
use trellis_provider_sdk::{CallError, CallErrorKind};

use crate::backend::Failure;

/// What a server says when it has no room.
const FULL: &[ErrorCode] = &[
    ErrorCode::STREAM_STORE_FAILED,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
    ErrorCode::INSUFFICIENT_RESOURCES,
    ErrorCode::STREAM_MAX_STREAM_BYTES_EXCEEDED,
];

/// A write that failed; not one at a wrong revision.
pub(super) fn of_publish(bucket: &str, error: &PublishError) -> Failure {
    let source = std::error::Error::source(error);
    let answer = source.and_then(|source| source.downcast_ref::<jetstream::Error>());
    match (error.kind(), answer) {
        (PublishErrorKind::MaxPayloadExceeded, _) => {
            Failure::refused(format!("that value is over the limit of a message (`max_payload`) of {bucket}"))
        }
        (_, Some(answer)) if answer.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM => {
            Failure::refused(format!("that value is over the limit of a message in {bucket}"))
        }
        (_, Some(answer)) if FULL.contains(&answer.error_code()) => {
            Failure::refused(format!("{bucket} is full: {answer}"))
        }
        (_, Some(answer)) => CallError::provider(format!("{bucket} takes no writes: {answer}")).into(),
        (PublishErrorKind::StreamNotFound, _) => CallError::no_target(format!("{bucket} is not there")).into(),
        (PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe, _) => {
            CallError::new(CallErrorKind::UnknownOutcome, format!("{bucket} did not answer")).into()
        }
        (kind, _) => CallError::provider(format!("{bucket} failed: {kind}")).into(),
    }
}

/// A read that failed; not for want of the key.
pub(super) fn of_get(bucket: &str, error: &DirectGetError) -> Failure {
    let message = match error.kind() {
        DirectGetErrorKind::TimedOut => format!("{bucket} did not answer"),
        kind => format!("{bucket} cannot be read: {kind}"),
    };
    CallError::provider(message).into()
}
