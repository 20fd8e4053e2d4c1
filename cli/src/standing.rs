//! How a link stands, put together from what the hosts say of it in their inventories.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use trellis_lattice::id::EntityId;
use trellis_lattice::message::inventory::{
    BreakerState, HostInventory, LinkBreaker, LinkState, LinkTraffic, ProviderLink,
};
use trellis_lattice::message::link::Link;

/// How a link stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Standing {
    /// The worst that any host says.
    state: LinkState,
    /// Why it is not up, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// By the name of the host: breakers that calls of it opened. Others are closed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    breakers: BTreeMap<String, BreakerState>,
    /// By the name of the host: calls in flight, where any are.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    traffic: BTreeMap<String, Traffic>,
}

/// Calls in flight over a link on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Traffic {
    in_flight: u32,
    /// How many there may be, if that is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
}

impl Standing {
    /// Of `link`, as `hosts` say.
    pub(crate) fn of(link: &Link, hosts: &[HostInventory]) -> Self {
        let (state, reason) = said(link, hosts).or_else(|| absent(link, hosts)).unwrap_or((LinkState::Up, None));
        Self { state, reason, breakers: breakers(link, hosts), traffic: traffic(link, hosts) }
    }

    /// The calls in flight, e.g. `3 of 64 on a, 1 on b`.
    pub(crate) fn in_flight(&self) -> String {
        let all = self.traffic.iter().map(|(host, Traffic { in_flight, limit })| match limit {
            Some(limit) => format!("{in_flight} of {limit} on {host}"),
            None => format!("{in_flight} on {host}"),
        });
        all.collect::<Vec<_>>().join(", ")
    }

    /// The breakers that do not let calls pass as usual, e.g. `open on a, half-open on b`.
    pub(crate) fn breaker(&self) -> String {
        let word = |state: &BreakerState| match state {
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half-open",
        };
        let all = self.breakers.iter().map(|(host, state)| format!("{} on {host}", word(state)));
        all.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            LinkState::Up => "up",
            LinkState::Pending => "pending",
            LinkState::Failed => "failed",
        })?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

fn breakers(link: &Link, hosts: &[HostInventory]) -> BTreeMap<String, BreakerState> {
    let all = hosts.iter().flat_map(|host| host.breakers.iter().map(move |breaker| (host, breaker)));
    let is_it = |breaker: &LinkBreaker| {
        (&breaker.source_id, &breaker.target, &breaker.name, &breaker.wit_namespace, &breaker.wit_package)
            == (&link.source_id, &link.target, &link.name, &link.wit_namespace, &link.wit_package)
    };
    let its = all.filter(|(_, breaker)| is_it(breaker));
    its.map(|(host, breaker)| (host.friendly_name.clone(), breaker.state)).collect()
}

fn traffic(link: &Link, hosts: &[HostInventory]) -> BTreeMap<String, Traffic> {
    let all = hosts.iter().flat_map(|host| host.traffic.iter().map(move |traffic| (host, traffic)));
    let is_it = |traffic: &LinkTraffic| {
        (&traffic.source_id, &traffic.target, &traffic.name, &traffic.wit_namespace, &traffic.wit_package)
            == (&link.source_id, &link.target, &link.name, &link.wit_namespace, &link.wit_package)
    };
    let counted = |traffic: &LinkTraffic| Traffic { in_flight: traffic.in_flight, limit: traffic.limit };
    let its = all.filter(|(_, traffic)| is_it(traffic));
    its.map(|(host, traffic)| (host.friendly_name.clone(), counted(traffic))).collect()
}

/// What the providers at its ends say of it: the worst.
fn said(link: &Link, hosts: &[HostInventory]) -> Option<(LinkState, Option<String>)> {
    let is_it = |said: &ProviderLink| {
        (&said.source_id, &said.target, &said.name, &said.wit_namespace, &said.wit_package)
            == (&link.source_id, &link.target, &link.name, &link.wit_namespace, &link.wit_package)
    };
    let providers = hosts.iter().flat_map(|host| host.providers.iter().map(move |provider| (host, provider)));
    let all = providers.flat_map(|(host, provider)| provider.links.iter().flatten().map(move |said| (host, said)));
    let badness = |state: LinkState| match state {
        LinkState::Up => 0,
        LinkState::Pending => 1,
        LinkState::Failed => 2,
    };
    let (host, worst) = all.filter(|(_, said)| is_it(said)).max_by_key(|(_, said)| badness(said.state))?;
    let reason = worst.reason.as_ref().map(|reason| format!("{reason} (on {})", host.friendly_name));
    Some((worst.state, reason))
}

