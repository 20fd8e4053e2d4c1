//! What was seen so far, as state. Does nothing by itself; [`super::watcher`] feeds it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use trellis_lattice::id::{ConfigName, EntityId, HostId};
use trellis_lattice::message::command::StringMap;
use trellis_lattice::message::inventory::HostInventory;
use trellis_lattice::message::link::Link;
use trellis_lattice::message::presence::State;
use trellis_lattice::message::record::{CONFIGS, LINKS};

use super::detail::Detail;
use super::inventory::Answer;
use super::owner::OWNED;
use super::presence::{Believes, Heard, News, Roll, SUSPECT};
use super::records::Records;
use super::sight::{SeenHost, Sight};
use super::told::Told;
use super::{LinkKey, Owned};
use crate::intent::AppName;

/// A host that was silent for so long is forgotten, and what it ran is started elsewhere, whatever a manifest says.
const FORGET: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A host that says nothing for so long is late: it says something every second.
const LATE: Duration = Duration::from_millis(1_400);

/// An unsettled view is believed after so long: hosts that are silent together for a minute are lost together.
const DOUBT: Duration = Duration::from_secs(60);

/// A host that is silent for so long, while nothing else was in doubt, is lost: whoever falls silent later does not fall
/// silent together with it.
const LOST: Duration = Duration::from_secs(8);

/// Everything that was seen.
#[derive(Debug)]
pub(super) struct Eye {
    believes: Believes,
    roll: Roll,
    details: BTreeMap<HostId, Detail>,
    /// Hosts that another wadm saw before, and that did not tell this one yet what they run.
    remembered: BTreeMap<HostId, Remembered>,
    pub(super) links: Records<Link>,
    pub(super) configs: Records<StringMap>,
    pub(super) owned: Records<Owned>,
    connected: Option<Instant>,
    /// The brokers that wadm was connected to: a host at none of them may be cut off and run on.
    brokers: BTreeSet<String>,
    settle: Duration,
    /// Silent hosts that are believed to be lost.
    lost: BTreeSet<HostId>,
}

/// How long a host is silent that another wadm saw and this one waits for since `since`: as nothing was heard of it, it
/// is never taken for one that is there.
fn silence(since: Instant, now: Instant) -> Duration {
    now.duration_since(since).max(SUSPECT)
}

/// A host that another wadm saw.
#[derive(Debug)]
struct Remembered {
    /// Since when this one waits to hear it.
    since: Instant,
    answer: Arc<Answer>,
}

impl Eye {
    /// An eye that saw nothing. The connection has to be up for `settle` before anything is concluded.
    pub(super) fn new(believes: Believes, settle: Duration) -> Self {
        Self {
            remembered: BTreeMap::new(),
            believes,
            roll: Roll::default(),
            details: BTreeMap::new(),
            links: Records::default(),
            configs: Records::default(),
            owned: Records::default(),
            connected: None,
            brokers: BTreeSet::new(),
            settle,
            lost: BTreeSet::new(),
        }
    }

    /// Hosts that another wadm saw: they are silent from now on, at the latest.
    pub(super) fn remember(&mut self, hosts: Vec<HostInventory>, now: Instant) {
        for inventory in hosts {
            let host = inventory.host_id.clone();
            if self.details.get(&host).is_none_or(|detail| detail.inventory().is_none()) {
                let since = self.remembered.get(&host).map_or(now, |known| known.since);
                self.remembered.insert(host, Remembered { since, answer: Arc::new(Answer::of(inventory)) });
            }
        }
    }

    /// Our own connection is up, to that broker.
    pub(super) fn is_connected(&mut self, broker: Option<String>, now: Instant) {
        self.connected.get_or_insert(now);
        self.brokers.extend(broker);
    }

    /// Our own connection is down: nobody's silence says anything.
    pub(super) fn is_cut_off(&mut self) {
        self.connected = None;
    }

