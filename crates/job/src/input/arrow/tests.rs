//! An Arrow IPC file that is damaged anywhere is read, or is an error that names it: never a panic, never more memory than
//! the file is worth.

use std::sync::Arc;

use arrow_array::types::{Float32Type, Int8Type};
use arrow_array::{
    ArrayRef, DictionaryArray, FixedSizeListArray, Int64Array, ListArray, RecordBatch, StringArray,
    StringViewArray,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::DataType;
use proptest::prelude::*;

use super::FORMAT;
use crate::column::Column;
use crate::spec::{Columns, InputColumn};
use crate::store::Location;
use crate::{Error, Result, Role};

/// Five rows in two record batches.
fn file(compression: Option<CompressionType>) -> Vec<u8> {
    let texts = ["good", "", "not so bad — 好", "x", "good"];
    let words: DictionaryArray<Int8Type> = texts.into_iter().collect();
    let list = ListArray::from_iter_primitive::<Float32Type, _, _>([
        Some(vec![Some(1.0), None]),
        None,
        Some(vec![]),
        Some(vec![Some(f32::NAN)]),
        Some(vec![Some(2.0)]),
    ]);
    let vector = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        (0..5).map(|row| Some(vec![Some(row as f32), Some(0.5)])),
        2,
    );
    let columns: [(&str, ArrayRef); 6] = [
        ("text", Arc::new(StringArray::from(texts.to_vec()))),
        (
            "id",
            Arc::new(Int64Array::from(vec![
                Some(1),
                None,
                Some(3),
                Some(4),
                Some(5),
            ])),
        ),
        ("words", Arc::new(words)),
        (
            "view",
            Arc::new(StringViewArray::from_iter_values(texts.map(|text| {
                format!("{text} in a view of more than twelve bytes")
            }))),
        ),
        ("list", Arc::new(list)),
        ("vector", Arc::new(vector)),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let options = IpcWriteOptions::default()
        .try_with_compression(compression)
        .unwrap();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &rows.schema(), options).unwrap();
    writer.write(&rows.slice(0, 3)).unwrap();
    writer.write(&rows.slice(3, 2)).unwrap();
    writer.into_inner().unwrap()
}

/// Reads the file in batches of two rows, and counts its rows.
fn read(content: &[u8]) -> Result<u64> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.arrow");
    std::fs::write(&path, content).unwrap();
    let location = Location::Local(path);
    let column = |name: &str| Column {
        source: name.into(),
        name: name.into(),
        data_type: DataType::Utf8,
        extension: Default::default(),
    };
    let columns = Columns {
        inputs: vec![InputColumn {
            role: Role::text("text"),
            source: Some("text".into()),
        }],
        id: Some(column("id")),
        kept: ["words", "view", "list", "vector"].map(column).to_vec(),
        partitions: Vec::new(),
    };
    let (file, metadata) = FORMAT.open(&location)?;
    // A plan does not take more batches than some millions.
    let rows = metadata.rows().min(100);
    let mut found = 0;
    for start in (0..rows).step_by(2) {
        let range = start..rows.min(start + 2);
        for row in FORMAT.rows(&location, (file.clone(), metadata.clone()), &columns, range)? {
            assert_eq!(row?.0, found);
            found += 1;
        }
    }
    assert_eq!(found, rows);
    Ok(rows)
}

fn check(content: &[u8], what: &str) {
    if let Err(error) = read(content) {
        assert!(matches!(error, Error::Input { .. }), "{what}: {error}");
    }
}

#[test]
fn whole_files_are_read() {
    for compression in [
        None,
        Some(CompressionType::ZSTD),
        Some(CompressionType::LZ4_FRAME),
    ] {
        assert_eq!(read(&file(compression)).unwrap(), 5);
    }
}

#[test]
fn damage_at_any_byte_is_read_or_refused() {
    // Panics are caught, and would fill the screen.
    std::panic::set_hook(Box::new(|_| {}));
    let whole = file(None);
    for place in 0..whole.len() {
        for value in [0, 0xff] {
            let mut content = whole.clone();
            if content[place] != value {
                content[place] = value;
                check(&content, &format!("byte {place} is {value}"));
            }
        }
    }
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_at_several_places_is_read_or_refused(
        codec in 0_usize..3,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<[u8; 4]>(), 1_usize..5), 1..4),
    ) {
        let codecs = [None, Some(CompressionType::ZSTD), Some(CompressionType::LZ4_FRAME)];
        let mut content = file(codecs[codec]);
        for (place, values, count) in damage {
            let place = place.index(content.len());
            for (byte, value) in content[place..].iter_mut().zip(&values[..count]) {
                *byte = *value;
            }
        }
        check(&content, "several places");
    }
}
