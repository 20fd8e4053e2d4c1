//! What a case file says of applications and of the lattice, and what planning makes of it: intent and look.

mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use trellis_lattice::id::{ConfigName, EntityId, HostId};
use trellis_lattice::message::command::StringMap;
use trellis_wadm::intent::{AppIntent, AppName, Deployed, Intent};
use trellis_wadm::manifest::Manifest;
use trellis_wadm::observe::{
    Attempt, AttemptState, Capacity, Host, Inventory, LatePuts, LinkKey, Observed, Owned, Progress, Provider, Rollout,
    Seen, View,
};
use trellis_wadm::plan::ActionKey;

use self::words::{Words, actor, link, standing, words};

/// What is declared and seen.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    /// Seconds on the clock; 10,000 when absent.
    #[serde(default = "ten_thousand")]
    pub(crate) now: f64,
    /// Why the view is unsettled; settled when absent.
    unsettled: Option<String>,
    /// Nothing was looked at yet.
    #[serde(default)]
    blind: bool,
    #[serde(default)]
    pub(crate) app: BTreeMap<String, App>,
    #[serde(default)]
    pub(crate) host: BTreeMap<String, HostScene>,
    /// Links that exist; `links_unknown` when they could not be read.
    #[serde(default)]
    links: Vec<String>,
    #[serde(default)]
    links_unknown: bool,
    #[serde(default)]
    configs: BTreeMap<String, StringMap>,
    #[serde(default)]
    configs_unknown: bool,
    #[serde(default)]
    owned: BTreeMap<String, OwnedScene>,
    #[serde(default)]
    attempt: BTreeMap<String, AttemptScene>,
    #[serde(default)]
    rollout: BTreeMap<String, RolloutScene>,
    /// For how many seconds what an application put earlier may yet appear.
    #[serde(default)]
    late_puts: BTreeMap<String, f64>,
}

fn ten_thousand() -> f64 {
    10_000.0
}

/// An application.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct App {
    generation: Option<u64>,
    version: Option<String>,
    #[serde(default)]
    undeployed: bool,
    #[serde(default)]
    shared: bool,
    #[serde(default)]
    pub(crate) actor: BTreeMap<String, Item>,
    #[serde(default)]
    pub(crate) provider: BTreeMap<String, Item>,
    #[serde(default)]
    policies: Vec<Value>,
    #[serde(default)]
    links: Vec<LinkScene>,
}

/// A component.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    pub(crate) image: Option<String>,
    /// `<app>/<component>` of another application.
    shared: Option<String>,
    id: Option<String>,
    pub(crate) instances: Option<u32>,
    daemon: Option<u32>,
    #[serde(default)]
    pub(crate) spread: Vec<Value>,
    /// Configs that others manage.
    #[serde(default)]
    needs_config: Vec<String>,
    #[serde(default)]
    config: BTreeMap<String, StringMap>,
    /// As in a manifest.
    #[serde(default)]
    traits: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkScene {
    from: String,
    to: String,
    /// `namespace:package/interface`.
    over: String,
    name: Option<String>,
    #[serde(default)]
    source_config: BTreeMap<String, StringMap>,
    #[serde(default)]
    needs_config: Vec<String>,
}

