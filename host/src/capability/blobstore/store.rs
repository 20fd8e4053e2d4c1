//! wasi:blobstore/blobstore: containers by name, and objects between them.

use trellis_interfaces::blobstore::{self as wire, function};
use wasmtime::component::Resource;

use super::Outcome;
use super::container::Container;
use super::generated::blobstore::Host;
use super::generated::types::ObjectId;
use crate::runtime::State;

impl State {
    fn opened(&mut self, name: String) -> wasmtime::Result<Resource<Container>> {
        let link = self.blobstore_link();
        Ok(self.table.push(Container { link, name })?)
    }
}

fn plain(id: ObjectId) -> wire::ObjectId {
    wire::ObjectId { container: id.container, object: id.object }
}

impl Host for State {
    async fn create_container(&mut self, name: String) -> Outcome<Resource<Container>> {
        let params = wire::CreateContainer { name: name.clone() };
        let link = self.blobstore_link();
        match self.blobstore::<wire::ContainerMetadata>(link, function::CREATE_CONTAINER, &params).await? {
            Ok(_) => Ok(Ok(self.opened(name)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn get_container(&mut self, name: String) -> Outcome<Resource<Container>> {
        let params = wire::GetContainer { name: name.clone() };
        let link = self.blobstore_link();
        match self.blobstore::<wire::ContainerMetadata>(link, function::GET_CONTAINER, &params).await? {
            Ok(_) => Ok(Ok(self.opened(name)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn delete_container(&mut self, name: String) -> Outcome<()> {
        self.blobstore(self.blobstore_link(), function::DELETE_CONTAINER, &wire::DeleteContainer { name }).await
    }

    async fn container_exists(&mut self, name: String) -> Outcome<bool> {
        self.blobstore(self.blobstore_link(), function::CONTAINER_EXISTS, &wire::ContainerExists { name }).await
    }

    async fn copy_object(&mut self, src: ObjectId, dest: ObjectId) -> Outcome<()> {
        let params = wire::CopyObject { source: plain(src), destination: plain(dest) };
        self.blobstore(self.blobstore_link(), function::COPY_OBJECT, &params).await
    }

    async fn move_object(&mut self, src: ObjectId, dest: ObjectId) -> Outcome<()> {
        let params = wire::MoveObject { source: plain(src), destination: plain(dest) };
        self.blobstore(self.blobstore_link(), function::MOVE_OBJECT, &params).await
    }
}
