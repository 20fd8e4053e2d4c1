//! An actor that calls over its link.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use trellis_interfaces::blobstore::{
    BLOBSTORE, ContainerMetadata, Data, Error, Names, ObjectId, ObjectMetadata, function,
};
use trellis_provider_sdk::testing::{as_target, invocation, link, value};
use trellis_provider_sdk::{ActiveLink, Body, CallError, Link, Provider};

/// The link of the actor `id`.
pub(crate) fn link_of(id: &str) -> Link {
    link(id, "blobs", &["wasi:blobstore/blobstore"])
}

/// That link with its config.
pub(crate) fn linked(id: &str, pairs: &[(&str, &str)]) -> ActiveLink {
    as_target(link_of(id), pairs)
}

/// A body of these frames.
pub(crate) fn frames(frames: Vec<Result<Bytes, CallError>>) -> Body {
    Body::stream(StreamBody::new(stream::iter(frames.into_iter().map(|frame| frame.map(Frame::data)))))
}

/// A body that comes in pieces.
pub(crate) fn body(bytes: &[u8]) -> Body {
    frames(bytes.chunks(70_001).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect())
}

/// An actor.
#[derive(Clone)]
pub(crate) struct Actor {
    provider: Arc<dyn Provider>,
    link: Link,
    /// The time that its calls have.
    pub(crate) budget: Duration,
}

impl Actor {
    /// The actor `id`.
    pub(crate) fn new(provider: &Arc<dyn Provider>, id: &str) -> Self {
        Self { provider: provider.clone(), link: link_of(id), budget: Duration::from_secs(20) }
    }

    /// Calls with a body; the value and the body of the answer.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        function: &str,
        args: &impl Serialize,
        body: Body,
    ) -> Result<Result<(T, Body), Error>, CallError> {
        let mut invocation = invocation(&self.link, BLOBSTORE, function, args);
        invocation.body = body;
        invocation.head.context.deadline = Instant::now() + self.budget;
        let answer = self.provider.call(invocation).await?;
        let result: Result<T, Error> = value(&answer)?;
        Ok(result.map(|value| (value, answer.body)))
    }

    async fn call<T: DeserializeOwned>(&self, function: &str, args: &impl Serialize) -> Result<T, Error> {
        self.send(function, args, Body::Empty).await.unwrap().map(|(value, _)| value)
    }

    pub(crate) async fn create(&self, name: &str) -> Result<ContainerMetadata, Error> {
        self.call(function::CREATE_CONTAINER, &(name,)).await
    }

    pub(crate) async fn open(&self, name: &str) -> Result<ContainerMetadata, Error> {
        self.call(function::GET_CONTAINER, &(name,)).await
    }

    pub(crate) async fn exists(&self, name: &str) -> Result<bool, Error> {
        self.call(function::CONTAINER_EXISTS, &(name,)).await
    }

    pub(crate) async fn container_info(&self, name: &str) -> Result<ContainerMetadata, Error> {
        self.call(function::CONTAINER_INFO, &(name,)).await
    }

    pub(crate) async fn delete_container(&self, name: &str) -> Result<(), Error> {
        self.call(function::DELETE_CONTAINER, &(name,)).await
    }

    pub(crate) async fn clear(&self, name: &str) -> Result<(), Error> {
        self.call(function::CLEAR, &(name,)).await
    }

    /// Writes an object of the container `c`.
    pub(crate) async fn put(&self, object: &str, bytes: &[u8]) -> Result<(), Error> {
        self.put_in("c", object, bytes).await
    }

    pub(crate) async fn put_in(&self, container: &str, object: &str, bytes: &[u8]) -> Result<(), Error> {
        self.write(container, object, body(bytes)).await.unwrap_or_else(|error| panic!("{object:?}: {error}"))
    }

    pub(crate) async fn write(
        &self,
        container: &str,
        object: &str,
        body: Body,
    ) -> Result<Result<(), Error>, CallError> {
        let sent = self.send(function::WRITE_DATA, &(container, object), body).await?;
        Ok(sent.map(|((), _)| ()))
    }

    /// Reads an object of the container `c`.
    pub(crate) async fn get(&self, object: &str) -> Result<Bytes, Error> {
        self.get_piece(object, 0, u64::MAX).await
    }

    pub(crate) async fn get_in(&self, container: &str, object: &str) -> Result<Bytes, Error> {
        self.read(container, object, 0, u64::MAX).await.unwrap()
    }

    pub(crate) async fn get_piece(&self, object: &str, start: u64, end: u64) -> Result<Bytes, Error> {
        self.read("c", object, start, end).await.unwrap()
    }

    /// Reads a piece to its end, which must be of the size that was said.
    pub(crate) async fn read(
        &self,
        container: &str,
        object: &str,
        start: u64,
        end: u64,
    ) -> Result<Result<Bytes, Error>, CallError> {
        let sent = self.send::<Data>(function::GET_DATA, &(container, object, start, end), Body::Empty).await?;
        let (Data { size }, body) = match sent {
            Ok(sent) => sent,
            Err(error) => return Ok(Err(error)),
        };
        let bytes = body.collect(1 << 30).await?;
        assert_eq!(bytes.len() as u64, size);
        Ok(Ok(bytes))
    }

    pub(crate) async fn has(&self, object: &str) -> Result<bool, Error> {
        self.call(function::HAS_OBJECT, &("c", object)).await
    }

    pub(crate) async fn info(&self, object: &str) -> Result<ObjectMetadata, Error> {
        self.call(function::OBJECT_INFO, &("c", object)).await
    }

    pub(crate) async fn delete(&self, objects: &[&str]) -> Result<(), Error> {
        self.call(function::DELETE_OBJECTS, &("c", objects)).await
    }

    pub(crate) async fn copy(&self, from: (&str, &str), to: (&str, &str)) -> Result<(), Error> {
        self.call(function::COPY_OBJECT, &(id(from), id(to))).await
    }

    pub(crate) async fn rename(&self, from: (&str, &str), to: (&str, &str)) -> Result<(), Error> {
        self.call(function::MOVE_OBJECT, &(id(from), id(to))).await
    }

    pub(crate) async fn page(&self, cursor: Option<&str>, limit: u32) -> Result<Names, Error> {
        self.call(function::LIST_OBJECTS, &("c", cursor, limit)).await
    }

    /// All names of the container `c`, in pages.
    pub(crate) async fn list(&self, limit: u32) -> Vec<String> {
        let (mut names, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.page(cursor.as_deref(), limit).await.unwrap();
            assert!(page.names.len() <= limit as usize, "{page:?}");
            names.extend(page.names);
            match page.cursor {
                Some(next) => cursor = Some(next),
                None => return names,
            }
        }
    }
}

fn id((container, object): (&str, &str)) -> ObjectId {
    ObjectId { container: container.to_owned(), object: object.to_owned() }
}
