//! A damaged Parquet file is read or is an input error, and never causes a panic.

mod common;

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use bytes::Bytes;
use common::Bench;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::properties::{WriterProperties, WriterVersion};
use proptest::prelude::*;
use shoal_job::format::OutputFormat;
use shoal_job::{Error, Result};

/// A file with five rows in two row groups.
fn file(compression: Compression, version: WriterVersion) -> Vec<u8> {
    let texts = ["good", "", "not so bad — 好", "x", "good"];
    let columns: [(&str, ArrayRef); 5] = [
        ("text", Arc::new(StringArray::from(texts.to_vec()))),
        ("id", Arc::new(Int64Array::from_iter_values(0..5))),
        (
            "flag",
            Arc::new(BooleanArray::from(vec![
                Some(true),
                None,
                None,
                Some(false),
                None,
            ])),
        ),
        (
            "price",
            Arc::new(Float64Array::from(vec![1.5, f64::NAN, -0.0, 1e300, 2.0])),
        ),
        (
            "at",
            Arc::new(
                TimestampMillisecondArray::from(vec![0, 1, -1, i64::MAX, i64::MIN])
                    .with_timezone("+01:00"),
            ),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_writer_version(version)
        .set_max_row_group_row_count(Some(3))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// Plans and reads the file, and counts its rows.
fn read(content: &[u8], kept: &str) -> Result<u64> {
    let bench = Bench::new();
    let path = bench.path("a.parquet");
    std::fs::write(&path, content).unwrap();
    bench.count(&path, &[kept])
}

#[test]
fn complete_files_are_read() {
    for kept in ["flag", "price", "at"] {
        let content = file(Compression::SNAPPY, WriterVersion::PARQUET_2_0);
        assert_eq!(read(&content, kept).unwrap(), 5);
    }
}

/// Pages that claim more values than their row group has rows.
#[test]
fn rows_of_a_damaged_file_do_not_depend_on_the_batch_size() {
    let sound = file(Compression::UNCOMPRESSED, WriterVersion::PARQUET_2_0);
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(&Bytes::from(sound.clone()))
        .unwrap();
    let (start, length) = metadata.row_group(0).column(3).byte_range();
    let bench = Bench::new();
    let path = bench.path("a.parquet");
    let read = |batch_size| {
        let parameters = common::parameters(batch_size, &["price"], OutputFormat::Csv);
        let (_, rows) = bench.carry_as(&[&path], parameters).ok()?;
        Some(rows)
    };
    let mut read_both = 0;
    for at in start..start + length {
        let mut content = sound.clone();
        content[at as usize] = 0x66;
        std::fs::write(&path, content).unwrap();
        if let (Some(one), Some(all)) = (read(1), read(5)) {
            assert_eq!(one, all, "byte {at}");
            read_both += 1;
        }
    }
    assert!(read_both > 10);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_files_are_read_or_refused(
        plain: bool,
        old: bool,
        kept in prop::sample::select(&["flag", "price", "at"][..]),
        // Positions, counted from the end, where the footer is, and the bytes that are written there.
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        at_end: bool,
    ) {
        let compression = if plain { Compression::UNCOMPRESSED } else { Compression::SNAPPY };
        let version = if old { WriterVersion::PARQUET_1_0 } else { WriterVersion::PARQUET_2_0 };
        let mut content = file(compression, version);
        let length = content.len();
        for (place, value) in damage {
            let span = if at_end { length.min(1200) } else { length };
            content[length - 1 - place.index(span)] = value;
        }
        if let Err(error) = read(&content, kept) {
            prop_assert!(matches!(error, Error::Input { .. } | Error::Parameter(_)), "{}", error);
        }
    }
}
