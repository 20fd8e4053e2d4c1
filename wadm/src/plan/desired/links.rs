//! The links of one component: with ids instead of names, and with what routes and resilience add to their configs.

use std::collections::BTreeMap;

use trellis_lattice::id::{EntityId, LinkName};
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::link::Link;

use super::configs::{Configs, Names};
use super::model::WantedLink;
use crate::manifest::{Component, Config, LinkEnd, LinkTarget, LinkTrait, Resilience, Route, Routes, Secret, Trait};
use crate::plan::name;
use crate::plan::outcome::ScalerKind;

/// The ids of an application's components by name.
pub(super) type Ids<'a> = BTreeMap<&'a str, EntityId>;

/// One link trait, with who has it and what is known of the application.
pub(super) struct Reading<'a> {
    pub(super) source: &'a Component,
    pub(super) components: &'a [Component],
    pub(super) ids: &'a Ids<'a>,
}

impl Reading<'_> {
    /// The links that `read` asks for: one, or one a route. None when an end of it is not known, which is a problem
    /// of that end.
    pub(super) fn links(&self, read: &LinkTrait, configs: &mut Configs<'_>) -> Vec<WantedLink> {
        let target = read.target.name();
        let (Some(source_id), Some(target_id)) = (self.ids.get(self.source.name.as_str()), self.ids.get(target)) else {
            return Vec::new();
        };
        let base = read.name.as_deref().unwrap_or("default");
        let routes = self.routes(read, target);
        let mut links = Vec::new();
        for number in 1..=routes.len().max(1) {
            let name = if number == 1 { base.to_owned() } else { format!("{base}-{number}") };
            let link_name = match LinkName::parse(&name) {
                Ok(name) => name,
                Err(error) => {
                    configs.problem(&self.source.name, error.to_string());
                    continue;
                }
            };
            let [mut source_names, target_names] = self.ends(read, configs);
            self.add_resilience(&name, target, &mut source_names, configs);
            if let Some(route) = routes.get(number - 1) {
                let title = format!("{target}-route-{number}-of-{}", self.source.name);
                manage(&title, route_values(route), &mut source_names, configs);
            }
            let link = Link {
                source_id: source_id.clone(),
                target: target_id.clone(),
                name: link_name,
                wit_namespace: read.namespace.clone(),
                wit_package: read.package.clone(),
                interfaces: read.interfaces.clone(),
                source_config: source_names.all,
                target_config: target_names.all,
            };
            let external = [source_names.external, target_names.external].concat();
            links.push(self.wanted(link, target, external, configs));
        }
        links
    }

    fn wanted(
        &self,
        link: Link,
        target: &str,
        external: Vec<trellis_lattice::id::ConfigName>,
        configs: &Configs<'_>,
    ) -> WantedLink {
        let title = format!("{} -> {target} ({}:{})", self.source.name, link.wit_namespace, link.wit_package);
        let subject = crate::observe::LinkKey::of(&link).to_string();
        WantedLink { title, external, scaler: name::scaler(configs.app, ScalerKind::Link, &subject), link }
    }

    fn ends(&self, read: &LinkTrait, configs: &mut Configs<'_>) -> [Names; 2] {
        let none: (&[Config], &[Secret]) = (&[], &[]);
        let end = |end: &LinkEnd| (end.config.clone(), end.secrets.clone());
        let source = read.source.as_ref().map(end).unwrap_or_default();
        let target = match &read.target {
            LinkTarget::End { config, secrets, .. } => (config.as_slice(), secrets.as_slice()),
            LinkTarget::Name(_) => none,
        };
        let source_configs = [read.source_config.as_slice(), &source.0].concat();
        let target_configs = [read.target_config.as_slice(), target.0].concat();
        [configs.names(&source_configs, &source.1), configs.names(&target_configs, target.1)]
    }

    /// The routes of the target that requests over this link take.
    fn routes(&self, read: &LinkTrait, target: &str) -> Vec<Route> {
        if (read.namespace.as_str(), read.package.as_str()) != ("wasi", "http") {
            return Vec::new();
        }
        let component = self.components.iter().find(|component| component.name == target);
        let traits = component.into_iter().flat_map(|component| &component.traits);
        let via_this = |routes: &&Routes| routes.via.as_ref().is_none_or(|via| *via == self.source.name);
        let routes = traits.filter_map(|item| if let Trait::Routes(routes) = item { Some(routes) } else { None });
        routes.filter(via_this).flat_map(|routes| routes.routes.clone()).collect()
    }

    fn add_resilience(&self, link: &str, target: &str, names: &mut Names, configs: &mut Configs<'_>) {
        let traits = self.source.traits.iter();
        let all = traits.filter_map(|item| if let Trait::Resilience(wish) = item { Some(wish) } else { None });
        let holds = |wish: &&Resilience| {
            wish.target.as_ref().is_none_or(|name| name == target) && wish.link.as_ref().is_none_or(|name| name == link)
        };
        let named = |wish: &&Resilience| (wish.target.is_some() as u8) + (wish.link.is_some() as u8);
        if let Some(wish) = all.filter(holds).max_by_key(named) {
            if let Some(policy) = &wish.policy {
                configs.policy(policy, names);
            }
            let values = resilience_values(wish);
            if !values.is_empty() {
                let title = format!("{}-to-{target}-{link}-resilience", self.source.name);
                manage(&title, values, names, configs);
            }
        }
    }
}

/// Adds a config that no author wrote.
fn manage(title: &str, values: StringMap, names: &mut Names, configs: &mut Configs<'_>) {
    let config = Config { name: title.to_owned(), properties: Some(values) };
    let added = configs.names(&[config], &[]);
    names.all.extend(added.all);
}

fn route_values(route: &Route) -> StringMap {
    let weight = Some(route.share().to_string());
    present([("host", route.host.clone()), ("path", route.path.clone()), ("weight", weight)])
}

fn resilience_values(wish: &Resilience) -> StringMap {
    let (breaker, concurrency) = (wish.breaker.as_ref(), wish.concurrency.as_ref());
    let classes = |names: &Vec<&str>| (!names.is_empty()).then(|| names.join(","));
    present([
        ("timeout", wish.timeout.map(|span| span.to_string())),
        ("retries", wish.retries.map(|retries| retries.to_string())),
        ("retry_on", classes(&wish.retry_on)),
        ("breaker_failures", breaker.map(|breaker| breaker.failures.to_string())),
        ("breaker_pause", breaker.map(|breaker| breaker.pause.to_string())),
        ("breaker_on", breaker.and_then(|breaker| classes(&breaker.on))),
        ("concurrency", concurrency.map(|rule| rule.limit.to_string())),
        ("concurrency_wait", concurrency.and_then(|rule| rule.wait).map(|wait| wait.to_string())),
    ])
}

fn present<const N: usize>(values: [(&str, Option<String>); N]) -> StringMap {
    values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}
