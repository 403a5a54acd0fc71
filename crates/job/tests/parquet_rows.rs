//! Ranges of rows of Parquet files, across row groups and files.

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int64Array, LargeStringArray, RecordBatch, StringArray,
    StringViewArray, types::Int32Type,
};
use common::{Bench, check};
use parquet::arrow::ArrowWriter;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// Writes consecutive ids, starting at `first`, and these texts in row groups of `group` rows.
fn write(path: &Path, first: i64, texts: ArrayRef, group: usize) {
    let ids = Int64Array::from_iter_values((first..).take(texts.len()));
    let batch = RecordBatch::try_from_iter([
        ("other", Arc::new(ids.clone()) as ArrayRef),
        ("text", texts),
        ("id", Arc::new(ids)),
    ])
    .unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group))
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let groups = SerializedFileReader::new(File::open(path).unwrap())
        .unwrap()
        .num_row_groups();
    assert_eq!(groups, batch.num_rows().div_ceil(group));
}

fn texts(range: std::ops::Range<i64>) -> Vec<String> {
    range.map(|row| format!("text {row}")).collect()
}

#[test]
fn ranges_span_row_groups_and_files() {
    let bench = Bench::new();
    let (first, second) = (bench.path("a.parquet"), bench.path("b.parquet"));
    write(&first, 0, Arc::new(StringArray::from(texts(0..230))), 100);
    write(
        &second,
        230,
        Arc::new(StringArray::from(texts(230..300))),
        7,
    );
    bench.check_ranges(&first, &second);
}

#[test]
fn every_kind_of_string_column_is_read() {
    let bench = Bench::new();
    let path = bench.path("in.parquet");
    let dictionary: DictionaryArray<Int32Type> = texts(0..20)
        .iter()
        .map(|text| Some(text.as_str()))
        .collect();
    let arrays: [ArrayRef; 3] = [
        Arc::new(LargeStringArray::from(texts(0..20))),
        Arc::new(StringViewArray::from_iter_values(texts(0..20))),
        Arc::new(dictionary),
    ];
    for array in arrays {
        write(&path, 0, array, 8);
        check(&bench.read(&[&path], 3).1, 20);
    }
}

#[test]
fn an_empty_file_has_no_batches() {
    let bench = Bench::new();
    let path = bench.path("in.parquet");
    write(&path, 0, Arc::new(StringArray::from(texts(0..0))), 8);
    let (job, found) = bench.read(&[&path], 3);
    assert_eq!((job.records, job.batches, found.len()), (0, 0, 0));
}

/// Writes a byte column of this logical type, whose values may be invalid UTF-8.
fn write_bytes(bench: &Bench, logical_type: &str, groups: &[&[&[u8]]]) -> PathBuf {
    let path = bench.path("bytes.parquet");
    let schema = format!("message rows {{ required binary text {logical_type}; }}");
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let mut writer =
        SerializedFileWriter::new(File::create(&path).unwrap(), schema, Arc::default()).unwrap();
    for values in groups {
        let values: Vec<_> = values
            .iter()
            .map(|value| ByteArray::from(value.to_vec()))
            .collect();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<ByteArrayType>()
            .write_batch(&values, None, None)
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    path
}

#[test]
fn only_rows_with_invalid_utf8_are_bad() {
    let bench = Bench::new();
    for logical_type in ["(utf8)", ""] {
        let groups: [&[&[u8]]; 3] = [
            &[b"a", b"\xff", b"b"],
            &["ü".as_bytes(), b"\xc3"],
            // Two values that are valid UTF-8 only when they are concatenated.
            &[b"\xf0\x9f", b"\x98\x80", b"c"],
        ];
        let path = write_bytes(&bench, logical_type, &groups);
        for batch_size in [1, 2, 5, 100] {
            let (_, found) = bench.read(&[&path], batch_size);
            let texts: Vec<_> = found
                .iter()
                .map(|row| row.content.as_ref().ok().map(|record| record.text()))
                .collect();
            let expected = [
                Some("a"),
                None,
                Some("b"),
                Some("ü"),
                None,
                None,
                None,
                Some("c"),
            ];
            assert_eq!(
                texts, expected,
                "{logical_type:?} in batches of {batch_size}"
            );
            let places: Vec<_> = found.iter().map(|row| row.place).collect();
            assert_eq!(places, [0, 1, 2, 3, 4, 5, 6, 7]);
            for bad in found.iter().filter_map(|row| row.content.as_ref().err()) {
                assert!(bad.reason.contains("not valid UTF-8"), "{}", bad.reason);
            }
        }
    }
}
