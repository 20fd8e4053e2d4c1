//! Links between components, how calls over them behave, and which requests they carry.

use std::collections::{BTreeMap, BTreeSet};

use trellis_lattice::contract::Interface;
use trellis_lattice::id::LinkName;

use super::{Check, Path};
use crate::manifest::component::{Component, Kind};
use crate::manifest::document::shown;
use crate::manifest::extension::{Resilience, Route, Routes};
use crate::manifest::scaler::{LinkTarget, LinkTrait, Trait};

const MAX_INTERFACES: usize = 100;
const MAX_RETRIES: u32 = 10;
const MAX_COUNT: u32 = 1_000_000;
const MAX_ROUTES: usize = 1_000;
const MAX_SHARE: u32 = 1_000_000;

impl<'a> Check<'a> {
    pub(super) fn link(&mut self, path: &Path, component: &'a Component, link: &'a LinkTrait) {
        self.target(path, component, link.target.name());
        if let Some(name) = link.name.as_deref()
            && let Err(error) = LinkName::parse(name)
        {
            self.note(path.key("name"), error.to_string(), "");
        }
        self.interfaces(path, link);
        let target = path.key("target");
        if let Some(source) = &link.source {
            self.secrets(&path.key("source").key("secrets"), &source.secrets);
        }
        if let LinkTarget::End { config, secrets, .. } = &link.target {
            self.secrets(&target.key("secrets"), secrets);
            if !config.is_empty() && !link.target_config.is_empty() {
                self.note(
                    path.key("target_config"),
                    "`target_config` is the old form of `target.config`, which is given too",
                    "merge them",
                );
            }
        }
        if link.source.is_some() && !link.source_config.is_empty() {
            self.note(
                path.key("source_config"),
                "`source_config` is the old form of `source.config`, and `source` is given too",
                "merge them",
            );
        }
    }

    fn target(&mut self, path: &Path, component: &'a Component, target: &str) {
        let path = path.key("target").key("name");
        if target == component.name {
            let message = format!("`{}` is linked to itself", shown(target));
            self.note(path, message, "name another component; what a component has in itself needs no link");
        } else {
            self.known_component(path, target);
        }
    }

    fn interfaces(&mut self, path: &Path, link: &LinkTrait) {
        let path = path.key("interfaces");
        if link.interfaces.is_empty() || link.interfaces.len() > MAX_INTERFACES {
            let message = format!("a link with {} interfaces", link.interfaces.len());
            self.note(path, message, format!("name 1 to {MAX_INTERFACES} of them, e.g. `store` of `wasi:keyvalue`"));
            return;
        }
        for (i, name) in link.interfaces.iter().enumerate() {
            let text = format!("{}:{}/{name}", link.namespace, link.package);
            match Interface::parse(&text) {
                Ok(interface) if interface.version().is_none() => {}
                Ok(_) => self.note(path.index(i), format!("`{}` has a version", shown(&text)), "leave it out"),
                Err(error) => self.note(path.index(i), error.to_string(), ""),
            }
        }
    }

    /// Two links of one component, with the same name, must not share an interface: a call could go either way.
    pub(super) fn links_of(&mut self, path: &Path, component: &'a Component) {
        let mut seen = BTreeSet::new();
        for (i, found) in component.traits.iter().enumerate() {
            let Trait::Link(link) = found else { continue };
            let name = link.name.as_deref().unwrap_or("default");
            for (j, interface) in link.interfaces.iter().enumerate() {
                if !seen.insert((name, &link.namespace, &link.package, interface)) {
                    let (namespace, package) = (&link.namespace, &link.package);
                    let text = shown(&format!("{namespace}:{package}/{interface}"));
                    let message =
                        format!("`{}` has two links named `{}` for `{text}`", shown(&component.name), shown(name));
                    let path = path.index(i).key("properties").key("interfaces").index(j);
                    self.note(path, message, "give one of the links another `name`");
                }
            }
        }
    }

    pub(super) fn resilience(&mut self, path: &Path, component: &'a Component, resilience: &'a Resilience) {
        if let Some(name) = &resilience.policy {
            self.known_policy(path.key("policy"), name);
        }
        self.above_zero(path.key("timeout"), resilience.timeout);
        if let Some(retries) = resilience.retries.filter(|retries| *retries > MAX_RETRIES) {
            self.note(
                path.key("retries"),
                format!("{retries} retries are over {MAX_RETRIES}"),
                "they make an overload worse",
            );
        }
        if let Some(breaker) = &resilience.breaker {
            let path = path.key("breaker");
            self.above_zero(path.key("pause"), Some(breaker.pause));
            if breaker.failures == 0 {
                self.note(path.key("failures"), "a breaker that opens after 0 failures", "use at least 1");
            }
        }
        if let Some(concurrency) = &resilience.concurrency {
            let path = path.key("concurrency");
            self.above_zero(path.key("wait"), concurrency.wait);
            if concurrency.limit == 0 {
                self.note(path.key("limit"), "with a limit of 0 no call would be made", "use at least 1");
            }
        }
        self.most(path.key("breaker").key("failures"), resilience.breaker.as_ref().map(|breaker| breaker.failures));
        self.most(path.key("concurrency").key("limit"), resilience.concurrency.as_ref().map(|rule| rule.limit));
        if !links(component).any(|link| is_meant(resilience, link)) {
            let path = if resilience.target.is_some() { path.key("target") } else { path.clone() };
            let message = format!("`{}` has no such link", shown(&component.name));
            self.note(path, message, "name the `target` and `link` of one of its link traits");
        }
        let others = component.traits.iter().filter_map(|found| match found {
            Trait::Resilience(other) => Some(other),
            _ => None,
        });
        let same = others.filter(|other| (&other.target, &other.link) == (&resilience.target, &resilience.link));
        if same.count() > 1 {
            self.note(path.clone(), "two `resilience` traits for the same links", "merge them");
        }
    }

