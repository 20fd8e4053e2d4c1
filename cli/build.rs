//! How `trellis` is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Generic code repeats itself: functions with the same instructions are kept once, which saves a tenth of the file.
    if cfg!(target_os = "linux") {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}
