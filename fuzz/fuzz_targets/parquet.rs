//! Arbitrary Parquet file, or a small file with many types and arbitrary damage: planned and read.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};
use shoal_fuzz::columnar::{batch, plan_and_read_damaged};
use shoal_job::format::OutputFormat;

static FILES: LazyLock<[Vec<u8>; 4]> = LazyLock::new(|| {
    [
        (Compression::UNCOMPRESSED, WriterVersion::PARQUET_1_0, true),
        (Compression::UNCOMPRESSED, WriterVersion::PARQUET_2_0, false),
        (Compression::SNAPPY, WriterVersion::PARQUET_1_0, false),
        (
            Compression::ZSTD(ZstdLevel::default()),
            WriterVersion::PARQUET_2_0,
            true,
        ),
    ]
    .map(|(compression, version, dictionary)| {
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_writer_version(version)
            .set_dictionary_enabled(dictionary)
            .set_max_row_group_row_count(Some(3))
            .build();
        let batch = batch();
        let mut writer =
            ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    })
});

fuzz_target!(|input: &[u8]| {
    plan_and_read_damaged(&FILES, input, OutputFormat::Parquet);
});
