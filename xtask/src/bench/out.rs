//! HTTP in, through an actor, out by HTTP over kept connections: requests per second over 64 connections, compared with a
//! proxy in native code in front of the same server.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::Setting;
use super::figure::Figure;
use super::http::load;
use super::process::{Server, free_address};
use crate::step;

/// Between the two of them and the server behind, on one processor.
const AT_LEAST: f64 = 0.5;

pub(super) fn measure(setting: &Setting) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let upstream = free_address()?;
    let mut native = setting.cores.load(&setting.bare_host);
    native.args(["native", &upstream.to_string()]);
    let _upstream = started(&mut native, upstream, &directory.path().join("upstream.log"))?;

    let plain = free_address()?;
    let mut proxy = setting.cores.server(&setting.bare_host);
    proxy.args(["proxy", &upstream.to_string(), &plain.to_string()]);
    let _plain = started(&mut proxy, plain, &directory.path().join("proxy.log"))?;

    let actor = free_address()?;
    let mut trellis = trellis(setting, directory.path(), actor, upstream)?;
    let _trellis = started(&mut trellis, actor, &directory.path().join("trellis.log"))?;

    let mut measured = [(plain, Vec::new()), (actor, Vec::new())];
    // The first round warms up.
    for round in 0..=setting.rounds {
        for (address, per_second) in &mut measured {
            let rate = load(setting, *address)?;
            if round > 0 {
                per_second.push(rate);
            }
        }
    }
    let [(_, plain), (_, actor)] = measured;
    let figure = Figure::absolute("out.proxy", "requests/s", actor).against("native proxy", &plain);
    Ok(vec![figure.at_least(AT_LEAST)])
}

fn started(command: &mut Command, address: SocketAddr, log: &Path) -> Result<Server> {
    let mut server = Server::start(command, log)?;
    server.until_answers(address)?;
    Ok(server)
}

/// `trellis up` with the application of the example, its actor signed.
fn trellis(setting: &Setting, directory: &Path, address: SocketAddr, upstream: SocketAddr) -> Result<Command> {
    let data = directory.join("data");
    let signed = directory.join("proxy.signed.wasm");
    let mut sign = Command::new(&setting.trellis);
    sign.arg("sign").arg(setting.guests.join("proxy.wasm")).arg("--out").arg(&signed).arg("--data-dir").arg(&data);
    step::output(sign.args(["--import", "wasi:http/*", "--import", "wasi:config/*"]))?;
    let manifest = directory.join("proxy.yaml");
    std::fs::write(&manifest, application(address, upstream))
        .with_context(|| format!("cannot write {}", manifest.display()))?;
    let mut command = setting.cores.server(&setting.trellis);
    command.arg("up").arg("-f").arg(&manifest).arg("--data-dir").arg(&data);
    Ok(command)
}

fn application(address: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        r#"apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: {{ name: out, annotations: {{ version: v1 }} }}
spec:
  components:
    - name: proxy
      type: component
      properties:
        image: "file://proxy.signed.wasm"
        config: [ {{ name: upstream, properties: {{ upstream: "http://{upstream}" }} }} ]
      traits:
        - {{ type: spreadscaler, properties: {{ instances: 200 }} }}
        - type: link
          properties:
            target:
              name: client
              config: [ {{ name: outside, properties: {{ allow: "{upstream}", grant_private: loopback }} }} ]
            namespace: wasi
            package: http
            interfaces: [client]
    - {{ name: client, type: capability, properties: {{ image: "builtin:http-client" }} }}
    - name: http
      type: capability
      properties: {{ image: "builtin:http-server" }}
      traits:
        - type: link
          properties:
            target: {{ name: proxy }}
            namespace: wasi
            package: http
            interfaces: [handler]
            source: {{ config: [ {{ name: listen, properties: {{ address: "{address}" }} }} ] }}
"#
    )
}
