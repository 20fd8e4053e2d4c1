//! Which lattice a command is for, and the connection to it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use trellis_host::artifact::registry::{Access, Registries};
use trellis_lattice::control::{Client, Patience};
use trellis_lattice::error::ErrorKind;
use trellis_lattice::id::{EntityId, HostId, LatticeName};
use trellis_lattice::message::inventory::{HostInventory, HostSummary};
use trellis_lattice::secret::Secret;
use trellis_lattice::transport::SharedTransport;
use trellis_lattice::transport::nats::{Credentials, NatsOptions, NatsTransport};

use crate::args::{Global, Nats, Registry};
use crate::data_dir::{self, DataDir};
use crate::key_store::KeyStore;
use crate::output::Output;

/// The pause after which no more hosts of one process are expected to answer: they do so at the same time.
const QUIET_IN_ONE_PROCESS: Duration = Duration::from_millis(50);

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) data: DataDir,
    pub(crate) keys: KeyStore,
    pub(crate) output: Output,
    lattice: Option<LatticeName>,
    pub(crate) nats: Nats,
    registry: Registry,
}

/// A lattice that a command is connected to.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) lattice: LatticeName,
    pub(crate) transport: SharedTransport,
    pub(crate) client: Client,
}

impl Context {
    pub(crate) fn new(global: Global) -> anyhow::Result<Self> {
        let data = DataDir::choose(global.data_dir.as_deref())?;
        let keys = KeyStore::new(&data);
        Ok(Self {
            data,
            keys,
            output: Output::new(global.output),
            lattice: global.lattice,
            nats: global.nats,
            registry: global.registry,
        })
    }

    /// How registries are reached.
    pub(crate) fn registry_access(&self) -> Access {
        let Registry { docker_config, insecure_registry } = &self.registry;
        let docker_config = data_dir::docker_config(docker_config.as_deref());
        Access { docker_config, insecure: insecure_registry.clone() }
    }

    /// The registries, with the user's credentials.
    pub(crate) fn registries(&self) -> Registries {
        Registries::new(self.registry_access())
    }

    /// The lattice that was named, if one was.
    pub(crate) fn named_lattice(&self) -> Option<&LatticeName> {
        self.lattice.as_ref()
    }

    /// The lattice that was named, or that of the running `trellis up`, or `default`.
    pub(crate) fn lattice(&self) -> anyhow::Result<LatticeName> {
        if let Some(lattice) = &self.lattice {
            return Ok(lattice.clone());
        }
        if self.nats.nats_url.is_empty()
            && let Some(running) = self.data.running()?
        {
            return Ok(running.lattice);
        }
        Ok(default_lattice())
    }

    /// Connects to the nats-server that was named, or to the running `trellis up`.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connected> {
        let lattice = self.lattice()?;
        let (transport, quiet) = if self.nats.nats_url.is_empty() {
            (self.connect_embedded(&lattice).await?, QUIET_IN_ONE_PROCESS)
        } else {
            let transport: SharedTransport = Arc::new(NatsTransport::connect(options(&self.nats)?).await?);
            (transport, Patience::default().quiet)
        };
        let patience = Patience { quiet, ..Patience::default() };
        let client = Client::new(Arc::clone(&transport), lattice.clone()).with_patience(patience);
        Ok(Connected { lattice, transport, client })
    }

    async fn connect_embedded(&self, lattice: &LatticeName) -> anyhow::Result<SharedTransport> {
        let dir = self.data.path().display();
        let none = || {
            format!(
                "no lattice runs from data directory {dir}: start one with `trellis up`, or name the nats-server of \
                 one with --nats-url"
            )
        };
        let Some(running) = self.data.running()? else { bail!(none()) };
        if running.lattice != *lattice {
            bail!("the `trellis up` of data directory {dir} runs lattice {}, not {lattice}", running.lattice);
        }
        let mut options = NatsOptions::new(running.url.clone());
        options.credentials = Credentials::Token(Secret::new(running.token));
        match NatsTransport::connect(options).await {
            Ok(transport) => Ok(Arc::new(transport)),
            Err(error) if error.kind() == ErrorKind::Disconnected => Err(anyhow::Error::new(error).context(none())),
            Err(error) => Err(anyhow::Error::new(error).context(format!("connect to the lattice of {dir}"))),
        }
    }
}

/// The lattice when nobody named one.
pub(crate) fn default_lattice() -> LatticeName {
    LatticeName::parse("default").expect("`default` is a valid name")
}

/// How to reach the nats-server that the command line names.
pub(crate) fn options(nats: &Nats) -> anyhow::Result<NatsOptions> {
    let secret = |file: &std::path::Path| anyhow::Ok(Secret::new(data_dir::read_private(file)?));
    let credentials = match (&nats.nats_creds, &nats.nats_token_file, &nats.nats_nkey_file) {
        (Some(file), _, _) => Credentials::File(file.clone()),
        (_, Some(file), _) => Credentials::Token(secret(file)?),
        (_, _, Some(file)) => Credentials::NkeySeed(secret(file)?),
        _ => Credentials::None,
    };
    let mut options = NatsOptions::new(String::new());
    options.servers.clone_from(&nats.nats_url);
    options.credentials = credentials;
    options.tls_ca.clone_from(&nats.nats_ca);
    Ok(options)
}

impl Connected {
    /// The host with that id or name.
    pub(crate) async fn host(&self, name: &str) -> anyhow::Result<HostId> {
        let hosts = self.client.hosts().await.context("ask which hosts are there")?;
        let matches = |host: &&HostSummary| host.id.as_str() == name || host.friendly_name == name;
        let found: Vec<&HostSummary> = hosts.iter().filter(matches).collect();
        match *found {
            [host] => Ok(host.id.clone()),
            [] => bail!("lattice {} has no host {name:?}; there is {}", self.lattice, names(&hosts)),
            _ => bail!("{} hosts of lattice {} are called {name:?}; give the id of one", found.len(), self.lattice),
        }
    }

    /// What every host runs, sorted by the host's name.
    pub(crate) async fn inventories(&self) -> anyhow::Result<Vec<HostInventory>> {
        let hosts = self.client.hosts().await.context("ask which hosts are there")?;
        let asked = hosts.iter().map(|host| self.client.inventory(&host.id));
        let answers = futures::future::join_all(asked).await;
        Ok(answers.into_iter().collect::<Result<Vec<_>, _>>()?)
    }

    /// The hosts that run the actor `id`, and from where.
    pub(crate) async fn hosts_of_actor(&self, id: &EntityId) -> anyhow::Result<Vec<(HostInventory, String)>> {
        let inventories = self.inventories().await?;
        let runs = |host: HostInventory| {
            let image = host.components.iter().find(|entry| entry.id == *id)?.image_ref.clone();
            Some((host, image))
        };
        Ok(inventories.into_iter().filter_map(runs).collect())
    }
}

fn names(hosts: &[HostSummary]) -> String {
    if hosts.is_empty() {
        return "none".to_owned();
    }
    hosts.iter().map(|host| host.friendly_name.as_str()).collect::<Vec<_>>().join(", ")
}
