//! Says what is wrong: at each change on the ground, and once it has been quiet.

use std::collections::BTreeMap;
use std::time::Duration;

use trellis_lattice::id::{EntityId, HostId};
use trellis_lattice::message::lease::{Lease, LeaseState};

use crate::ground::{Health, HostTruth, Run, Truth, UNNOTICED};
use crate::wishes::{Instances, Wanted, WantedApp, WantedRun};

/// For how long there may be too much of something, once the hosts are left alone.
const LONGEST_SURPLUS: Duration = Duration::from_secs(5);

/// For how long nobody can tell that several hosts were cut off: they speak each second, are late after 1.4 s, and what
/// was sent before that takes a host up to 120 ms.
const UNHEARD: Duration = Duration::from_millis(1_600);

/// For how long a command may be under way: up to 200 ms in the bus, then up to 120 ms on the host.
const UNDERWAY: Duration = Duration::from_millis(350);

/// For how long after it was sent a command may be taken by the host that it is for.
const LONGEST_WAY: Duration = Duration::from_secs(6);

/// How much is excused while things go wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// Nothing that is wanted is stopped, nothing is started that is there already.
    #[default]
    Strict,
    /// Messages are lost: somebody who is there may be taken for gone, so that there may be too much for a while.
    Lossy,
}

/// A host took a command that was for it, or for any host.
pub(crate) fn taken(truth: &mut Truth, host: &str, noun: &str, command: &[u8]) {
    let now = truth.elapsed();
    if let Some(sent) = truth.sent.get(command).filter(|sent| now > **sent + LONGEST_WAY) {
        let age = (now - *sent).as_secs();
        truth.violation(format!("{host} took a command of {noun} that was sent {age} s ago"));
    }
}

/// Something changed on a host, by a command.
pub(crate) fn changed(truth: &mut Truth, host: &HostId, id: &EntityId, before: Option<&Run>, after: Option<&Run>) {
    let name = truth.host(host).name.clone();
    if before.is_some_and(|before| before.app().is_none()) {
        truth.violation(format!("{id} on {name} is somebody else's, and was changed"));
    }
    let count = |run: Option<&Run>| run.map_or(0, |run| run.count);
    let (before, after) = (count(before), count(after));
    let Some(group) = Group::of(truth, host, id) else { return };
    let (now, wanted) = (truth.elapsed(), group.wanted);
    // Who was just away carries out what was meant for an earlier moment.
    let was_away = now < truth.host(host).since + UNNOTICED;
    let seeming = group.running(truth, |host| host.seems_there(now));
    // A command that is under way cannot be taken back: it may leave what was wanted when it was sent.
    let least = if now < truth.wanted_since + UNDERWAY { group.wanted_before.min(wanted) } else { wanted };
    if after < before && seeming < least && !was_away {
        truth.violation(format!("{id} was stopped on {name}: {seeming} of {wanted} are left"));
    }
    let alive = group.running(truth, |host| host.health == Health::Up);
    // A cut that nobody can have noticed yet is no reason to hold back what was due anyway.
    let is_cut = |host: &&HostTruth| host.is_cut && now > host.since + UNHEARD;
    let many_are_cut = truth.hosts.values().filter(is_cut).count() * 2 > truth.hosts.len();
    if many_are_cut && after > before && alive >= wanted + after - before {
        truth.violation(format!("{id} was started on {name} although most hosts are only out of sight"));
    }
    group.check_surplus(truth);
}

/// An actor or provider in the group of hosts that one of them belongs to.
struct Group {
    id: EntityId,
    zone: Option<&'static str>,
    wanted: u32,
    /// How many were wanted before the intent changed last.
    wanted_before: u32,
}

impl Group {
    /// The group that `host` belongs to; `None` when nothing is wanted of `id` there, or so many on each host.
    fn of(truth: &mut Truth, host: &HostId, id: &EntityId) -> Option<Self> {
        let zone = truth.host(host).zone().to_owned();
        let find = |wanted: &Wanted| {
            let mut runs = wanted.apps.values().flatten().flat_map(|app| &app.runs);
            let run = runs.find(|run| run.id == id.as_str() && run.zone.is_none_or(|wanted| wanted == zone))?;
            let Instances::Total(instances) = run.instances else { return None };
            Some((run.zone, instances))
        };
        let (zone, wanted) = find(&truth.wanted)?;
        let wanted_before = find(&truth.wanted_before).map_or(0, |(_, instances)| instances);
        Some(Self { id: id.clone(), zone, wanted, wanted_before })
    }

    fn running(&self, truth: &Truth, which: impl Fn(&HostTruth) -> bool) -> u32 {
        let hosts = truth.hosts.values().filter(|host| self.zone.is_none_or(|zone| host.zone() == zone) && which(host));
        hosts.filter_map(|host| host.runs.get(&self.id)).map(|run| run.count).sum()
    }