    fn most(&mut self, path: Path, count: Option<u32>) {
        if let Some(count) = count.filter(|count| *count > MAX_COUNT) {
            self.note(path, format!("{count} is over {MAX_COUNT}"), "leave it out if it is not to be reached");
        }
    }

    pub(super) fn routes(&mut self, path: &Path, component: &'a Component, routes: &'a Routes) {
        self.via(path, component, routes.via.as_deref());
        let path = path.key("routes");
        if routes.routes.is_empty() || routes.routes.len() > MAX_ROUTES {
            let message = format!("{} routes", routes.routes.len());
            self.note(path, message, format!("name 1 to {MAX_ROUTES}; for all requests, leave the trait out"));
            return;
        }
        let mut seen = BTreeSet::new();
        for (i, route) in routes.routes.iter().enumerate() {
            let path = path.index(i);
            self.route(&path, route);
            if !seen.insert((&route.host, &route.path)) {
                self.note(path, "a second route with this host and path", "remove one of them");
            }
        }
    }

    fn route(&mut self, path: &Path, route: &Route) {
        if let Some(host) = route.host.as_deref().filter(|host| !is_host(host)) {
            let help = "write a host name without port, or `*.` and one, e.g. `shop.example.com`";
            self.note(path.key("host"), format!("`{}` is no host", shown(host)), help);
        }
        if let Some(text) = route.path.as_deref().filter(|path| !is_path(path)) {
            let help = "write a path that begins with `/`, without query, e.g. `/api`";
            self.note(path.key("path"), format!("`{}` is no path", shown(text)), help);
        }
        if route.share() > MAX_SHARE {
            self.note(
                path.key("weight"),
                format!("weight {} is over {MAX_SHARE}", route.share()),
                "100 is the usual one",
            );
        }
    }

    /// The provider that gives requests to `component`.
    fn via(&mut self, path: &Path, component: &Component, via: Option<&str>) {
        let components = &self.manifest.spec.components;
        let serves = |provider: &&Component| {
            let mut links = links(provider).filter(|link| link.target.name() == component.name);
            provider.kind == Kind::Provider && links.any(|link| link.namespace == "wasi" && link.package == "http")
        };
        let servers: Vec<&str> = components.iter().filter(serves).map(|server| server.name.as_str()).collect();
        match via {
            Some(name) if servers.contains(&name) => {}
            Some(name) => {
                let message = format!(
                    "`{}` is no provider with a link over `wasi:http` to `{}`",
                    shown(name),
                    shown(&component.name)
                );
                self.note(path.key("via"), message, "name one, or give it such a link");
            }
            None if servers.len() == 1 => {}
            None if servers.is_empty() => {
                let message = format!("no provider has a link over `wasi:http` to `{}`", shown(&component.name));
                self.note(path.clone(), message, "add a link trait to the one that serves HTTP");
            }
            None => {
                let message = format!("more than one provider gives requests to `{}`", shown(&component.name));
                self.note(path.clone(), message, "say which one is meant with the key `via`");
            }
        }
    }

    /// Routes with the same host and path share requests by weight: not all of them may be 0.
    pub(super) fn shares(&mut self, path: &Path) {
        let mut groups: BTreeMap<_, (u64, Path)> = BTreeMap::new();
        for (i, component) in self.manifest.spec.components.iter().enumerate() {
            for (j, found) in component.traits.iter().enumerate() {
                let Trait::Routes(routes) = found else { continue };
                for (k, route) in routes.routes.iter().enumerate() {
                    let key = (&routes.via, &route.host, &route.path);
                    let properties = || path.index(i).key("traits").index(j).key("properties");
                    let group =
                        groups.entry(key).or_insert_with(|| (0, properties().key("routes").index(k).key("weight")));
                    group.0 += u64::from(route.share());
                }
            }
        }
        for (_, path) in groups.into_values().filter(|(sum, _)| *sum == 0) {
            self.note(path, "all actors with this host and path have weight 0", "give at least one of them a weight");
        }
    }
}

fn links(component: &Component) -> impl Iterator<Item = &LinkTrait> {
    component.traits.iter().filter_map(|found| match found {
        Trait::Link(link) => Some(&**link),
        _ => None,
    })
}

fn is_meant(resilience: &Resilience, link: &LinkTrait) -> bool {
    let is_target = resilience.target.as_deref().is_none_or(|target| target == link.target.name());
    let name = link.name.as_deref().unwrap_or("default");
    is_target && resilience.link.as_deref().is_none_or(|wanted| wanted == name)
}

fn is_host(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    name.len() <= 253 && name.split('.').all(|part| (1..=63).contains(&part.len()) && part.bytes().all(is_allowed))
}

fn is_path(text: &str) -> bool {
    let is_graphic = text.bytes().all(|b| b.is_ascii_graphic());
    text.starts_with('/') && text.len() <= 1_024 && is_graphic && !text.contains(['?', '#', '*'])
}
