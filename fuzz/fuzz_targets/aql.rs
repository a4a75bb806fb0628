#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| supercargo_artifactory::edge::aql(data));
