//! wadm is killed in the middle of a deploy that it acknowledged: the same one goes on where it was, or another one
//! takes over. Nobody deploys again, and nothing is started twice.

use tempfile::TempDir;

use crate::support::app::App;
use crate::support::lattice::{Lattice, listed, path};
use crate::support::process::{self, Server};
use crate::support::{starts, wait};

/// Actors of the application that is being deployed, on both hosts.
const ACTORS: usize = 12;

/// When wadm is killed: which hosts hold still until then, so that there is a middle on a fast machine too, and how
/// many actors the others have started. While both hold still wadm comes no further than its first command.
const STAGES: [(&[&str], usize); 4] = [(&["a", "b"], 0), (&["b"], 1), (&["a"], ACTORS / 2), (&["b"], ACTORS)];

/// Actors on both hosts, of which one has a link to a provider: records, provider and link come before all actors.
/// However long a host holds still, it is not taken for lost: what it runs would be started elsewhere, and that is not
/// what is tested here.
fn app<'a>(lattice: &'a Lattice, name: &str) -> App<'a> {
    let tolerations = "        - type: tolerations\n          properties: { silence: 10m }\n";
    let link = "        - type: link\n          properties: { target: kv, namespace: wasi, package: keyvalue, \
                interfaces: [store] }\n";
    let provider =
        "    - name: kv\n      type: capability\n      properties: { image: \"builtin:keyvalue\" }\n      traits:\n";
    let second = "    - name: actor1\n";
    let instances = "            instances: 3\n";
    App::many(lattice, name, ACTORS)
        .with(instances, &format!("{instances}{tolerations}"))
        .with(second, &format!("{link}{provider}{tolerations}{second}"))
}

/// Deploys the application `name` and ends wadm by `kill` at that stage; with wadm gone the hosts go on.
fn deploy_and_kill(
    lattice: &mut Lattice,
    name: &str,
    (still, started): (&[&str], usize),
    kill: impl FnOnce(&mut Lattice),
) {
    let manifest = app(lattice, name).write();
    let signal = |lattice: &Lattice, signal: &str| {
        still.iter().for_each(|host| process::signal(lattice.process_of(host), signal));
    };
    signal(lattice, "STOP");
    lattice.run(&["app", "deploy", path(&manifest)]);
    starts::until(lattice, name, started);
    let before = starts::of_app(lattice, name);
    kill(lattice);
    println!("killed when {before} of {} actors were started", 2 * ACTORS);
    assert!(before <= ACTORS, "the hosts that held still have started nothing");
    signal(lattice, "CONT");
}

/// The application `name` comes to stand, and nothing was started twice on the way.
fn check(lattice: &Lattice, name: &str) {
    lattice.until_deployed(name);
    starts::none_twice(lattice);
}

#[test]
fn a_killed_wadm_goes_on_where_it_was() {
    let mut lattice = Lattice::two_hosts();
    lattice.signed("hello", &[]);
    lattice.start_wadm();
    for (round, stage) in STAGES.into_iter().enumerate() {
        let name = format!("many{round}");
        deploy_and_kill(&mut lattice, &name, stage, Lattice::kill_wadm);
        lattice.start_wadm();
        check(&lattice, &name);
    }
}

/// A wadm with a data directory of its own, as on a machine of its own.
struct Rival {
    data: TempDir,
    /// Where the lattice is, its authority, and the key of the other wadm.
    arguments: Vec<String>,
    server: Option<Server>,
}

impl Rival {
    fn start(&mut self) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let server = Server::start(self.data.path(), &arguments);
        server.wait_for("wadm is in lattice");
        self.server = Some(server);
    }

    /// The token with which it acts, or did last.
    fn token(&self) -> Option<u64> {
        let output = self.server.as_ref()?.output();
        let line = output.lines().rfind(|line| line.contains("lease taken"))?;
        line.split("token=").nth(1)?.trim().parse().ok()
    }
}

/// Two that believe each other.
fn rivals(lattice: &Lattice) -> [Rival; 2] {
    let authority = listed(lattice.data(), "account", "authority", "public");
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary directory"));
    let keys = folders.each_ref().map(|data| process::run(data.path(), &["keys", "gen", "user", "wadm"]).ok());
    let [other, one] = keys.map(|key| {
        let key = key.trim();
        ["wadm", "--nats-url", &lattice.nats_url(), "--authority", &authority, "--believe", key].map(str::to_owned)
    });
    let [first, second] = folders;
    let rival = |data, arguments: [String; 7]| {
        let mut rival = Rival { data, arguments: arguments.to_vec(), server: None };
        rival.start();
        rival
    };
    [rival(first, one), rival(second, other)]
}

#[test]
fn of_two_wadms_the_other_one_takes_over() {
    let mut lattice = Lattice::two_hosts();
    lattice.signed("hello", &[]);
    let mut rivals = rivals(&lattice);
    for (round, stage) in STAGES.into_iter().enumerate() {
        let name = format!("many{round}");
        wait::until("one of them acts", || rivals.iter().find_map(Rival::token).ok_or("neither".to_owned()));
        let acting = usize::from(rivals[1].token() > rivals[0].token());
        let token = rivals[acting].token();
        deploy_and_kill(&mut lattice, &name, stage, |_| rivals[acting].server = None);
        check(&lattice, &name);
        wait::until("the other one to act", || match rivals[1 - acting].token() {
            next if next > token => Ok(()),
            next => Err(format!("{next:?} after {token:?}")),
        });
        rivals[acting].start();
    }
}
