//! What a simulated host answers, and what it does about it.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use trellis_lattice::id::{ConfigName, EntityId};
use trellis_lattice::message::command::{
    DeleteLink, HostLabel, Reply, ScaleComponent, StartProvider, StopProvider, StringMap, UpdateComponent,
};
use trellis_lattice::message::event::EventName;
use trellis_lattice::message::fence;
use trellis_lattice::message::inventory::{ComponentEntry, HostInventory, ProviderEntry};
use trellis_lattice::message::link::Link;
use trellis_lattice::store::{Expect, Key};

use crate::ground::{Kind, Run, Truth};
use crate::host::Machine;

/// What is answered at once, and what follows.
pub(crate) struct Answer<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) payload: &'a [u8],
    pub(crate) tail: Option<&'a str>,
}

/// An answer that was made.
pub(crate) struct Made {
    pub(crate) reply: Bytes,
    pub(crate) events: Vec<(EventName, Value)>,
    pub(crate) work: Option<Work>,
}

/// An order that takes its time.
pub(crate) struct Work {
    id: EntityId,
    /// What is to run; nothing for a stop.
    run: Option<Run>,
    kind: Kind,
}

impl Answer<'_> {
    /// Answers the operation.
    pub(crate) fn to(self, noun: &str, verb: &str) -> Made {
        let done = match (noun, verb) {
            ("host", "get") => return Made::said(&Reply::answer(self.inventory())),
            ("link", "get") => {
                let links: Vec<Link> = self.machine.site.ground.truth().links.values().cloned().collect();
                return Made::said(&Reply::answer(links));
            }
            _ => self.fenced(noun).and_then(|()| self.command(noun, verb)),
        };
        done.unwrap_or_else(|refusal| Made::said(&Reply::<()>::refused(refusal)))
    }

    /// Refuses a command that comes too late, or with a token that is over.
    fn fenced(&self, noun: &str) -> Result<(), String> {
        let terms = fence::of(self.payload);
        terms.check_time(self.machine.clock_ms())?;
        let mut truth = self.machine.site.ground.truth();
        crate::judge::taken(&mut truth, &self.machine.name, noun, self.payload);
        let Some(token) = terms.token else {
            truth.violation(format!("{} was sent a command without a fencing token", self.machine.name));
            return Ok(());
        };
        let host = truth.host(&self.machine.id);
        if token < host.fence {
            return Err(format!("fence {token} is over: this host knows {}", host.fence));
        }
        host.fence = token;
        Ok(())
    }

    fn command(&self, noun: &str, verb: &str) -> Result<Made, String> {
        match (noun, verb) {
            ("component", "scale") => self.scale(),
            ("component", "update") => self.update(),
            ("provider", "start") => self.start_provider(),
            ("provider", "stop") => self.stop_provider(),
            ("link", "put") => self.put_link(),
            ("link", "del") => self.delete_link(),
            ("config", "put") => self.put_config(),
            ("config", "del") => self.delete_config(),
            ("label", "put") => self.label(|labels, label| drop(labels.insert(label.key, label.value))),
            ("label", "del") => self.label(|labels, label| drop(labels.remove(&label.key))),
            _ => Err("unsupported subject".to_owned()),
        }
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(self.payload).map_err(|error| error.to_string())
    }

    fn scale(&self) -> Result<Made, String> {
        let command: ScaleComponent = self.parse()?;
        let run = Run {
            kind: Kind::Actor,
            reference: command.component_ref,
            count: command.count,
            config: command.config,
            annotations: command.annotations,
        };
        let run = (command.count > 0).then_some(run);
        Ok(Made::taken(Work { id: command.component_id, run, kind: Kind::Actor }))
    }

    fn update(&self) -> Result<Made, String> {
        let command: UpdateComponent = self.parse()?;
        let mut truth = self.machine.site.ground.truth();
        let known = truth.host(&self.machine.id).runs.get(&command.component_id).cloned();
        let known = known.ok_or_else(|| format!("{} does not run here", command.component_id))?;
        let annotations = command.annotations.or(known.annotations);
        let run = Run { reference: command.new_component_ref, annotations, ..known };
        Ok(Made::taken(Work { id: command.component_id, run: Some(run), kind: Kind::Actor }))
    }

    fn start_provider(&self) -> Result<Made, String> {
        let command: StartProvider = self.parse()?;
        let gives_way = command.allow_update && is_process(&command.provider_ref);
        if !gives_way && self.machine.site.ground.truth().host(&self.machine.id).runs.contains_key(&command.provider_id)
        {
            return Err(format!("{} runs here already", command.provider_id));
        }
        let run = Run {
            kind: Kind::Provider,
            reference: command.provider_ref,
            count: 1,
            config: command.config,
            annotations: command.annotations,
        };
        Ok(Made::taken(Work { id: command.provider_id, run: Some(run), kind: Kind::Provider }))
    }

    fn stop_provider(&self) -> Result<Made, String> {
        let command: StopProvider = self.parse()?;
        if !self.machine.site.ground.truth().host(&self.machine.id).runs.contains_key(&command.provider_id) {
            return Err(format!("{} does not run here", command.provider_id));
        }
        Ok(Made::taken(Work { id: command.provider_id, run: None, kind: Kind::Provider }))
    }

    fn put_link(&self) -> Result<Made, String> {
        let link: Link = self.parse()?;
        let mut truth = self.machine.site.ground.truth();
        let named = link.source_config.iter().chain(&link.target_config);
        let missing: Vec<&str> =
            named.filter(|name| !truth.configs.contains_key(*name)).map(ConfigName::as_str).collect();
        if !missing.is_empty() {
            return Err(format!("no such config: {}", missing.join(", ")));
        }
        let data = serde_json::to_value(&link).expect("a link has a JSON form");
        let key = link_key(&link.source_id, link.name.as_str(), &link.wit_namespace, &link.wit_package);
        if truth.links.insert(key.clone(), link.clone()).as_ref() != Some(&link) {
            truth.note(&format!("link {key} -> {}", link.target));
        }
        self.store(&key, Some(&link));
        Ok(Made::accepted([(EventName::LinkdefSet, data)]))
    }

    fn delete_link(&self) -> Result<Made, String> {
        let which: DeleteLink = self.parse()?;
        let key = link_key(&which.source_id, which.name.as_str(), &which.wit_namespace, &which.wit_package);
        let mut truth = self.machine.site.ground.truth();
        if truth.links.remove(&key).is_some() {
            truth.note(&format!("unlink {key}"));
        }
        self.store::<()>(&key, None);
        Ok(Made::accepted([(EventName::LinkdefDeleted, json!({"source_id": which.source_id.as_str()}))]))
    }

    fn put_config(&self) -> Result<Made, String> {
        let name = self.config_name()?;
        let config = fence::strip(self.payload).and_then(serde_json::from_value::<StringMap>);
        let config = config.map_err(|error| error.to_string())?;
        let mut truth = self.machine.site.ground.truth();
        if truth.configs.insert(name.clone(), config.clone()).as_ref() != Some(&config) {
            truth.note(&format!("config {name}"));
        }
        self.store(&format!("config.{name}"), Some(&config));
        Ok(Made::accepted([(EventName::ConfigSet, json!({"config_name": name.as_str()}))]))
    }

    fn delete_config(&self) -> Result<Made, String> {
        let name = self.config_name()?;
        let mut truth = self.machine.site.ground.truth();
        if truth.configs.remove(&name).is_some() {
            truth.note(&format!("config {name} is gone"));
        }
        self.store::<()>(&format!("config.{name}"), None);
        Ok(Made::accepted([(EventName::ConfigDeleted, json!({"config_name": name.as_str()}))]))
    }

    fn label(&self, change: impl FnOnce(&mut StringMap, HostLabel)) -> Result<Made, String> {
        let label = self.parse()?;
        let mut truth = self.machine.site.ground.truth();
        change(&mut truth.host(&self.machine.id).labels, label);
        Ok(Made::accepted([(EventName::LabelsChanged, json!({"host_id": self.machine.id.as_str()}))]))
    }

    fn config_name(&self) -> Result<ConfigName, String> {
        ConfigName::parse(self.tail.unwrap_or_default()).map_err(|error| error.to_string())
    }

    /// Writes a record as a real host does. The store in memory is ready at once.
    fn store<T: Serialize>(&self, key: &str, record: Option<&T>) {
        use futures::FutureExt as _;
        let key = Key::parse(key).expect("made of ids");
        let store = &self.machine.site.store;
        let written = match record {
            Some(record) => {
                let value = serde_json::to_vec(record).expect("has a JSON form");
                store.put(&key, value.into(), Expect::Any).map(|written| written.map(drop)).now_or_never()
            }
            None => store.delete(&key, Expect::Any).now_or_never(),
        };
        written.expect("a store in memory is ready").expect("and takes what is small");
    }

    fn inventory(&self) -> HostInventory {
        let mut truth = self.machine.site.ground.truth();
        let host = truth.host(&self.machine.id);
        let of = |kind: Kind| host.runs.iter().filter(move |(_, run)| run.kind == kind);
        let components = of(Kind::Actor).map(|(id, run)| ComponentEntry {
            id: id.clone(),
            image_ref: run.reference.clone(),
            digest: None,
            name: None,
            annotations: run.annotations.clone(),
            revision: 0,
            max_instances: run.count,
            limits: None,
            readiness: None,
        });
        let providers = of(Kind::Provider).map(|(id, run)| ProviderEntry {
            id: id.clone(),
            image_ref: Some(run.reference.clone()),
            name: None,
            revision: 0,
            annotations: run.annotations.clone(),
            // That it tells of its links says that its provider can be replaced while it runs; it has none.
            links: is_process(&run.reference).then(Vec::new),
            unhealthy: None,
        });
        HostInventory {
            broker: None,
            host_id: self.machine.id.clone(),
            friendly_name: host.name.clone(),
            labels: host.labels.clone(),
            version: "0.1.0".to_owned(),
            uptime_human: String::new(),
            uptime_seconds: 0,
            components: components.collect(),
            providers: providers.collect(),
            capacity: None,
            fence: Some(host.fence),
            breakers: Vec::new(),
            traffic: Vec::new(),
            underway: Some(host.underway.clone()),
        }
    }
}

