//! Arbitrary Arrow IPC file, or a small file with many types and arbitrary damage: planned and read.

#![no_main]

use std::sync::LazyLock;

use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_ipc::{CompressionType, MetadataVersion};
use libfuzzer_sys::fuzz_target;
use shoal_fuzz::columnar::{batch, plan_and_read_damaged};
use shoal_job::format::OutputFormat;

static FILES: LazyLock<[Vec<u8>; 4]> = LazyLock::new(|| {
    [
        (None, 8),
        (None, 64),
        (Some(CompressionType::LZ4_FRAME), 64),
        (Some(CompressionType::ZSTD), 64),
    ]
    .map(|(compression, alignment)| {
        let options = IpcWriteOptions::try_new(alignment, false, MetadataVersion::V5)
            .and_then(|options| options.try_with_compression(compression))
            .unwrap();
        let batch = batch();
        let mut writer =
            FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
        writer.write(&batch.slice(0, 3)).unwrap();
        writer.write(&batch.slice(3, 2)).unwrap();
        writer.into_inner().unwrap()
    })
});

fuzz_target!(|input: &[u8]| {
    plan_and_read_damaged(&FILES, input, OutputFormat::Arrow);
});
