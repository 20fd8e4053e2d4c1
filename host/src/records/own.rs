//! Records of providers: what the instances of one share over the lattice's store.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::timeout;
use trellis_lattice::error::{Error, ErrorKind};
use trellis_lattice::id::EntityId;
use trellis_lattice::store::{Expect, Revision, SharedStore};
use trellis_provider_sdk::{Record, RecordError, Records as Shared};

use super::{Records, STORE_TIMEOUT, key};

impl Records {
    /// The records of `provider`.
    pub(crate) fn of_provider(&self, provider: &EntityId) -> Arc<dyn Shared> {
        Arc::new(Own { store: Arc::clone(&self.store), provider: provider.clone() })
    }
}

struct Own {
    store: SharedStore,
    provider: EntityId,
}

#[async_trait]
impl Shared for Own {
    async fn read(&self, name: &str) -> Result<Option<Record>, RecordError> {
        let record = within(self.store.get(&key::own(&self.provider, name))).await?;
        Ok(record.map(|record| Record { value: record.value, revision: record.revision.0 }))
    }

    async fn write(&self, name: &str, value: Bytes, expected: Option<u64>) -> Result<u64, RecordError> {
        let expect = expected.map_or(Expect::Absent, |revision| Expect::At(Revision(revision)));
        let Revision(revision) = within(self.store.put(&key::own(&self.provider, name), value, expect)).await?;
        Ok(revision)
    }
}

async fn within<T>(operation: impl Future<Output = Result<T, Error>>) -> Result<T, RecordError> {
    match timeout(STORE_TIMEOUT, operation).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if error.kind() == ErrorKind::Conflict => Err(RecordError::Conflict),
        Ok(Err(error)) => Err(RecordError::Unavailable(error.to_string())),
        Err(_) => Err(RecordError::Unavailable(format!("no answer within {} s", STORE_TIMEOUT.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use trellis_lattice::store::memory::MemoryStore;
    use trellis_provider_sdk::{RecordError, Records as _};

    use super::Own;

    #[tokio::test]
    async fn one_of_several_instances_writes_a_record_and_other_providers_have_others() {
        let store = Arc::new(MemoryStore::new());
        let own = |id: &str| Own { store: store.clone(), provider: id.parse().expect("valid") };
        let (here, there, other) = (own("timer"), own("timer"), own("other"));
        assert_eq!(here.read("any text: é").await, Ok(None));
        let first = here.write("any text: é", "1".into(), None).await.expect("is the first");
        assert_eq!(there.write("any text: é", "2".into(), None).await, Err(RecordError::Conflict));
        let seen = there.read("any text: é").await.expect("reads").expect("is there");
        assert_eq!((&seen.value[..], seen.revision), (&b"1"[..], first));
        assert_eq!(other.read("any text: é").await, Ok(None));
        let second = there.write("any text: é", "2".into(), Some(first)).await.expect("has seen the first");
        assert_eq!(here.write("any text: é", "3".into(), Some(first)).await, Err(RecordError::Conflict));
        assert_ne!(first, second);
    }
}
