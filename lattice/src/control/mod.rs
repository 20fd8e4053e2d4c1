//! The typed client of the control interface v1, for the command line and for wadm: [`Client`].
//!
//! Hosts acknowledge a command at once and report by event what came of it. [`Client::scale`] and its like wait for
//! that event; [`outcome`] tells which event belongs to which command. Requests that all hosts answer are gathered in
//! [`gather`].

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::id::{ConfigName, EntityId, HostId, LatticeName, SecretName};
use crate::message::command::{
    ComponentAuction, ComponentBid, DeleteLink, HostLabel, ProviderAuction, ProviderBid, Reply, ScaleComponent,
    StartProvider, StopHost, StopProvider, StringMap, UpdateComponent,
};
use crate::message::fence;
use crate::message::inventory::{HostInventory, HostSummary};
use crate::message::link::Link;
use crate::subject::{ConfigVerb, Control, HostOperation, LatticeOperation, Subject};
use crate::transport::SharedTransport;

mod gather;
mod outcome;
mod secrets;

use self::outcome::{Awaited, Outcomes};

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// One request to one host.
    pub request: Duration,
    /// The answers of all hosts.
    pub gather: Duration,
    /// The pause after an answer that means that there are no more.
    pub quiet: Duration,
    /// From a command's acknowledgement to the event that tells what came of it.
    pub outcome: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(2),
            gather: Duration::from_secs(2),
            quiet: Duration::from_millis(300),
            outcome: Duration::from_secs(60),
        }
    }
}

/// What a command to one host is waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Until {
    /// The event that tells what came of it.
    #[default]
    Outcome,
    /// The host's word that it took the command.
    Taken,
}

/// Asks the hosts of one lattice. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    transport: SharedTransport,
    lattice: LatticeName,
    control: Control,
    patience: Patience,
    terms: fence::Terms,
    until: Until,
    through: Option<HostId>,
}

impl Client {
    /// A client for `lattice`.
    pub fn new(transport: SharedTransport, lattice: LatticeName) -> Self {
        Self {
            control: Control::new(&lattice),
            transport,
            lattice,
            patience: Patience::default(),
            terms: fence::Terms::default(),
            until: Until::Outcome,
            through: None,
        }
    }

    /// The same with other times.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// The same with a fencing token in each command that changes what runs: hosts that know a higher one refuse.
    #[must_use]
    pub fn with_fence(mut self, fence: u64) -> Self {
        self.terms.token = Some(fence);
        self
    }

    /// The same with `terms` in each command that changes what runs.
    #[must_use]
    pub fn on_terms(mut self, terms: fence::Terms) -> Self {
        self.terms = terms;
        self
    }

    /// The same, with what is asked of links and configs asked of `host` instead of any host.
    #[must_use]
    pub fn through(mut self, host: HostId) -> Self {
        self.through = Some(host);
        self
    }

    /// The same, waiting for commands in another way.
    #[must_use]
    pub fn waiting(mut self, until: Until) -> Self {
        self.until = until;
        self
    }

    /// The lattice.
    pub fn lattice(&self) -> &LatticeName {
        &self.lattice
    }

    /// All hosts that answer, sorted by name; empty when there are none.
    pub async fn hosts(&self) -> Result<Vec<HostSummary>> {
        let mut hosts: Vec<HostSummary> = self.gather(LatticeOperation::HostPing, Bytes::new()).await?;
        hosts.sort_by(|one, other| (&one.friendly_name, &one.id).cmp(&(&other.friendly_name, &other.id)));
        Ok(hosts)
    }

    /// What a host runs.
    pub async fn inventory(&self, host: &HostId) -> Result<HostInventory> {
        self.query(Asked::host(HostOperation::HostGet, host), Bytes::new()).await
    }

    /// The hosts that would run a component: those that have all labels asked for and do not run it yet.
    pub async fn auction_component(&self, auction: &ComponentAuction) -> Result<Vec<ComponentBid>> {
        self.gather(LatticeOperation::ComponentAuction, encode(auction)).await
    }

    /// The hosts that would run a provider: those that have all labels asked for and do not run it yet.
    pub async fn auction_provider(&self, auction: &ProviderAuction) -> Result<Vec<ProviderBid>> {
        self.gather(LatticeOperation::ProviderAuction, encode(auction)).await
    }

    /// Scales a component and waits until the host says what came of it; 0 stops it. Returns what the host remarked.
    pub async fn scale(&self, scale: &ScaleComponent) -> Result<String> {
        let asked = Asked::host(HostOperation::ComponentScale, &scale.host_id);
        let awaited = Awaited::scaled(&scale.component_id, scale.count);
        self.command_and_wait(asked, self.fenced(scale), awaited).await
    }

