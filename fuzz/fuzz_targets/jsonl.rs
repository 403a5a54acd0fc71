//! Arbitrary JSON Lines file, plain or compressed, perhaps with a wrong name: planned and read, with the same rows for every
//! split. Columns may be nested.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::{allow_caught_panics, folder, is_columnar, parameters, plan_and_read};

fuzz_target!(|input: &[u8]| {
    allow_caught_panics();
    let Some((&choice, content)) = input.split_first() else {
        return;
    };
    let extensions = match choice & 0x80 {
        0 => ["jsonl", "jsonl", "jsonl.gz", "jsonl.zst"],
        _ => ["json", "csv", "parquet", "tsv.gz"],
    };
    let mut parameters = parameters(choice);
    if choice & 0x40 != 0 {
        parameters.columns.insert("text".into(), "text.a".into());
        parameters.keep_columns = vec!["kept.0".into(), "kept.0.b".into(), "kept".into()];
    }
    let folder = folder();
    let extension = extensions[usize::from(choice & 3)];
    let path = folder.path().join(format!("in.{extension}"));
    std::fs::write(&path, content).unwrap();
    plan_and_read(&path, &parameters, is_columnar(content) || extension == "parquet");
});
