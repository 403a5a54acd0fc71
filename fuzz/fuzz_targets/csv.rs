//! Arbitrary CSV or TSV file, plain or compressed: planned and read, with the same rows for every
//! split.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::{allow_caught_panics, folder, plan_and_read};
use shoal_job::format::OutputFormat;
use shoal_job::spec::Parameters;

fuzz_target!(|input: &[u8]| {
    allow_caught_panics();
    let Some((&choice, content)) = input.split_first() else {
        return;
    };
    let extension = ["csv", "tsv", "csv.gz", "csv.zst"][usize::from(choice & 3)];
    let mut parameters = Parameters::default();
    if choice & 4 != 0 {
        parameters.text_column = Some("text".into());
        parameters.id_column = Some("id".into());
        parameters.keep_columns = vec!["kept".into()];
    }
    if choice & 8 != 0 {
        parameters.label_column = Some("label".into());
    }
    parameters.output_format = match choice >> 4 & 3 {
        0 | 1 => OutputFormat::Csv,
        2 => OutputFormat::Jsonl,
        _ => OutputFormat::Parquet,
    };
    let folder = folder();
    let path = folder.path().join(format!("in.{extension}"));
    std::fs::write(&path, content).unwrap();
    plan_and_read(&path, &parameters, false);
});