    /// Takes in a presence frame; whether it is news.
    pub(super) fn hear(&mut self, frame: &[u8], now: Instant) -> bool {
        let Some(believed) = self.believes.check(frame, &self.roll) else { return false };
        let (host, boot, running) = (believed.host.clone(), believed.presence.boot, believed.presence.running.clone());
        let news = self.roll.hear(believed, now);
        if news != News::None {
            self.lost.remove(&host);
        }
        match news {
            News::None => false,
            News::Gone => {
                self.details.remove(&host);
                self.remembered.remove(&host);
                true
            }
            News::Changed => {
                let detail = self.details.entry(host).or_insert_with(|| Detail::unknown(boot, now));
                detail.changed(boot, &running, now);
                true
            }
        }
    }

    /// Takes in an event: it says whom to ask.
    pub(super) fn told(&mut self, told: &Told, now: Instant) {
        if let Some(detail) = self.details.get_mut(&told.host) {
            detail.touched(now);
        }
    }

    /// All hosts are to be asked, whatever is known of them.
    pub(super) fn ask_all(&mut self, now: Instant) {
        self.details.values_mut().for_each(|detail| detail.touched(now));
    }

    /// The next host to ask, which is asked from now on.
    pub(super) fn ask_next(&mut self, now: Instant) -> Option<HostId> {
        let due = self.details.iter().filter(|(_, detail)| detail.is_due(now)).map(|(host, _)| host);
        let host = due.into_iter().find(|host| self.roll.is_heard(host, now)).cloned()?;
        self.details.get_mut(&host)?.asking();
        Some(host)
    }

    /// What came of a question that was sent at `asked`; whether it is news.
    pub(super) fn answered(&mut self, host: &HostId, asked: Instant, answer: Option<HostInventory>) -> bool {
        let mut answer = answer.filter(|inventory| inventory.host_id == *host);
        if let Some(inventory) = &mut answer {
            // What is left is a broker that this wadm was never at, also for one that remembers this answer.
            inventory.broker = inventory.broker.take().filter(|broker| !self.brokers.contains(broker));
        }
        if answer.is_some() {
            self.remembered.remove(host);
        }
        self.details.get_mut(host).is_some_and(|detail| detail.answered(asked, answer, Instant::now()))
    }

