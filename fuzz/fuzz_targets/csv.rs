//! Arbitrary CSV or TSV file, plain or compressed: planned and read, with the same rows for every
//! split.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::{allow_caught_panics, folder, is_columnar, parameters, plan_and_read};

fuzz_target!(|input: &[u8]| {
    allow_caught_panics();
    let Some((&choice, content)) = input.split_first() else {
        return;
    };
    let extension = ["csv", "tsv", "csv.gz", "csv.zst"][usize::from(choice & 3)];
    let folder = folder();
    let path = folder.path().join(format!("in.{extension}"));
    std::fs::write(&path, content).unwrap();
    plan_and_read(&path, &parameters(choice), is_columnar(content));
});
