//! How many and where: scalers, resources, and where not to run.

use std::time::Duration;

use super::{Check, Path, is_label_key};
use crate::manifest::component::{Component, Kind};
use crate::manifest::document::shown;
use crate::manifest::extension::{AntiAffinity, HttpProbe, Readiness, Resources, Rollout, Tolerations};
use crate::manifest::quantity::{Amount, ByteSize, Span};
use crate::manifest::read::suggestion;
use crate::manifest::scaler::{Scaler, Trait};

const MAX_INSTANCES: u32 = 100_000;
const MAX_WEIGHT: u32 = 1_000_000;
const MAX_SPREADS: usize = 1_000;
/// An actor is not asked more often than that whether it is ready.
const MIN_EVERY: Duration = Duration::from_millis(100);
/// A page of linear memory: with less, nothing runs.
const PAGE: ByteSize = ByteSize(64 * 1024);

impl<'a> Check<'a> {
    /// A trait by itself; `path` is that of its properties.
    pub(super) fn one_trait(&mut self, path: &Path, component: &'a Component, found: &'a Trait) {
        match found {
            Trait::SpreadScaler(scaler) | Trait::DaemonScaler(scaler) => self.scaler(path, scaler),
            Trait::Link(link) => self.link(path, component, link),
            Trait::Resources(resources) => self.resources(path, component.kind, resources),
            Trait::Readiness(readiness) => self.readiness(path, component.kind, readiness),
            Trait::AntiAffinity(anti_affinity) => self.anti_affinity(path, anti_affinity),
            Trait::Tolerations(tolerations) => self.tolerations(path, tolerations),
            Trait::Rollout(rollout) => self.rollout(path, rollout),
            Trait::Resilience(resilience) => self.resilience(path, component, resilience),
            Trait::Routes(routes) => self.routes(path, component, routes),
        }
    }

    fn scaler(&mut self, path: &Path, scaler: &'a Scaler) {
        if scaler.instances > MAX_INSTANCES {
            let message = format!("{} instances are over {MAX_INSTANCES}", scaler.instances);
            self.note(path.key("instances"), message, "scale it down, or split the application");
        }
        let (path, spread) = (path.key("spread"), &scaler.spread);
        if spread.len() > MAX_SPREADS {
            self.note(path, format!("{} spreads are over {MAX_SPREADS}", spread.len()), "merge some of them");
            return;
        }
        let names = spread.iter().enumerate();
        self.unique("spread", names.map(|(i, spread)| (path.index(i).key("name"), spread.name.as_str())));
        for (i, spread) in spread.iter().enumerate() {
            let path = path.index(i);
            if spread.name.is_empty() {
                self.note(path.key("name"), "a spread without a name", "give it one");
            }
            if let Some(weight) = spread.weight.filter(|weight| *weight > MAX_WEIGHT) {
                let help = "weights are shares against each other; 100 is the usual one";
                self.note(path.key("weight"), format!("weight {weight} is over {MAX_WEIGHT}"), help);
            }
            let wrong = spread.requirements.keys().filter(|key| key.trim().is_empty());
            for key in wrong {
                self.note(
                    path.key("requirements").key(key),
                    "a requirement without a label",
                    "name the label of a host",
                );
            }
        }
        if !spread.is_empty() && spread.iter().all(|spread| spread.weight == Some(0)) {
            self.note(path, "all weights are 0, so that nothing would run", "give at least one spread a weight");
        }
    }

    fn resources(&mut self, path: &Path, kind: Kind, resources: &Resources) {
        let (limits, path) = (&resources.limits, path.key("limits"));
        if kind == Kind::Provider && *limits != Default::default() {
            self.note(path, "limits are for actors only: a provider is native code", "set `requests` instead");
            return;
        }
        if let Some(memory) = limits.memory.filter(|memory| *memory < PAGE) {
            self.note(path.key("memory"), format!("{memory} of memory are less than {PAGE}"), "nothing runs in less");
        }
        self.above_zero(path.key("execution"), limits.execution);
        if limits.concurrency == Some(0) {
            self.note(path.key("concurrency"), "with a concurrency of 0 no call would run", "use at least 1");
        }
    }

