#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    cairn_storage::fuzz::raft_entry(data);
});
