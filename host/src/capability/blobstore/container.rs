//! wasi:blobstore/container: what is in a container.

use trellis_interfaces::blobstore::{self as wire, function};
use trellis_lattice::id::LinkName;
use wasmtime::component::Resource;

use super::Outcome;
use super::generated::container::{Host, HostContainer};
use super::generated::types::{ContainerMetadata, ObjectMetadata};
use super::incoming::IncomingValue;
use super::names::Listing;
use super::outgoing::OutgoingValue;
use crate::runtime::State;

/// A container as a guest holds it: nothing is open, each call names it again.
#[derive(Debug, Clone)]
#[expect(unreachable_pub, reason = "the generated code exports it")]
pub struct Container {
    pub(super) link: LinkName,
    pub(super) name: String,
}

impl State {
    fn container(&self, container: &Resource<Container>) -> wasmtime::Result<Container> {
        Ok(self.table.get(container)?.clone())
    }
}

impl Host for State {}

impl HostContainer for State {
    async fn name(&mut self, container: Resource<Container>) -> Outcome<String> {
        Ok(Ok(self.container(&container)?.name))
    }

    async fn info(&mut self, container: Resource<Container>) -> Outcome<ContainerMetadata> {
        let Container { link, name } = self.container(&container)?;
        let params = wire::ContainerInfo { name };
        let info = self.blobstore::<wire::ContainerMetadata>(link, function::CONTAINER_INFO, &params).await?;
        Ok(info.map(|wire::ContainerMetadata { name, created_at }| ContainerMetadata { name, created_at }))
    }

    async fn get_data(
        &mut self,
        container: Resource<Container>,
        object: String,
        start: u64,
        end: u64,
    ) -> Outcome<Resource<IncomingValue>> {
        let Container { link, name } = self.container(&container)?;
        let params = wire::GetData { container: name, object, start, end };
        match self.blobstore_answer::<wire::Data>(link, function::GET_DATA, &params).await? {
            Ok((wire::Data { size }, body)) => Ok(Ok(self.table.push(IncomingValue { size, body })?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn write_data(
        &mut self,
        container: Resource<Container>,
        object: String,
        value: Resource<OutgoingValue>,
    ) -> Outcome<()> {
        let Container { link, name } = self.container(&container)?;
        self.send_value(&value, link, &wire::WriteData { container: name, object }).await
    }

    async fn list_objects(&mut self, container: Resource<Container>) -> Outcome<Resource<Listing>> {
        let mut listing = Listing::of(self.container(&container)?);
        // A container that is not there is told now, not with the first name.
        match self.next_page(&mut listing).await? {
            Ok(()) => Ok(Ok(self.table.push(listing)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn delete_object(&mut self, container: Resource<Container>, object: String) -> Outcome<()> {
        self.delete_objects(container, vec![object]).await
    }

    async fn delete_objects(&mut self, container: Resource<Container>, objects: Vec<String>) -> Outcome<()> {
        let Container { link, name } = self.container(&container)?;
        self.blobstore(link, function::DELETE_OBJECTS, &wire::DeleteObjects { container: name, objects }).await
    }

    async fn has_object(&mut self, container: Resource<Container>, object: String) -> Outcome<bool> {
        let Container { link, name } = self.container(&container)?;
        self.blobstore(link, function::HAS_OBJECT, &wire::HasObject { container: name, object }).await
    }

    async fn object_info(&mut self, container: Resource<Container>, object: String) -> Outcome<ObjectMetadata> {
        let Container { link, name } = self.container(&container)?;
        let params = wire::ObjectInfo { container: name, object };
        let info = self.blobstore::<wire::ObjectMetadata>(link, function::OBJECT_INFO, &params).await?;
        Ok(info.map(|wire::ObjectMetadata { name, container, created_at, size }| ObjectMetadata {
            name,
            container,
            created_at,
            size,
        }))
    }

    async fn clear(&mut self, container: Resource<Container>) -> Outcome<()> {
        let Container { link, name } = self.container(&container)?;
        self.blobstore(link, function::CLEAR, &wire::Clear { container: name }).await
    }

    async fn drop(&mut self, container: Resource<Container>) -> wasmtime::Result<()> {
        self.table.delete(container)?;
        Ok(())
    }
}