    pub(super) fn above_zero(&mut self, path: Path, span: Option<Span>) {
        if span == Some(Span(Duration::ZERO)) {
            self.note(path, "a time of 0", "use a time above zero, e.g. `250ms`");
        }
    }

    fn readiness(&mut self, path: &Path, kind: Kind, readiness: &Readiness) {
        self.above_zero(path.key("deadline"), readiness.deadline);
        match &readiness.http {
            Some(_) if kind == Kind::Provider => {
                let help = "remove it: its links say whether it does its work";
                self.note(path.key("http"), "a provider is not asked by HTTP whether it is ready", help);
            }
            Some(probe) => self.http_probe(&path.key("http"), probe),
            None => {}
        }
        if let (Some(settle), Some(deadline)) = (readiness.settle, readiness.deadline)
            && settle >= deadline
        {
            let message =
                format!("it could never be ready: it has to settle for {settle}, and be ready within {deadline}");
            self.note(path.key("deadline"), message, "use a longer deadline");
        }
    }

    fn http_probe(&mut self, path: &Path, probe: &HttpProbe) {
        let is_printable = |text: &str| (1..=1_024).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if !probe.path.starts_with('/') || !is_printable(&probe.path) || probe.path.contains('#') {
            let message = format!("`{}` is no path of a request", shown(&probe.path));
            self.note(path.key("path"), message, "write a path that begins with `/`, e.g. `/healthz`");
        }
        if let Some(host) = probe.host.as_deref().filter(|host| !is_printable(host) || host.contains('/')) {
            let help = "write a host name, e.g. `shop.example.com`";
            self.note(path.key("host"), format!("`{}` is no host", shown(host)), help);
        }
        if let Some(status) = probe.status.filter(|status| !(200..=599).contains(status)) {
            let help = "write the status that means ready, from 200 to 599";
            self.note(path.key("status"), format!("{status} is no status of an answer"), help);
        }
        if let Some(every) = probe.every.filter(|every| every.0 < MIN_EVERY) {
            let help = "each request takes an instance: ask every `1s` or less often";
            self.note(path.key("every"), format!("{every} is too often"), help);
        }
        self.above_zero(path.key("timeout"), probe.timeout);
    }

    fn anti_affinity(&mut self, path: &Path, anti_affinity: &'a AntiAffinity) {
        for name in &anti_affinity.components {
            self.known_component(path.key("components"), name);
        }
        if let Some(label) = anti_affinity.topology.as_deref().filter(|label| !is_label_key(label)) {
            self.note(
                path.key("topology"),
                format!("`{}` is no label", shown(label)),
                "name a label of hosts, e.g. `zone`",
            );
        }
    }

    /// Notes a component that is not there.
    pub(super) fn known_component(&mut self, path: Path, name: &str) -> Option<&'a Component> {
        let components = &self.manifest.spec.components;
        let found = components.iter().find(|component| component.name == name);
        if found.is_none() {
            let known: Vec<&str> = components.iter().map(|component| component.name.as_str()).collect();
            let help = suggestion(name, &known);
            self.note(path, format!("there is no component `{}`", shown(name)), help);
        }
        found
    }

    fn tolerations(&mut self, path: &Path, tolerations: &Tolerations) {
        for (i, taint) in tolerations.taints.iter().enumerate() {
            if !is_label_key(&taint.key) || taint.key.contains('/') {
                let message = format!("taint `{}` is not valid", shown(&taint.key));
                let help = "use letters, digits, `-`, `_` and `.`, without `taint.trellis.dev/`";
                self.note(path.key("taints").index(i).key("key"), message, help);
            }
        }
    }

    fn rollout(&mut self, path: &Path, rollout: &Rollout) {
        self.above_zero(path.key("deadline"), rollout.deadline);
        let is_none = |amount: Option<Amount>| matches!(amount, Some(Amount::Count(0) | Amount::Percent(0)));
        if is_none(rollout.surge) && (rollout.unavailable.is_none() || is_none(rollout.unavailable)) {
            let message = "nothing beyond the wanted number and nothing unavailable: it could not begin";
            self.note(path.key("surge"), message, "let `surge` or `unavailable` be at least 1");
        }
    }
}
