#![no_main]
#![allow(dead_code, unused_imports, reason = "each target uses its own part of the shared file")]

#[path = "../../src/fuzzed.rs"]
mod fuzzed;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzed::service(data));