    /// When there is something to do again, if nothing happens until then.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let heard = self.details.iter().filter(|(host, _)| self.roll.is_heard(host, now));
        let due = heard.filter_map(|(_, detail)| detail.due());
        due.chain(self.roll.next_suspect(now)).min()
    }

    /// Whether a host became suspect after `before`, or a doubt ended by itself.
    pub(super) fn time_tells(&self, before: Instant, now: Instant) -> bool {
        let passed = |at: Instant| at > before && at <= now;
        let settled = self.connected.is_some_and(|connected| passed(connected + self.settle));
        settled
            || self.remembered.values().any(|host| passed(host.since + DOUBT))
            || self.roll.iter().any(|(_, heard)| passed(heard.last + SUSPECT) || passed(heard.last + DOUBT))
    }

    /// Takes those for lost whose silence is not in doubt any more.
    pub(super) fn conclude(&mut self, now: Instant) {
        if self.doubt(now).is_none() {
            let silent = self.roll.iter().filter(|(_, heard)| now.duration_since(heard.last) > LOST);
            self.lost = silent.map(|(host, _)| host.clone()).collect();
        }
    }

    /// Forgets hosts that were silent for very long.
    pub(super) fn sweep(&mut self, now: Instant) {
        let long = self.roll.iter().filter(|(_, heard)| now.duration_since(heard.last) > FORGET);
        for host in long.map(|(host, _)| host.clone()).collect::<Vec<_>>() {
            self.roll.forget(&host);
            self.details.remove(&host);
        }
        self.remembered.retain(|_, host| now.duration_since(host.since) <= FORGET);
    }

    /// Everything as it is seen at `now`.
    pub(super) fn sight(&self, now: Instant) -> Sight {
        let hosts = self.roll.iter().map(|(id, heard)| {
            let detail = self.details.get(id);
            let silent = now.duration_since(heard.last);
            let known = detail.and_then(Detail::inventory);
            // Who has not answered yet may run all that it ran, or was told to start, when another wadm looked.
            let remembered = || Some(Arc::new(self.remembered.get(id)?.answer.unconfirmed(&heard.running)));
            let inventory = known.or_else(remembered);
            let seen = SeenHost {
                boot: Some(heard.boot),
                state: heard.state,
                heard: heard.last,
                clock_ms: Some(heard.clock_ms),
                silent,
                hearsay: self.hearsay(id, heard, inventory.as_deref(), now),
                inventory,
                asked: detail.and_then(Detail::asked),
                distance: detail.and_then(Detail::distance),
            };
            (id.clone(), seen)
        });
        let remembered = self.unheard().map(|(id, Remembered { since, answer })| {
            let silent = silence(*since, now);
            let inventory = Some(Arc::clone(answer));
            let (boot, state, heard) = (None, State::Ready, *since);
            let hearsay = BTreeSet::new();
            let (clock_ms, asked, distance) = (None, None, None);
            (id.clone(), SeenHost { boot, state, heard, clock_ms, silent, inventory, asked, distance, hearsay })
        });
        let links = self.links.all(LINKS);
        let configs = self.configs.all(CONFIGS);
        let owned = self.owned.all(OWNED);
        Sight {
            at: now,
            hosts: remembered.chain(hosts).collect(),
            links: links.map(|links| links.map(|(_, link)| (LinkKey::of(link), link.clone())).collect()),
            configs: configs.map(|configs| {
                configs.filter_map(|(name, config)| Some((ConfigName::parse(name).ok()?, config.clone()))).collect()
            }),
            owned: owned.map(|owned| {
                owned.filter_map(|(app, owned)| Some((AppName::parse(app).ok()?, owned.clone()))).collect()
            }),
            doubt: self.doubt(now),
        }
    }

    /// What a host says that it runs, beyond what is known of it, until it has answered or had a minute for it.
    fn hearsay(&self, host: &HostId, heard: &Heard, known: Option<&Answer>, now: Instant) -> BTreeSet<EntityId> {
        let since = self.details.get(host).and_then(Detail::unanswered);
        if since.is_none_or(|since| now.duration_since(since) > DOUBT) {
            return BTreeSet::new();
        }
        let ids = heard.running.iter().map(|running| &running.id);
        ids.filter(|id| known.is_none_or(|known| !known.runs(id))).cloned().collect()
    }

    /// The hosts that another wadm saw and this one did not hear.
    fn unheard(&self) -> impl Iterator<Item = (&HostId, &Remembered)> {
        self.remembered.iter().filter(|(host, _)| !self.roll.knows(host))
    }

    /// Why nothing is to be concluded from what is not seen, if so.
    fn doubt(&self, now: Instant) -> Option<String> {
        let Some(connected) = self.connected else { return Some("the connection to the lattice is down".to_owned()) };
        if now.duration_since(connected) < self.settle {
            return Some("the connection to the lattice is new: hosts are still being heard".to_owned());
        }
        if !(self.links.is_complete() && self.configs.is_complete() && self.owned.is_complete()) {
            return Some("the lattice's store has not told its records yet".to_owned());
        }
        let remembered = || self.unheard().map(|(_, host)| silence(host.since, now));
        let not_lost = || self.roll.iter().filter(|(host, _)| !self.lost.contains(*host));
        let ages = || not_lost().map(|(_, heard)| now.duration_since(heard.last)).chain(remembered());
        let heard = ages().filter(|age| *age < SUSPECT).count();
        let is_silent = |age: Duration| age >= SUSPECT && age < DOUBT;
        // Those who fall silent together do not become suspect together.
        let late = ages().filter(|age| is_silent(*age) || (*age > LATE && *age < SUSPECT)).count();
        let in_time = ages().filter(|age| *age <= LATE).count();
        // Of two hosts one is half; who hears the other one knows that it is not deaf.
        if ages().any(is_silent) && (late > in_time || (late == in_time && late > 1)) {
            return Some(format!("{late} of {} hosts are silent at once", late + in_time));
        }
        let is_unknown = |host: &HostId| self.details.get(host).is_none_or(|detail| detail.inventory().is_none());
        let unknown = self.roll.iter().filter(|(host, _)| self.roll.is_heard(host, now) && is_unknown(host)).count();
        (unknown * 2 > heard).then(|| format!("{unknown} of {heard} hosts have not said yet what they run"))
    }
}
