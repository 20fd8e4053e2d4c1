//! A component that `trellis up` serves at once: the actor, an HTTP server in front of it, and a key-value store behind
//! it if it asks for one.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::net::TcpStream;
use trellis_host::config::Unsigned;
use trellis_host::runtime::Runtime;
use trellis_lattice::control::Client;
use trellis_lattice::id::{ConfigName, EntityId, HostId, LinkName};
use trellis_lattice::identity::component::verify;
use trellis_lattice::message::command::{DeleteLink, ScaleComponent, StartProvider, StringMap};
use trellis_lattice::message::link::Link;

use crate::command::absolute_reference;
use crate::component::Component;
use crate::key_store::now_unix_seconds;
use crate::output::say;

/// The ids of what stands around the actor. They are this command's own: a link of theirs to something else is left
/// from an earlier run with another component.
const HTTP: &str = "up-http";
const KEYVALUE: &str = "up-keyvalue";

/// Instances that may run at once.
const MAX_INSTANCES: u32 = 256;

/// How long the HTTP server may take until it listens.
const LISTEN_PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(2);

/// A component to serve.
#[derive(Debug)]
pub(super) struct App {
    pub(super) id: EntityId,
    reference: String,
    component: Component,
    handlers: Vec<String>,
    http: SocketAddr,
    is_signed: bool,
}

impl App {
    /// Reads `file`, which is to be served on `http`.
    pub(super) async fn read(file: &Path, http: SocketAddr) -> anyhow::Result<Self> {
        let component = Component::read(file)?;
        let mut handlers = component.exports_of("wasi:http");
        handlers.retain(|name| name == "incoming-handler" || name == "handler");
        if handlers.is_empty() {
            bail!(
                "{} cannot be served over HTTP: it exports neither wasi:http/incoming-handler nor wasi:http/handler \
                 (`trellis inspect` shows what it exports)",
                file.display()
            );
        }
        // Found out before anything is started; the listener that serves is made by the provider.
        TcpListener::bind(http)
            .map_err(|error| anyhow!("cannot serve HTTP on {http}: {error}; choose another address with --http"))?;
        let claims = verify(&component.bytes, now_unix_seconds()).with_context(|| format!("{}", file.display()))?;
        Ok(Self {
            id: id_of(file),
            reference: absolute_reference(&file.to_string_lossy()),
            component,
            handlers,
            http,
            is_signed: claims.is_some(),
        })
    }

    /// What allows it to run when nobody signed it; says so.
    pub(super) fn unsigned(&self) -> Option<Unsigned> {
        if self.is_signed {
            return None;
        }
        let digest = &self.component.digest;
        say(format_args!("{} is unsigned; it may run here because it was named (sha256:{digest})", self.reference));
        Some(Unsigned::Digest(digest.clone()))
    }

    /// Compiles while the hosts start. What fails now fails again, and is told, when a host starts it.
    pub(super) fn compile_ahead(&self, runtime: &Arc<Runtime>) {
        let (runtime, bytes) = (Arc::clone(runtime), self.component.bytes.clone());
        drop(tokio::spawn(async move { runtime.load(bytes).await.map(drop) }));
    }

    /// Starts it on `host`, and returns when its address accepts connections.
    pub(super) async fn serve(&self, client: &Client, host: &HostId) -> anyhow::Result<()> {
        let attempt = || format!("serve {}", self.reference);
        let config = ConfigName::parse(HTTP)?;
        let address = StringMap::from([("address".to_owned(), self.http.to_string())]);
        let (configured, cleared) = tokio::join!(client.put_config(&config, &address), self.clear(client));
        configured?;
        cleared?;
        self.link(client).await.with_context(attempt)?;
        let keyvalue = provider(KEYVALUE, "builtin:keyvalue", host, Vec::new())?;
        let keyvalue = self.wants_keyvalue().then_some(keyvalue);
        let scale = self.scale(host);
        let (started, scaled) = tokio::join!(
            futures::future::try_join_all(keyvalue.iter().map(|start| client.start_provider(start))),
            client.scale(&scale),
        );
        scaled.with_context(attempt)?;
        started.with_context(attempt)?;
        // Last, so that whoever can connect gets an answer of the actor.
        let server = provider(HTTP, "builtin:http-server", host, vec![config])?;
        client.start_provider(&server).await.with_context(attempt)?;
        self.wait_until_it_listens().await
    }

