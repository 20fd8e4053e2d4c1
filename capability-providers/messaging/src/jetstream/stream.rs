//! The stream: it is made, or made to keep more, as far as links need that.

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{ErrorCode, context};
use trellis_provider_sdk::LinkError;

use super::Inner;
use crate::subject::Pattern;

/// How often others may change the stream meanwhile.
const MAX_RACES: usize = 8;

/// Sees to it that the stream keeps all of `wanted`. Nothing is taken from it.
pub(super) async fn prepare(inner: &Inner, wanted: &[Pattern]) -> Result<(), LinkError> {
    for _ in 0..MAX_RACES {
        let Some(config) = look_up(inner).await? else {
            if wanted.is_empty() {
                return Ok(());
            }
            create(inner, wanted).await?;
            continue;
        };
        let subjects = with(&config.subjects, wanted);
        if subjects == config.subjects {
            let kept: Vec<Pattern> = subjects.iter().filter_map(|subject| Pattern::parse(subject)).collect();
            inner.kept.store(kept.into());
            return Ok(());
        }
        // Another one may do the same now, and the server knows no order of that: it is looked at again.
        let updated = inner.context.update_stream(Config { subjects, ..config }).await;
        updated.map_err(|error| unavailable(inner, "made to keep more subjects", &error))?;
    }
    Err(LinkError::Unavailable(format!("stream {} is being changed by others again and again", inner.stream.name)))
}

async fn look_up(inner: &Inner) -> Result<Option<Config>, LinkError> {
    match inner.context.get_stream(&inner.stream.name).await {
        Ok(stream) => Ok(Some(stream.cached_info().config.clone())),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(unavailable(inner, "looked up", &error)),
    }
}

async fn create(inner: &Inner, wanted: &[Pattern]) -> Result<(), LinkError> {
    let config = Config {
        name: inner.stream.name.clone(),
        description: Some("messages of Trellis actors".to_owned()),
        subjects: with(&[], wanted),
        storage: StorageType::File,
        max_age: inner.stream.max_age,
        num_replicas: inner.stream.replicas,
        ..Config::default()
    };
    match inner.context.create_stream(config).await {
        Err(error) if !is_made_by_another(&error) => Err(create_error(inner, &error)),
        _ => Ok(()),
    }
}

/// `kept`, and what of `wanted` it does not cover; nothing twice, because a server refuses that.
fn with(kept: &[String], wanted: &[Pattern]) -> Vec<String> {
    let mut subjects = kept.to_vec();
    for pattern in wanted {
        let covers = |subject: &String| Pattern::parse(subject).is_some_and(|subject| subject.covers(pattern));
        if !subjects.iter().any(covers) {
            subjects.retain(|subject| !Pattern::parse(subject).is_some_and(|subject| pattern.covers(&subject)));
            subjects.push(pattern.as_str().to_owned());
        }
    }
    subjects
}

fn is_absent(error: &context::GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(answer) if answer.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

fn is_made_by_another(error: &context::CreateStreamError) -> bool {
    matches!(
        error.kind(),
        CreateStreamErrorKind::JetStream(answer) if answer.error_code() == ErrorCode::STREAM_NAME_EXIST
    )
}

fn create_error(inner: &Inner, error: &context::CreateStreamError) -> LinkError {
    match error.kind() {
        CreateStreamErrorKind::JetStreamUnavailable => without_jetstream(inner),
        CreateStreamErrorKind::JetStream(answer) if answer.error_code() == ErrorCode::STREAM_SUBJECT_OVERLAP => {
            LinkError::Unavailable(format!(
                "another stream keeps some of the subjects that stream {} is to keep: name that one in link config \
                 key \"stream\"",
                inner.stream.name
            ))
        }
        _ => unavailable(inner, "made", error),
    }
}

fn without_jetstream(inner: &Inner) -> LinkError {
    let servers = inner.connection.servers();
    LinkError::Unavailable(format!("nats-server at {servers} runs without JetStream; start it with `-js`"))
}

fn unavailable(inner: &Inner, what: &str, error: &dyn std::error::Error) -> LinkError {
    let (name, servers) = (&inner.stream.name, inner.connection.servers());
    if !inner.connection.server_info().jetstream {
        return without_jetstream(inner);
    }
    LinkError::Unavailable(format!("stream {name} at {servers} cannot be {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::with;
    use crate::subject::Pattern;

    #[test]
    fn a_stream_comes_to_keep_what_is_wanted_and_nothing_twice() {
        let check = |kept: &[&str], wanted: &[&str], expected: &[&str]| {
            let kept: Vec<String> = kept.iter().map(|&subject| subject.to_owned()).collect();
            let wanted: Vec<Pattern> = wanted.iter().map(|text| Pattern::parse(text).expect("a pattern")).collect();
            assert_eq!(with(&kept, &wanted), expected, "{kept:?} with {wanted:?}");
        };
        check(&[], &["a.b", "c.>"], &["a.b", "c.>"]);
        check(&["a.>"], &["a.b", "a.*.c"], &["a.>"]);
        check(&["a.b", "d"], &["a.*"], &["d", "a.*"]);
        check(&["a.*"], &["a.*", "a.b.c"], &["a.*", "a.b.c"]);
    }
}
