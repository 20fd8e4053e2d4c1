//! Manifests of applications: those of the examples, and others.

use std::path::PathBuf;

use super::lattice::Lattice;

/// A manifest, to be written beside its images.
pub(crate) struct App<'a> {
    lattice: &'a Lattice,
    text: String,
}

impl<'a> App<'a> {
    /// The example `name` with its actor, signed for `imports`, answering where the lattice serves HTTP.
    pub(crate) fn example(lattice: &'a Lattice, name: &str, imports: &[&str]) -> Self {
        Self::example_of(lattice, name, &[(name, imports)])
    }

    /// The same with these actors, each signed for imports of its own.
    pub(crate) fn example_of(lattice: &'a Lattice, name: &str, actors: &[(&str, &[&str])]) -> Self {
        let file = format!("{}/../examples/apps/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("read {file}: {error}"));
        for (actor, imports) in actors {
            lattice.signed(actor, imports);
        }
        let address = lattice.address.to_string();
        let ports = ["127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8086"];
        Self { lattice, text: ports.iter().fold(text, |text, port| text.replace(port, &address)) }
    }

    /// The manifest `text`, answering where the lattice serves HTTP.
    pub(crate) fn text(lattice: &'a Lattice, text: &str) -> Self {
        Self { lattice, text: text.replace("127.0.0.1:8080", &lattice.address.to_string()) }
    }

    /// The application `name` of these components, each a piece of YAML as it stands in the list.
    pub(crate) fn of(lattice: &'a Lattice, name: &str, components: impl IntoIterator<Item = String>) -> Self {
        let head = format!(
            "apiVersion: core.oam.dev/v1beta1\nkind: Application\nmetadata:\n  name: {name}\n  annotations:\n    \
             version: v1\nspec:\n  components:\n"
        );
        Self { lattice, text: components.into_iter().fold(head, |text, component| text + &component) }
    }

    /// The application `name` of `count` actors, each of three instances of `hello`, that nobody calls.
    pub(crate) fn many(lattice: &'a Lattice, name: &str, count: usize) -> Self {
        let component = |number| {
            format!(
                "    - name: actor{number}\n      type: component\n      properties:\n        image: \
                 file://hello.signed.wasm\n      traits:\n        - type: spreadscaler\n          properties:\n            \
                 instances: 3\n"
            )
        };
        Self::of(lattice, name, (0..count).map(component))
    }

    /// The same with `to` where `from` stood.
    pub(crate) fn with(mut self, from: &str, to: &str) -> Self {
        assert!(self.text.contains(from), "{from} is not in the manifest");
        self.text = self.text.replace(from, to);
        self
    }

    /// The same with the HTTP server and the key-value store on a host that has this label.
    pub(crate) fn with_providers_at(mut self, label: &str) -> Self {
        for builtin in ["http-server", "keyvalue"] {
            let image = format!("        image: builtin:{builtin}\n");
            let scaler = format!(
                "        - type: spreadscaler\n          properties: {{ instances: 1, spread: [ {{ name: one, \
                 requirements: {{ {label} }} }} ] }}\n"
            );
            // The HTTP server has traits already, the store has none.
            let traits = if self.text.contains(&format!("{image}      traits:\n")) { "" } else { "      traits:\n" };
            let after = if traits.is_empty() { format!("{image}      traits:\n") } else { image.clone() };
            self = self.with(&after, &format!("{after}{traits}{scaler}"));
        }
        self
    }

    /// The manifest beside its images.
    pub(crate) fn write(&self) -> PathBuf {
        self.write_as("app")
    }

    /// The same under a name of its own.
    pub(crate) fn write_as(&self, name: &str) -> PathBuf {
        let file = self.lattice.data().join(format!("{name}.yaml"));
        std::fs::write(&file, &self.text).expect("written");
        file
    }
}