    /// Deletes what an earlier run left in front of another component, or of this one by another version of wasi:http.
    async fn clear(&self, client: &Client) -> anyhow::Result<()> {
        for link in client.links().await? {
            let is_ours = link.source_id.as_str() == HTTP;
            if is_ours && (link.target != self.id || !self.handlers.iter().all(|name| link.interfaces.contains(name))) {
                let delete = DeleteLink {
                    source_id: link.source_id,
                    name: link.name,
                    wit_namespace: link.wit_namespace,
                    wit_package: link.wit_package,
                };
                client.delete_link(&delete).await?;
            }
        }
        Ok(())
    }

    async fn link(&self, client: &Client) -> anyhow::Result<()> {
        // One version of wasi:http: a component that exports both answers the same by either.
        let http = link((HTTP, self.id.as_str()), "http", vec![self.handlers[0].clone()])?;
        client.put_link(&http).await?;
        if self.wants_keyvalue() {
            let interfaces = self.component.imports_of("wasi:keyvalue");
            client.put_link(&link((self.id.as_str(), KEYVALUE), "keyvalue", interfaces)?).await?;
        }
        Ok(())
    }

    fn wants_keyvalue(&self) -> bool {
        !self.component.imports_of("wasi:keyvalue").is_empty()
    }

    fn scale(&self, host: &HostId) -> ScaleComponent {
        ScaleComponent {
            component_ref: self.reference.clone(),
            component_id: self.id.clone(),
            count: MAX_INSTANCES,
            host_id: host.clone(),
            config: Vec::new(),
            allow_update: true,
            annotations: None,
            component_limits: None,
        }
    }

    async fn wait_until_it_listens(&self) -> anyhow::Result<()> {
        let connect = async {
            while TcpStream::connect(self.http).await.is_err() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(LISTEN_PATIENCE, connect).await.map_err(|_| {
            anyhow!(
                "the HTTP server does not listen on {} after {} s; the log above says why",
                self.http,
                LISTEN_PATIENCE.as_secs()
            )
        })
    }
}

fn provider(id: &str, reference: &str, host: &HostId, config: Vec<ConfigName>) -> anyhow::Result<StartProvider> {
    Ok(StartProvider {
        provider_id: EntityId::parse(id)?,
        provider_ref: reference.to_owned(),
        host_id: host.clone(),
        config,
        allow_update: false,
        annotations: None,
    })
}

fn link((source, target): (&str, &str), package: &str, interfaces: Vec<String>) -> anyhow::Result<Link> {
    Ok(Link {
        source_id: EntityId::parse(source)?,
        target: EntityId::parse(target)?,
        name: LinkName::default(),
        wit_namespace: "wasi".to_owned(),
        wit_package: package.to_owned(),
        interfaces,
        source_config: Vec::new(),
        target_config: Vec::new(),
    })
}

/// The file's name as an id: `my.app.wasm` is `my-app`.
fn id_of(file: &Path) -> EntityId {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let stem = stem.strip_suffix(".signed").unwrap_or(&stem);
    let name: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).take(64).collect();
    EntityId::parse(&name).unwrap_or_else(|_| EntityId::parse("app").expect("`app` is a valid id"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn a_file_name_becomes_an_id() {
        for (file, id) in
            [("a/hello.wasm", "hello"), ("my.app v2.wasm", "my-app-v2"), ("x.signed.wasm", "x"), ("", "app")]
        {
            assert_eq!(super::id_of(Path::new(file)).as_str(), id, "{file}");
        }
    }
}
