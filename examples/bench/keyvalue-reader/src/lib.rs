//! Reads a key, or does nothing.

wit_bindgen::generate!({ world: "bench:keyvalue/reading", path: ["../../../interfaces/wit/keyvalue", "wit"], generate_all });

use exports::bench::keyvalue::reader::Guest;
use wasi::keyvalue::store;

struct Reader;

impl Guest for Reader {
    fn nothing() -> u32 {
        0
    }

    fn get() -> u32 {
        let bucket = store::open("default").expect("the link has it");
        let value = bucket.get("key").expect("the store is there");
        value.map_or(0, |value| value.len() as u32)
    }

    fn set() -> u32 {
        let bucket = store::open("default").expect("the link has it");
        bucket.set("key", &[7; 64]).expect("the store is there");
        64
    }
}

export!(Reader);