/// A host.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostScene {
    #[serde(default)]
    pub(crate) labels: StringMap,
    /// For so many seconds.
    silent: Option<f64>,
    /// As silent, with all that is at its broker.
    cut_off: Option<f64>,
    /// What its presence says that it runs, while it has not said how.
    #[serde(default)]
    hearsay: Vec<String>,
    #[serde(default)]
    leaving: bool,
    /// How many instances commands that are under way leave, by id.
    #[serde(default)]
    leaves: BTreeMap<EntityId, u32>,
    /// How many instances commands that are under way may bring, by id.
    #[serde(default)]
    comes: BTreeMap<EntityId, u32>,
    /// It did not say yet what it runs.
    #[serde(default)]
    unknown: bool,
    memory: Option<u64>,
    cpu: Option<u64>,
    most: Option<u64>,
    /// `<id> <reference> x<count> [of <app>[/<spread>]] [limits <memory>] [starting|failing:<reason>]`.
    #[serde(default)]
    pub(crate) actors: Vec<String>,
    #[serde(default)]
    providers: Vec<String>,
    /// How links stand at its providers: `<provider>: <link> <state>`, where the state is `up`, `pending` or
    /// `failed: <reason>`, of another content after `once`. A provider that is named by none does not tell.
    #[serde(default)]
    standing: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnedScene {
    #[serde(default)]
    links: Vec<String>,
    #[serde(default)]
    configs: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttemptScene {
    generation: Option<u64>,
    #[serde(default)]
    failures: u32,
    error: Option<String>,
    /// Its effect is awaited for so many seconds.
    sent: Option<f64>,
    /// It is tried again in so many seconds.
    again: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RolloutScene {
    generation: Option<u64>,
    /// It began so many seconds ago.
    age: f64,
    previous: Option<String>,
    #[serde(default)]
    complete: bool,
}

/// The id of the host with that name: always the same one.
pub(crate) fn host_id(name: &str) -> HostId {
    let mut seed = [0_u8; 32];
    for (index, byte) in name.bytes().enumerate() {
        seed[index % 32] = seed[index % 32].wrapping_mul(31).wrapping_add(byte);
    }
    let key = nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::Server, seed).expect("32 bytes");
    HostId::parse(&key.public_key()).expect("a server's key")
}

impl Scene {
    pub(crate) fn now(&self) -> Duration {
        Duration::from_secs_f64(self.now)
    }

    pub(crate) fn intent(&self) -> Intent {
        let apps = self.app.iter().map(|(name, app)| (AppName::parse(name).expect("a name"), app.intent(name)));
        Intent { apps: apps.collect() }
    }

    pub(crate) fn observed(&self) -> Observed {
        let links = self.links.iter().map(|text| link(text)).map(|link| (LinkKey::of(&link), link)).collect();
        let configs = self.configs.iter().map(|(name, values)| (config(name), values.clone())).collect();
        let rollouts = self.rollout.iter().map(|(app, rollout)| (app_name(app), rollout.observed(self.now())));
        Observed {
            view: match (&self.unsettled, self.blind) {
                (Some(why), _) => View::Unsettled { why: why.clone() },
                (None, true) => View::Nothing,
                (None, false) => View::Settled,
            },
            hosts: self.host.iter().map(|(name, host)| (host_id(name), host.observed(name, self.now()))).collect(),
            links: (!self.links_unknown).then_some(links),
            configs: (!self.configs_unknown).then_some(configs),
            owned: (!self.links_unknown)
                .then(|| self.owned.iter().map(|(app, owned)| (app_name(app), owned.observed())).collect()),
            rollouts: rollouts.collect(),
            attempts: self.attempt.iter().map(|(key, attempt)| (self.key(key), attempt.observed(self.now()))).collect(),
            late_puts: LatePuts { own: self.late_puts().collect(), ..LatePuts::default() },
            leaving: self.host.iter().map(|(name, host)| (host_id(name), host.leaves.clone())).collect(),
            coming: self.host.iter().map(|(name, host)| (host_id(name), host.comes.clone())).collect(),
        }
    }

    fn late_puts(&self) -> impl Iterator<Item = (AppName, Duration)> {
        let until = |seconds: f64| self.now() + Duration::from_secs_f64(seconds);
        self.late_puts.iter().map(move |(app, seconds)| (app_name(app), until(*seconds)))
    }

    /// `actor/a/shop-cart` with the id of host `a`.
    fn key(&self, text: &str) -> ActionKey {
        let parts = text.split('/').map(|part| match self.host.contains_key(part) {
            true => host_id(part).to_string(),
            false => part.to_owned(),
        });
        ActionKey::new(parts.collect::<Vec<_>>().join("/"))
    }
}

impl App {
    fn intent(&self, name: &str) -> AppIntent {
        let generation = self.generation.unwrap_or(1);
        if self.undeployed {
            return AppIntent::Undeployed { generation };
        }
        let actors = self.actor.iter().map(|(name, item)| self.component("component", name, item));
        let providers = self.provider.iter().map(|(name, item)| self.component("capability", name, item));
        let annotations = match self.shared {
            true => json!({ "experimental.wasmcloud.dev/shared": "true" }),
            false => json!({}),
        };
        let manifest = json!({
            "apiVersion": "core.oam.dev/v1beta1",
            "kind": "Application",
            "metadata": { "name": name, "annotations": annotations },
            "spec": { "components": actors.chain(providers).collect::<Vec<_>>(), "policies": self.policies },
        });
        let manifest: Manifest = serde_json::from_value(manifest).unwrap_or_else(|error| panic!("{name}: {error}"));
        let version = self.version.clone().unwrap_or_else(|| "v1".to_owned());
        AppIntent::Deployed(Deployed { version, generation, manifest: Arc::new(manifest) })
    }

    fn component(&self, kind: &str, name: &str, item: &Item) -> Value {
        let mut properties = match &item.shared {
            Some(shared) => {
                let (app, component) = shared.split_once('/').expect("app/component");
                json!({ "application": { "name": app, "component": component } })
            }
            None => json!({ "image": item.image.clone().unwrap_or_else(|| format!("{name}:1")) }),
        };
        if let Some(id) = &item.id {
            properties["id"] = json!(id);
        }
        properties["config"] = configs(&item.config, &item.needs_config);
        let mut traits = item.traits.clone();
        let scaler = |kind: &str, instances: u32| json!({ "type": kind, "properties": { "instances": instances, "spread": item.spread } });
        traits.extend(item.daemon.map(|instances| scaler("daemonscaler", instances)));
        traits.extend(item.instances.map(|instances| scaler("spreadscaler", instances)));
        traits.extend(self.links.iter().filter(|link| link.from == name).map(LinkScene::read));
        json!({ "name": name, "type": kind, "properties": properties, "traits": traits })
    }
}

impl LinkScene {
    fn read(&self) -> Value {
        let (package, interface) = self.over.split_once('/').expect("namespace:package/interface");
        let (namespace, package) = package.split_once(':').expect("namespace:package/interface");
        let mut link = json!({
            "namespace": namespace,
            "package": package,
            "interfaces": [interface],
            "source": { "config": configs(&self.source_config, &self.needs_config) },
            "target": { "name": self.to },
        });
        if let Some(name) = &self.name {
            link["name"] = json!(name);
        }
        json!({ "type": "link", "properties": link })
    }
}

/// Configs as a manifest has them.
fn configs(managed: &BTreeMap<String, StringMap>, external: &[String]) -> Value {
    let managed = managed.iter().map(|(name, values)| json!({ "name": name, "properties": values }));
    managed.chain(external.iter().map(|name| json!({ "name": name }))).collect()
}

impl HostScene {
    pub(crate) fn observed(&self, name: &str, now: Duration) -> Host {
        let inventory = Inventory {
            actors: self.actors.iter().map(|text| actor(text)).collect(),
            providers: self.providers.iter().map(|text| self.provider(text)).collect(),
        };
        Host {
            name: name.to_owned(),
            labels: self.labels.clone(),
            capacity: Capacity { memory_bytes: self.memory, cpu_millis: self.cpu, max_instances: self.most },
            seen: match (self.silent, self.cut_off, self.leaving) {
                (Some(seconds), ..) => Seen::Silent { since: now - Duration::from_secs_f64(seconds) },
                (_, Some(seconds), _) => Seen::CutOff { since: now - Duration::from_secs_f64(seconds) },
                (.., true) => Seen::Leaving,
                (.., false) => Seen::Present,
            },
            inventory: (!self.unknown).then_some(inventory),
            hearsay: self.hearsay.iter().map(|id| EntityId::parse(id).expect("an id")).collect(),
        }
    }

    fn provider(&self, text: &str) -> (EntityId, Provider) {
        let Words { id, reference, owner, readiness, .. } = words(text);
        let links = self.standing.get(id.as_str());
        let links = links.map(|links| Arc::new(links.iter().map(|text| standing(text)).collect()));
        (id, Provider { reference: Some(reference), owner, config: None, readiness, links })
    }
}

impl OwnedScene {
    fn observed(&self) -> Owned {
        Owned {
            links: self.links.iter().map(|text| LinkKey::of(&link(text))).collect(),
            configs: self.configs.iter().map(|name| config(name)).collect(),
        }
    }
}

impl AttemptScene {
    fn observed(&self, now: Duration) -> Attempt {
        let after = |seconds: f64| now + Duration::from_secs_f64(seconds);
        let state = match (self.sent, self.again) {
            (Some(seconds), _) => AttemptState::Sent { until: after(seconds) },
            (None, Some(seconds)) => AttemptState::Failed { again_at: after(seconds) },
            (None, None) => AttemptState::GivenUp,
        };
        let generation = self.generation.unwrap_or(1);
        Attempt { generation, failures: self.failures, last_error: self.error.clone(), state }
    }
}

impl RolloutScene {
    fn observed(&self, now: Duration) -> Rollout {
        Rollout {
            generation: self.generation.unwrap_or(1),
            since: now.saturating_sub(Duration::from_secs_f64(self.age)),
            previous: self.previous.clone(),
            progress: if self.complete { Progress::Complete } else { Progress::Ongoing },
        }
    }
}

fn app_name(text: &str) -> AppName {
    AppName::parse(text).expect("a name")
}

fn config(text: &str) -> ConfigName {
    ConfigName::parse(text).expect("a name")
}