/// A link between actors stands when both of them run.
fn absent(link: &Link, hosts: &[HostInventory]) -> Option<(LinkState, Option<String>)> {
    let runs = |id: &EntityId| {
        let is_on = |host: &HostInventory| {
            host.components.iter().any(|entry| entry.id == *id) || host.providers.iter().any(|entry| entry.id == *id)
        };
        hosts.iter().any(is_on)
    };
    let absent = [&link.source_id, &link.target].into_iter().find(|id| !runs(id))?;
    Some((LinkState::Pending, Some(format!("{absent} does not run"))))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use trellis_lattice::identity::key::{Key, KeyKind};
    use trellis_lattice::message::inventory::HostInventory;
    use trellis_lattice::message::link::Link;

    use super::Standing;

    fn link(source: &str, target: &str) -> Value {
        json!({"source_id": source, "target": target, "name": "default", "wit_namespace": "wasi", "wit_package": "http"})
    }

    fn with(mut value: Value, more: &[(&str, &str)]) -> Value {
        more.iter().for_each(|(key, text)| value[*key] = (*text).into());
        value
    }

    fn host(name: &str, links: Vec<Value>, breakers: Vec<Value>) -> HostInventory {
        let id = Key::generate(KeyKind::Host).public();
        let actor = |id: &str| json!({"id": id, "image_ref": "file:///a.wasm", "revision": 0, "max_instances": 1});
        let value = json!({
            "host_id": id, "friendly_name": name, "labels": {}, "version": "0.1.0", "uptime_human": "", "uptime_seconds": 0,
            "components": [actor("web"), actor("cart")],
            "providers": [{"id": "http", "revision": 0, "links": links}],
            "breakers": breakers,
        });
        serde_json::from_value(value).expect("an inventory")
    }

    fn check(source: &str, target: &str, hosts: &[HostInventory], expected: (&str, &str)) {
        let mut value = link(source, target);
        value["interfaces"] = json!(["incoming-handler"]);
        let link: Link = serde_json::from_value(value).expect("a link");
        let standing = Standing::of(&link, hosts);
        assert_eq!((standing.to_string().as_str(), standing.breaker().as_str()), expected);
    }

    #[test]
    fn the_worst_that_a_host_says_counts() {
        let up = || host("a", vec![with(link("http", "web"), &[("state", "up")])], Vec::new());
        let failed = with(link("http", "web"), &[("state", "failed"), ("reason", "port 80 is in use")]);
        check("http", "web", &[up()], ("up", ""));
        check("http", "web", &[up(), host("b", vec![failed], Vec::new())], ("failed: port 80 is in use (on b)", ""));
    }

    #[test]
    fn a_link_of_what_does_not_run_is_pending_and_one_between_actors_that_run_is_up() {
        check("web", "cart", &[host("a", Vec::new(), Vec::new())], ("up", ""));
        check("web", "till", &[host("a", Vec::new(), Vec::new())], ("pending: till does not run", ""));
    }

    #[test]
    fn calls_in_flight_are_told_by_host() {
        let traffic = |count: u32, limit: Option<u32>| {
            let mut value = link("web", "cart");
            (value["in_flight"], value["limit"]) = (count.into(), limit.into());
            serde_json::from_value(value).expect("traffic")
        };
        let mut hosts = ["a", "b"].map(|name| host(name, Vec::new(), Vec::new()));
        hosts[0].traffic.push(traffic(3, Some(64)));
        hosts[1].traffic.push(traffic(1, None));
        let mut value = link("web", "cart");
        value["interfaces"] = json!(["incoming-handler"]);
        let link: Link = serde_json::from_value(value).expect("a link");
        assert_eq!(Standing::of(&link, &hosts).in_flight(), "3 of 64 on a, 1 on b");
    }

    #[test]
    fn breakers_are_told_by_host() {
        let breaker = |state| with(link("web", "cart"), &[("state", state)]);
        let hosts = ["open", "half-open"].map(|state| host(state, Vec::new(), vec![breaker(state)]));
        check("web", "cart", &hosts, ("up", "half-open on half-open, open on open"));
    }
}