    /// What moves may be there twice for a moment, but not for long.
    fn check_surplus(&self, truth: &mut Truth) {
        let (now, there) = (truth.elapsed(), self.running(truth, HostTruth::is_there));
        let key = (self.id.clone(), self.zone);
        if there <= self.wanted {
            truth.surplus.remove(&key);
            return;
        }
        let since = *truth.surplus.entry(key).or_insert(now);
        let last_change = truth.hosts.values().map(|host| host.since).max().unwrap_or_default().max(truth.wanted_since);
        if truth.strictness == Strictness::Strict && now > since.max(last_change) + LONGEST_SURPLUS {
            truth.violation(format!("{} runs {there} times instead of {} for long", self.id, self.wanted));
        }
    }
}

/// The lease was written.
pub(crate) fn leased(truth: &mut Truth, lease: &Lease) {
    let now = truth.elapsed();
    let Some((known, since)) = truth.lease.replace((lease.clone(), now)) else { return };
    if known.holder == lease.holder {
        return;
    }
    truth.turns += 1;
    truth.note(&format!("{} takes over from {} with token {}", lease.holder, known.holder, lease.token));
    if lease.token <= known.token {
        let (token, before) = (lease.token, known.token);
        truth.violation(format!("{} took over with token {token}, not higher than {before}", lease.holder));
    }
    if known.state == LeaseState::Held && now < since + Duration::from_millis(known.duration_ms) {
        truth.violation(format!("{} did not wait until the lease of {} was over", lease.holder, known.holder));
    }
}

/// It has been quiet: all must be as it is wanted.
pub(crate) fn quiet(truth: &mut Truth) {
    let hosts: Vec<HostTruth> = truth.hosts.values().filter(|host| host.health == Health::Up).cloned().collect();
    let apps: BTreeMap<String, WantedApp> =
        truth.wanted.apps.iter().filter_map(|(name, app)| Some((name.clone(), app.clone()?))).collect();
    let sound = || apps.values().filter(|app| app.is_sound);
    for run in sound().flat_map(|app| &app.runs) {
        check_run(truth, run, &hosts);
    }
    let ids: Vec<&str> = sound().flat_map(|app| &app.runs).map(|run| run.id.as_str()).collect();
    for host in &hosts {
        for (id, run) in host.runs.iter().filter(|(_, run)| run.app().is_some()) {
            if run.note("trellis.dev/generation").parse::<u64>().is_err() {
                truth.violation(format!("{id} on {} does not say of which generation it is", host.name));
            }
        }
        for (id, run) in host.runs.iter().filter(|(id, run)| run.app().is_some() && !ids.contains(&id.as_str())) {
            truth.violation(format!("{} of {id} are left on {}", run.count, host.name));
        }
    }
    let links: Vec<(String, String)> = sound().flat_map(|app| app.links.clone()).collect();
    let there: Vec<(String, String)> =
        truth.links.values().map(|link| (link.source_id.to_string(), link.target.to_string())).collect();
    compare(truth, "links", &links, &there);
    let configs: Vec<String> = sound().flat_map(|app| app.configs.clone()).collect();
    let there: Vec<String> = truth.configs.keys().map(ToString::to_string).collect();
    compare(truth, "configs", &configs, &there);
}

fn check_run(truth: &mut Truth, wanted: &WantedRun, hosts: &[HostTruth]) {
    let is_meant =
        |host: &&HostTruth| wanted.zone.is_none_or(|zone| host.labels.get("zone").map(String::as_str) == Some(zone));
    let counts: Vec<u32> = hosts
        .iter()
        .filter(is_meant)
        .map(|host| host.runs.iter().filter(|(id, _)| id.as_str() == wanted.id).map(|(_, run)| run.count).sum())
        .collect();
    let found = match wanted.instances {
        Instances::Total(instances) => (counts.iter().sum::<u32>() != instances).then(|| format!("not {instances}")),
        Instances::Each(each) => counts.iter().any(|count| *count != each).then(|| format!("not {each} on each")),
    };
    let zone = wanted.zone.unwrap_or("all zones");
    if let Some(expected) = found {
        truth.violation(format!("{} runs {counts:?} times in {zone}, {expected}", wanted.id));
    }
    for host in hosts {
        let run = host.runs.iter().find(|(id, _)| id.as_str() == wanted.id).map(|(_, run)| run);
        if let Some(run) = run.filter(|run| run.reference != wanted.reference) {
            truth.violation(format!("{} on {} is still {}", wanted.id, host.name, run.reference));
        }
    }
}

fn compare<T: std::fmt::Debug + PartialEq>(truth: &mut Truth, what: &str, wanted: &[T], there: &[T]) {
    if wanted.iter().any(|one| !there.contains(one)) || wanted.len() != there.len() {
        truth.violation(format!("{what} are {there:?}, not {wanted:?}"));
    }
}