fn link_key(source: &EntityId, name: &str, namespace: &str, package: &str) -> String {
    format!("link.{source}.{name}-{namespace}-{package}")
}

impl Made {
    fn said<T: Serialize>(reply: &Reply<T>) -> Self {
        let reply = serde_json::to_vec(reply).expect("replies have a JSON form").into();
        Self { reply, events: Vec::new(), work: None }
    }

    fn accepted<const N: usize>(events: [(EventName, Value); N]) -> Self {
        Self { events: events.into(), ..Self::said(&Reply::<()>::accepted("")) }
    }

    fn taken(work: Work) -> Self {
        Self { work: Some(work), ..Self::said(&Reply::<()>::accepted("")) }
    }
}

impl Work {
    /// Takes it on.
    pub(crate) fn begin(&self, machine: &Machine) {
        machine.site.ground.truth().host(&machine.id).underway.push(self.id.clone());
    }

    /// Does it, and gives the event that tells of it.
    pub(crate) fn carry_out(self, machine: &Machine) -> (EventName, Value) {
        let Self { id, run, kind } = self;
        let mut truth = machine.site.ground.truth();
        let underway = &mut truth.host(&machine.id).underway;
        let at = underway.iter().position(|other| *other == id).expect("it was taken on");
        underway.remove(at);
        if let Some(why) = run.as_ref().and_then(|run| defect(&run.reference)) {
            truth.note(&format!("{} cannot start {id}: {why}", machine.name));
            return failed(machine, &id, kind, &why);
        }
        change(&mut truth, machine, &id, run.as_ref());
        told(machine, &id, kind, run.as_ref())
    }
}

