//! What the applications of the simulation say, and what follows from that for the ground.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use trellis_wadm::intent::{AppIntent, AppName, Deployed, Intent};
use trellis_wadm::manifest::{self, Format};

/// What is wanted of the ground: worked out by hand for each application, and not by what is tested.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// By application: `None` when it is not to run.
    pub(crate) apps: BTreeMap<String, Option<WantedApp>>,
}

/// One application.
#[derive(Debug, Clone, Default)]
pub(crate) struct WantedApp {
    /// How many instances of each id in the lattice, on hosts with the label given.
    pub(crate) runs: Vec<WantedRun>,
    /// Source and target of its links.
    pub(crate) links: Vec<(String, String)>,
    /// The names of its configs.
    pub(crate) configs: Vec<String>,
    /// Whether it can be deployed in full.
    pub(crate) is_sound: bool,
}

/// One component in one group of hosts.
#[derive(Debug, Clone)]
pub(crate) struct WantedRun {
    pub(crate) id: String,
    pub(crate) reference: String,
    pub(crate) instances: Instances,
    /// The zone its hosts are in; any when absent.
    pub(crate) zone: Option<&'static str>,
}

/// How many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instances {
    /// In all hosts together.
    Total(u32),
    /// On each host.
    Each(u32),
}

/// The script's hand on the intent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    generation: u64,
    pub(crate) intent: Intent,
    pub(crate) wanted: Wanted,
}

impl Wishes {
    /// Deploys version `version` of `shop`: a spread actor over two zones, a singleton, a provider that is linked.
    pub(crate) fn deploy_shop(&mut self, version: u32) {
        let web = 2 * (1 + version % 3);
        let image = |name: &str| format!("file:///{name}-{version}.wasm");
        let zones = json!([
            {"name": "east", "weight": 50, "requirements": {"zone": "east"}},
            {"name": "west", "weight": 50, "requirements": {"zone": "west"}},
        ]);
        let link = json!({"target": {"name": "web"}, "namespace": "wasi", "package": "http",
            "interfaces": ["incoming-handler"],
            "source": {"config": [{"name": "listen", "properties": {"address": format!("127.0.0.1:{}", 8000 + version)}}]}});
        let components = json!([
            component("web", "component", &image("web"), &[scaler("spreadscaler", web, &zones)]),
            component("cron", "component", &image("cron"), &[scaler("spreadscaler", 1, &json!([]))]),
            component(
                "door",
                "capability",
                "builtin:http-server",
                &[scaler("spreadscaler", 1, &json!([])), json!({"type": "link", "properties": link})]
            ),
        ]);
        let run = |id: &str, reference: String, instances, zone| WantedRun {
            id: id.to_owned(),
            reference,
            instances: Instances::Total(instances),
            zone,
        };
        let wanted = WantedApp {
            runs: vec![
                run("shop-web", image("web"), web / 2, Some("east")),
                run("shop-web", image("web"), web / 2, Some("west")),
                run("shop-cron", image("cron"), 1, None),
                run("shop-door", "builtin:http-server".to_owned(), 1, None),
            ],
            links: vec![("shop-door".to_owned(), "shop-web".to_owned())],
            configs: vec!["shop-listen".to_owned()],
            is_sound: true,
        };
        self.deploy("shop", version, components, wanted);
    }

    /// Deploys `tool`: an actor on each host in the east.
    pub(crate) fn deploy_tool(&mut self, version: u32) {
        let image = format!("file:///tool-{version}.wasm");
        let east = json!([{"name": "east", "requirements": {"zone": "east"}}]);
        let components = json!([component("probe", "component", &image, &[scaler("daemonscaler", 2, &east)])]);
        let run = WantedRun {
            id: "tool-probe".to_owned(),
            reference: image,
            instances: Instances::Each(2),
            zone: Some("east"),
        };
        self.deploy("tool", version, components, WantedApp { runs: vec![run], is_sound: true, ..WantedApp::default() });
    }

    /// Deploys `gate`: a provider that runs as a process, and gives way to its next version.
    pub(crate) fn deploy_gate(&mut self, version: u32) {
        let image = format!("file:///gate-{version}.par");
        let scalers = [scaler("spreadscaler", 1, &json!([]))];
        let components = json!([component("gate", "capability", &image, &scalers)]);
        let (id, instances) = ("gate-gate".to_owned(), Instances::Total(1));
        let run = WantedRun { id, reference: image, instances, zone: None };
        self.deploy("gate", version, components, WantedApp { runs: vec![run], is_sound: true, ..WantedApp::default() });
    }

    /// Deploys `broken`: an actor whose image is not there.
    pub(crate) fn deploy_broken(&mut self) {
        let scalers = [scaler("spreadscaler", 1, &json!([]))];
        let components = json!([component("lost", "component", "file:///missing.wasm", &scalers)]);
        self.deploy("broken", 1, components, WantedApp::default());
    }

    /// Undeploys `app`, if it was ever deployed.
    pub(crate) fn undeploy(&mut self, app: &str) {
        if !self.wanted.apps.contains_key(app) {
            return;
        }
        self.generation += 1;
        let undeployed = AppIntent::Undeployed { generation: self.generation };
        self.intent.apps.insert(name(app), undeployed);
        self.wanted.apps.insert(app.to_owned(), None);
    }

    fn deploy(&mut self, app: &str, version: u32, components: Value, wanted: WantedApp) {
        self.generation += 1;
        let manifest = json!({
            "apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
            "metadata": {"name": app, "annotations": {"version": format!("v{version}")}},
            "spec": {"components": components},
        });
        let manifest = manifest::parse(manifest.to_string().as_bytes(), Format::Json).expect("a manifest");
        let deployed =
            Deployed { version: format!("v{version}"), generation: self.generation, manifest: Arc::new(manifest) };
        self.intent.apps.insert(name(app), AppIntent::Deployed(deployed));
        self.wanted.apps.insert(app.to_owned(), Some(wanted));
    }
}

fn name(app: &str) -> AppName {
    AppName::parse(app).expect("valid")
}

fn component(name: &str, kind: &str, image: &str, traits: &[Value]) -> Value {
    json!({"name": name, "type": kind, "properties": {"image": image}, "traits": traits})
}

fn scaler(kind: &str, instances: u32, spread: &Value) -> Value {
    json!({"type": kind, "properties": {"instances": instances, "spread": spread}})
}
