//! Records of a provider that is a process: they travel as calls of an interface that the host itself answers.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::links;
use crate::{
    Answer, Args, Body, Call, CallError, Caller, Context, EntityId, Interface, LinkName, Record, RecordError, Records,
    wire,
};

static RECORDS: LazyLock<Interface> =
    LazyLock::new(|| Interface::parse("trellis:host/records@0.1.0").expect("the name is well formed"));
const READ: &str = "read";
const WRITE: &str = "write";

/// The longest that the host may take: a little more than it waits for the store.
const TIMEOUT: Duration = Duration::from_secs(6);

/// The process's end.
pub(super) struct FromHost {
    /// The provider.
    pub(super) id: EntityId,
    /// What reaches the host.
    pub(super) caller: Arc<dyn Caller>,
}

impl FromHost {
    async fn ask<T: DeserializeOwned>(&self, function: &str, args: &impl Serialize) -> Result<T, RecordError> {
        let unavailable = |error: CallError| RecordError::Unavailable(error.message);
        let call = Call {
            source: self.id.clone(),
            link: LinkName::default(),
            interface: RECORDS.clone(),
            function: function.into(),
            signature: None,
            context: Context::root(TIMEOUT),
            args: wire::encode(args).map_err(unavailable)?,
            body: Body::Empty,
        };
        let answer = tokio::time::timeout(TIMEOUT, self.caller.call(call)).await;
        let answer = answer.map_err(|_| RecordError::Unavailable("the host did not answer".to_owned()))?;
        wire::decode::<Result<T, RecordError>>(&answer.map_err(unavailable)?.value).map_err(unavailable)?
    }
}

#[async_trait]
impl Records for FromHost {
    async fn read(&self, key: &str) -> Result<Option<Record>, RecordError> {
        self.ask(READ, &(key,)).await
    }

    async fn write(&self, key: &str, value: Bytes, expected: Option<u64>) -> Result<u64, RecordError> {
        self.ask(WRITE, &(key, value, expected)).await
    }
}

/// The host's end: what a process calls with, and what the host answers itself among it.
pub struct WithHost {
    caller: Arc<dyn Caller>,
    records: Arc<dyn Records>,
}

impl WithHost {
    /// Answers calls about records from `records`, and about links what `caller` says; passes all others to it.
    pub fn new(caller: Arc<dyn Caller>, records: Arc<dyn Records>) -> Arc<Self> {
        Arc::new(Self { caller, records })
    }
}

#[async_trait]
impl Caller for WithHost {
    async fn call(&self, call: Call<Args>) -> Result<Answer<Args>, CallError> {
        if links::is_asked(&call) {
            return links::answer(&*self.caller, call).await;
        }
        if call.interface != *RECORDS {
            return self.caller.call(call).await;
        }
        let value = match &*call.function {
            READ => {
                let (key,): (String,) = wire::decode(&call.args)?;
                wire::encode(&self.records.read(&key).await)?
            }
            WRITE => {
                let (key, value, expected): (String, Bytes, Option<u64>) = wire::decode(&call.args)?;
                wire::encode(&self.records.write(&key, value, expected).await)?
            }
            other => return Err(CallError::contract(format!("{other} is not a function of {}", *RECORDS))),
        };
        Ok(Answer { value, body: Body::Empty })
    }
}

#[cfg(test)]
mod tests {
    use super::{FromHost, WithHost};
    use crate::testing::{id, nobody, records};
    use crate::{RecordError, Records as _};

    #[tokio::test]
    async fn a_process_has_the_records_of_its_host() {
        let shared = records();
        let process = FromHost { id: id("timer"), caller: WithHost::new(nobody(), shared.clone()) };
        assert_eq!(process.read("k").await, Ok(None));
        let revision = process.write("k", "v".into(), None).await.expect("is the first");
        assert_eq!(process.write("k", "w".into(), None).await, Err(RecordError::Conflict));
        let seen = shared.read("k").await.expect("reads").expect("is there");
        assert_eq!((process.read("k").await, seen.revision), (Ok(Some(seen.clone())), revision));
        let alone = FromHost { id: id("timer"), caller: nobody() };
        assert!(matches!(alone.read("k").await, Err(RecordError::Unavailable(_))));
    }
}
