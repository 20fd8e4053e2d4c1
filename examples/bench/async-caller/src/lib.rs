//! Calls `bench:async-calls/echo` in a loop, one call after the other, and answers the sum of the lengths.

use bench::async_calls::echo;

wit_bindgen::generate!({ world: "caller", path: "../async-callee/wit" });

struct Caller;

impl exports::bench::async_calls::driver::Guest for Caller {
    async fn string64(count: u32) -> u32 {
        let mut sum = 0;
        for _ in 0..count {
            sum += echo::text("x".repeat(64)).await.len() as u32;
        }
        sum
    }
}

export!(Caller);
