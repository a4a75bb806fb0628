#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| supercargo_docker_v2::edge::htpasswd(data));