    /// Replaces a running component's bytes and waits until the host says what came of it.
    pub async fn update(&self, update: &UpdateComponent) -> Result<String> {
        let asked = Asked::host(HostOperation::ComponentUpdate, &update.host_id);
        let awaited = Awaited::updated(&update.component_id, &update.new_component_ref);
        self.command_and_wait(asked, self.fenced(update), awaited).await
    }

    /// Starts a provider and waits until the host says what came of it.
    pub async fn start_provider(&self, start: &StartProvider) -> Result<String> {
        let asked = Asked::host(HostOperation::ProviderStart, &start.host_id);
        self.command_and_wait(asked, self.fenced(start), Awaited::provider_started(&start.provider_id)).await
    }

    /// Stops a provider and waits until it is stopped.
    pub async fn stop_provider(&self, host: &HostId, provider: &EntityId) -> Result<String> {
        let stop = StopProvider { host_id: host.clone(), provider_id: provider.clone() };
        let asked = Asked::host(HostOperation::ProviderStop, host);
        self.command_and_wait(asked, self.fenced(&stop), Awaited::provider_stopped(provider)).await
    }

    /// Stops a host, which may drain for `drain`, and waits until it is stopped.
    pub async fn stop_host(&self, host: &HostId, drain: Duration) -> Result<String> {
        let timeout = u64::try_from(drain.as_millis()).unwrap_or(u64::MAX);
        let stop = StopHost { host_id: Some(host.clone()), timeout: Some(timeout) };
        let patience = Patience { outcome: self.patience.outcome.max(drain * 2), ..self.patience };
        let client = self.clone().with_patience(patience);
        let asked = Asked::host(HostOperation::HostStop, host);
        client.command_and_wait(asked, encode(&stop), Awaited::host_stopped()).await
    }

    /// Sets a label of a host.
    pub async fn put_label(&self, host: &HostId, label: &HostLabel) -> Result<String> {
        self.command(Asked::host(HostOperation::LabelPut, host), encode(label)).await
    }

    /// Removes a label of a host; succeeds when there is none.
    pub async fn delete_label(&self, host: &HostId, key: &str) -> Result<String> {
        let label = HostLabel { key: key.to_owned(), value: String::new() };
        self.command(Asked::host(HostOperation::LabelDel, host), encode(&label)).await
    }

    /// All links.
    pub async fn links(&self) -> Result<Vec<Link>> {
        self.query(Asked::lattice(LatticeOperation::LinkGet), Bytes::new()).await
    }

    /// Puts a link.
    pub async fn put_link(&self, link: &Link) -> Result<String> {
        self.command(Asked::lattice(LatticeOperation::LinkPut), self.fenced(link)).await
    }

    /// Deletes a link; succeeds when there is none.
    pub async fn delete_link(&self, link: &DeleteLink) -> Result<String> {
        self.command(Asked::lattice(LatticeOperation::LinkDel), self.fenced(link)).await
    }

    /// The claims of what has been started, as flat maps of strings.
    pub async fn claims(&self) -> Result<Vec<StringMap>> {
        self.query(Asked::lattice(LatticeOperation::ClaimsGet), Bytes::new()).await
    }

    /// Writes a config.
    pub async fn put_config(&self, name: &ConfigName, config: &StringMap) -> Result<String> {
        self.command(Asked::Config(ConfigVerb::Put, name.clone()), self.fenced(config)).await
    }

    /// A config; `None` when there is none of that name.
    pub async fn config(&self, name: &ConfigName) -> Result<Option<StringMap>> {
        let reply = self.ask::<StringMap>(&Asked::Config(ConfigVerb::Get, name.clone()), Bytes::new()).await?;
        Ok(reply.response)
    }

    /// Deletes a config; succeeds when there is none.
    pub async fn delete_config(&self, name: &ConfigName) -> Result<String> {
        let has_terms = self.terms != fence::Terms::default();
        let request = if has_terms { self.fenced(&()) } else { Bytes::new() };
        self.command(Asked::Config(ConfigVerb::Del, name.clone()), request).await
    }

    fn fenced(&self, command: &impl Serialize) -> Bytes {
        fence::encode(command, self.terms).into()
    }

    async fn gather<T: DeserializeOwned>(&self, operation: LatticeOperation, request: Bytes) -> Result<Vec<T>> {
        let subject = self.control.on_lattice(operation);
        let replies = gather::replies(&self.transport, subject, request, self.patience).await?;
        // A host that answers nonsense must not hide those that answer well.
        let answers = replies.iter().filter_map(|payload| serde_json::from_slice::<Reply<T>>(payload).ok());
        Ok(answers.filter(|reply| reply.success).filter_map(|reply| reply.response).collect())
    }

