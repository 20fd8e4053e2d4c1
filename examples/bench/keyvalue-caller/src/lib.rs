//! Calls an actor that reads a key, or does nothing, as often as it is told to.

wit_bindgen::generate!({
    world: "bench:keyvalue/calling",
    path: ["../../../interfaces/wit/keyvalue", "../keyvalue-reader/wit"],
});

use bench::keyvalue::reader;
use exports::bench::keyvalue::driver::Guest;

struct Caller;

impl Guest for Caller {
    fn nothing(count: u32) -> u32 {
        (0..count).map(|_| reader::nothing()).sum()
    }

    fn get(count: u32) -> u32 {
        (0..count).map(|_| reader::get()).sum()
    }

    fn set(count: u32) -> u32 {
        (0..count).map(|_| reader::set()).sum()
    }
}

export!(Caller);
