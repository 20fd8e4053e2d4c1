//! Applications on a lattice of processes: from the order to deploy one to its first answer, and from the loss of the
//! host that answered to the next answer.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::Setting;
use super::figure::Figure;
use super::lattice::{Lattice, answered_after};
use super::process::free_address;

/// How often the host that answers is killed.
const KILLS: u32 = 20;

pub(super) fn measure(setting: &Setting) -> Result<Vec<Figure>> {
    let Some(mut lattice) = Lattice::start(setting)? else { return Ok(Vec::new()) };
    lattice.sign("hello", &[])?;
    let first = first_responses(&lattice, setting.rounds)?;
    let kills = kills(&mut lattice)?;
    let worst = kills.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        Figure::absolute("deploy.first_response", "ms", first).at_most(60.0),
        Figure::absolute("failover.kill", "ms", kills).at_most(3_000.0),
        Figure::absolute("failover.kill_worst", "ms", vec![worst]).at_most(3_000.0),
    ])
}

/// Milliseconds from the start of the process `trellis app deploy` to the first answer, after one deploy that fills the
/// caches.
fn first_responses(lattice: &Lattice<'_>, rounds: u32) -> Result<Vec<f64>> {
    let mut milliseconds = Vec::new();
    for round in 0..=rounds {
        let (name, address) = (format!("hello{round}"), free_address()?);
        let manifest = lattice.write("app.yaml", &manifest(&name, address, 30, ""))?;
        let began = Instant::now();
        let mut deploy =
            lattice.command(&["app", "deploy"]).arg(&manifest).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let answered = answered_after(began, address);
        ensure!(deploy.wait()?.success(), "{name} was not deployed");
        milliseconds.push(answered?);
        lattice.run(&["app", "undeploy", &name, "--wait"])?;
    }
    milliseconds.remove(0);
    Ok(milliseconds)
}

/// Milliseconds from the kill of the host that runs the actor, of which there is one instance, to the next answer. The
/// HTTP server is on a host that is not killed.
fn kills(lattice: &mut Lattice<'_>) -> Result<Vec<f64>> {
    let address = free_address()?;
    let manifest = lattice.write("app.yaml", &manifest("moved", address, 1, "worker"))?;
    lattice.run(&["app", "deploy", &manifest.display().to_string(), "--wait"])?;
    answered_after(Instant::now(), address)?;
    let mut milliseconds = Vec::new();
    for _ in 0..KILLS {
        let host = lattice.host_of("moved-hello")?;
        let began = Instant::now();
        lattice.kill(&host)?;
        milliseconds.push(answered_after(began, address)?);
        lattice.start_host(&host)?;
        lattice.until_deployed("moved")?;
    }
    Ok(milliseconds)
}

/// "hello" behind an HTTP server at `address`: anywhere, or the actor on hosts of `role` and the server at the front.
fn manifest(name: &str, address: SocketAddr, instances: u32, role: &str) -> String {
    let spread = |role: &str| format!(", spread: [ {{ name: there, requirements: {{ role: {role} }} }} ]");
    let (of_actor, of_server) = if role.is_empty() { Default::default() } else { (spread(role), spread("front")) };
    format!(
        r#"apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {{ name: {name}, annotations: {{ version: v1 }} }}
spec:
  components:
    - name: hello
      type: component
      properties: {{ image: "file://hello.signed.wasm" }}
      traits:
        - {{ type: spreadscaler, properties: {{ instances: {instances}{of_actor} }} }}
    - name: http
      type: capability
      properties: {{ image: "builtin:http-server" }}
      traits:
        - {{ type: spreadscaler, properties: {{ instances: 1{of_server} }} }}
        - type: link
          properties:
            target: {{ name: hello }}
            namespace: wasi
            package: http
            interfaces: [incoming-handler]
            source: {{ config: [ {{ name: listen, properties: {{ address: "{address}" }} }} ] }}
"#
    )
}