    async fn query<T: DeserializeOwned>(&self, asked: Asked, request: Bytes) -> Result<T> {
        let reply = self.ask::<T>(&asked, request).await?;
        reply.response.ok_or_else(|| {
            let message = format!("{} answered {asked} without an answer in it: {:?}", asked.whom(), reply.message);
            Error::new(ErrorKind::Malformed, message)
        })
    }

    async fn command(&self, asked: Asked, request: Bytes) -> Result<String> {
        let reply = self.ask::<serde_json::Value>(&asked, request).await?;
        Ok(reply.message)
    }

    async fn command_and_wait(&self, asked: Asked, request: Bytes, awaited: Awaited) -> Result<String> {
        let Asked::Host(_, host) = &asked else { return self.command(asked, request).await };
        if self.until == Until::Taken {
            return self.command(asked, request).await;
        }
        let host = host.clone();
        let outcomes = Outcomes::listen(&self.transport, &self.lattice).await?;
        let remark = self.command(asked, request).await?;
        outcomes.wait_for(&awaited, &host, self.patience.outcome).await?;
        Ok(remark)
    }

    /// Asks and checks the envelope.
    async fn ask<T: DeserializeOwned>(&self, asked: &Asked, request: Bytes) -> Result<Reply<T>> {
        let subject = asked.subject(&self.control, self.through.as_ref());
        let answer = self.transport.request(subject, request, self.patience.request).await;
        let message = answer.map_err(|error| self.explain(asked, error))?;
        let reply: Reply<T> = serde_json::from_slice(&message.payload).map_err(|error| {
            let message = format!("{} answered {asked} with something that is not control v1: {error}", asked.whom());
            Error::new(ErrorKind::Malformed, message)
        })?;
        if !reply.success {
            let message = format!("{} refused {asked}: {}", asked.whom(), reply.message);
            return Err(Error::new(ErrorKind::Refused, message));
        }
        Ok(reply)
    }

    /// The same error, with whom and what was asked.
    fn explain(&self, asked: &Asked, error: Error) -> Error {
        let lattice = &self.lattice;
        let message = match (error.kind(), asked) {
            (ErrorKind::NoResponders, Asked::Host(..)) => {
                format!("no {} in lattice {lattice} takes {asked}: it is gone, or never was there", asked.whom())
            }
            (ErrorKind::NoResponders, _) => format!("no host of lattice {lattice} is there to take {asked}"),
            (ErrorKind::Timeout, _) => {
                format!("{} did not answer {asked} within {:?}", asked.whom(), self.patience.request)
            }
            _ => format!("{asked} could not be sent: {error}"),
        };
        Error::new(error.kind(), message).with_source(error)
    }
}

/// An operation and whom it is for; prints as the operation.
#[derive(Debug)]
enum Asked {
    Host(HostOperation, HostId),
    Lattice(LatticeOperation),
    Config(ConfigVerb, ConfigName),
    Secret(ConfigVerb, SecretName),
}

impl Asked {
    fn host(operation: HostOperation, host: &HostId) -> Self {
        Self::Host(operation, host.clone())
    }

    fn lattice(operation: LatticeOperation) -> Self {
        Self::Lattice(operation)
    }

    fn subject(&self, control: &Control, through: Option<&HostId>) -> Subject {
        let shared = match self {
            Self::Host(operation, host) => return control.on_host(*operation, host),
            Self::Lattice(operation) => control.on_lattice(*operation),
            Self::Config(verb, name) => control.on_config(*verb, name),
            Self::Secret(verb, name) => control.on_secret(*verb, name),
        };
        through.and_then(|host| control.named(&shared, host)).unwrap_or(shared)
    }

    fn whom(&self) -> String {
        match self {
            Self::Host(_, host) => format!("host {host}"),
            Self::Lattice(_) | Self::Config(..) | Self::Secret(..) => "the lattice".to_owned(),
        }
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(operation, _) => f.write_str(operation.tail()),
            Self::Lattice(operation) => f.write_str(operation.tail()),
            Self::Config(verb, name) => write!(f, "config.{} of {name}", verb.as_str()),
            Self::Secret(verb, name) => write!(f, "secret.{} of {name}", verb.as_str()),
        }
    }
}

fn encode(request: &impl Serialize) -> Bytes {
    serde_json::to_vec(request).expect("requests are maps of strings, lists and numbers").into()
}
