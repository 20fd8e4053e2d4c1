//! Gives back what it is given, by an async function.

wit_bindgen::generate!({ world: "callee", path: "wit" });

struct Callee;

impl exports::bench::async_calls::echo::Guest for Callee {
    async fn text(text: String) -> String {
        text
    }
}

export!(Callee);