/// Whether a provider runs as a process, and not in its host.
fn is_process(reference: &str) -> bool {
    !reference.starts_with("builtin:")
}

/// References that no simulated host can start.
fn defect(reference: &str) -> Option<String> {
    reference.contains("missing").then(|| format!("{reference} could not be pulled: not found"))
}

fn change(truth: &mut Truth, machine: &Machine, id: &EntityId, run: Option<&Run>) {
    let runs = &mut truth.host(&machine.id).runs;
    let before = match run {
        Some(run) => runs.insert(id.clone(), run.clone()),
        None => runs.remove(id),
    };
    if before.as_ref() != run {
        let count = |run: Option<&Run>| run.map_or(0, |run| run.count);
        let reference = run.or(before.as_ref()).map_or("", |run| run.reference.as_str());
        let line = format!("{} {id} {} -> {} ({reference})", machine.name, count(before.as_ref()), count(run));
        truth.note(&line);
        crate::judge::changed(truth, &machine.id, id, before.as_ref(), run);
    }
}

fn told(machine: &Machine, id: &EntityId, kind: Kind, run: Option<&Run>) -> (EventName, Value) {
    let annotations = run.and_then(|run| run.annotations.clone()).unwrap_or_default();
    let reference = run.map_or("", |run| run.reference.as_str());
    let base = json!({"host_id": machine.id.as_str(), "image_ref": reference, "annotations": annotations});
    let with = |members: Value| {
        let mut data = base.clone();
        data.as_object_mut().expect("a map").extend(members.as_object().expect("a map").clone());
        data
    };
    match (kind, run) {
        (Kind::Actor, _) => {
            let count = run.map_or(0, |run| run.count);
            (EventName::ComponentScaled, with(json!({"component_id": id.as_str(), "max_instances": count})))
        }
        (Kind::Provider, Some(_)) => (EventName::ProviderStarted, with(json!({"provider_id": id.as_str()}))),
        (Kind::Provider, None) => {
            (EventName::ProviderStopped, with(json!({"provider_id": id.as_str(), "reason": "normal"})))
        }
    }
}

fn failed(machine: &Machine, id: &EntityId, kind: Kind, why: &str) -> (EventName, Value) {
    let host = machine.id.as_str();
    match kind {
        Kind::Actor => {
            let data = json!({"host_id": host, "component_id": id.as_str(), "error": why});
            (EventName::ComponentScaleFailed, data)
        }
        Kind::Provider => {
            let data = json!({"host_id": host, "provider_id": id.as_str(), "error": why});
            (EventName::ProviderStartFailed, data)
        }
    }
}
