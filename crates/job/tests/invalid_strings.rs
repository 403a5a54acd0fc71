//! Invalid UTF-8 in nested and encoded columns.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, MapBuilder, StringBuilder, StringDictionaryBuilder};
use arrow_array::types::{Int16Type, Int32Type};
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, LargeListArray, LargeStringArray, ListArray, RecordBatch,
    RunArray, StringArray, StringViewArray, StructArray, UInt32Array, UnionArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_cast::cast;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{Field, Fields, UnionFields};
use arrow_select::take::take;
use common::{Bench, read_columns, write};
use parquet::arrow::ArrowWriter;
use shoal_job::format::OutputFormat;
use shoal_job::spec::Parameters;

/// Texts of four rows, of which `BAD` is made invalid.
const TEXTS: [&str; 4] = ["first", "the BAD one", "third", "fourth"];

fn strings() -> ArrayRef {
    Arc::new(StringArray::from(TEXTS.to_vec()))
}

fn structs(name: &str, values: ArrayRef) -> ArrayRef {
    let field = Field::new(name, values.data_type().clone(), true);
    Arc::new(StructArray::new(
        [Arc::new(field)].into(),
        vec![values],
        None,
    ))
}

fn lists(values: ArrayRef) -> ArrayRef {
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let lengths = OffsetBuffer::from_lengths([1; 4]);
    Arc::new(ListArray::new(item, lengths, values, None))
}

/// A file of one column, with the invalid text.
fn file(bench: &Bench, name: &str, column: &ArrayRef) -> PathBuf {
    let columns = [
        ("text", strings_without_fault()),
        ("column", column.clone()),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let mut content = Vec::new();
    if name.ends_with("parquet") {
        let mut writer = ArrowWriter::try_new(&mut content, rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
    } else {
        let mut writer = FileWriter::try_new(&mut content, &rows.schema()).unwrap();
        writer.write(&rows).unwrap();
        writer.finish().unwrap();
    }
    let places: Vec<_> = memchr::memmem::find_iter(&content, b"BAD").collect();
    assert!(!places.is_empty(), "{name} has no such text");
    for place in places {
        content[place] = 0xff;
    }
    let path = bench.path(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn strings_without_fault() -> ArrayRef {
    Arc::new(StringArray::from(vec!["a", "b", "c", "d"]))
}

/// Reads `path` as `parameters` say: the second record is bad, and the others are those of `column`.
fn check(bench: &Bench, path: &Path, parameters: Parameters, column: &ArrayRef) {
    let format = parameters.output_format;
    let context = format!("{} as {format:?}: {}", path.display(), column.data_type());
    let is_kept = !parameters.keep_columns.is_empty();
    let (job, rows) = bench.carry_as(&[path], parameters).expect(&context);
    let mut good = Vec::new();
    for row in rows {
        match (row.row, row.content) {
            (1, Err(bad)) => assert!(
                bad.reason.contains("not valid UTF-8"),
                "{context}: {}",
                bad.reason
            ),
            (1, Ok(_)) => panic!("{context}: an invalid text is read"),
            (_, content) => good.push(content.expect(&context)),
        }
    }
    assert_eq!(good.len(), 3, "{context}");
    if is_kept && matches!(format, OutputFormat::Parquet | OutputFormat::Arrow) {
        let written = &read_columns(format, write(&job, &good))[0];
        let written = written.column_by_name("column").unwrap();
        let expected = take(column, &UInt32Array::from(vec![0, 2, 3]), None).unwrap();
        let expected = match written.data_type() {
            // The text of a union.
            arrow_schema::DataType::Utf8
                if matches!(column.data_type(), arrow_schema::DataType::Union(..)) =>
            {
                Arc::new(StringArray::from(vec![
                    "\"first\"",
                    "\"third\"",
                    "\"fourth\"",
                ]))
            }
            data_type => cast(&expected, data_type).unwrap(),
        };
        assert_eq!(written, &expected, "{context}");
    }
}

const FORMATS: [OutputFormat; 4] = [
    OutputFormat::Jsonl,
    OutputFormat::Csv,
    OutputFormat::Parquet,
    OutputFormat::Arrow,
];

#[test]
fn an_invalid_string_in_a_kept_column_fails_its_record_only() {
    let bench = Bench::new();
    let maps = |is_key: bool| -> ArrayRef {
        let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for text in TEXTS {
            maps.keys().append_value(if is_key { text } else { "key" });
            maps.values()
                .append_value(if is_key { "value" } else { text });
            maps.append(true).unwrap();
        }
        Arc::new(maps.finish())
    };
    let mut words = StringDictionaryBuilder::<Int32Type>::new();
    TEXTS.iter().for_each(|text| words.append_value(text));
    let words: ArrayRef = Arc::new(words.finish());
    let large: ArrayRef = Arc::new(LargeStringArray::from(TEXTS.to_vec()));
    let views: ArrayRef = Arc::new(StringViewArray::from(TEXTS.to_vec()));
    let item = |array: &ArrayRef| Arc::new(Field::new_list_field(array.data_type().clone(), true));
    let fixed = FixedSizeListArray::new(item(&strings()), 1, strings(), None);
    let large_lists = LargeListArray::new(
        item(&large),
        OffsetBuffer::from_lengths([1; 4]),
        large.clone(),
        None,
    );
    let mut of_lists = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
    for text in TEXTS {
        of_lists.values().append_value([Some(text), None]);
        of_lists.append(true);
    }
    let columns: [ArrayRef; 14] = [
        strings(),
        large.clone(),
        views.clone(),
        words.clone(),
        structs("name", strings()),
        structs("name", large),
        structs("name", views.clone()),
        structs("words", words.clone()),
        structs("tags", lists(views)),
        lists(words),
        Arc::new(fixed),
        Arc::new(large_lists),
        maps(true),
        maps(false),
    ];
    let nested: ArrayRef = Arc::new(of_lists.finish());
    for (number, column) in columns.iter().chain([&nested]).enumerate() {
        for extension in ["parquet", "arrow"] {
            let path = file(&bench, &format!("{number}.{extension}"), column);
            for format in FORMATS {
                for batch_size in [1, 3, 4] {
                    let parameters = common::parameters(batch_size, &["column"], format);
                    check(&bench, &path, parameters, column);
                }
            }
        }
    }
}

#[test]
fn an_invalid_string_in_an_encoding_of_arrow_fails_its_record_only() {
    let bench = Bench::new();
    let runs: RunArray<Int16Type> = TEXTS.into_iter().collect();
    let fields: Fields = [Field::new("text", strings().data_type().clone(), true)]
        .into_iter()
        .collect();
    let fields = UnionFields::try_new([0], fields.iter().cloned()).unwrap();
    let union = UnionArray::try_new(fields, vec![0; 4].into(), None, vec![strings()]).unwrap();
    let columns: [ArrayRef; 2] = [Arc::new(runs), Arc::new(union)];
    for (number, column) in columns.iter().enumerate() {
        let path = file(&bench, &format!("{number}.arrow"), column);
        for format in FORMATS {
            let parameters = common::parameters(3, &["column"], format);
            check(&bench, &path, parameters, column);
        }
    }
}

#[test]
fn an_invalid_nested_text_or_id_fails_its_record_only() {
    let bench = Bench::new();
    let columns = [
        (structs("name", strings()), "column.name"),
        (lists(strings()), "column.0"),
        (structs("tags", lists(strings())), "column.tags.0"),
    ];
    for (number, (column, name)) in columns.iter().enumerate() {
        for extension in ["parquet", "arrow"] {
            let path = file(&bench, &format!("{number}.{extension}"), column);
            let text = Parameters {
                columns: [("text".into(), (*name).into())].into(),
                ..common::parameters(3, &[], OutputFormat::Parquet)
            };
            let id = Parameters {
                id_column: Some((*name).into()),
                ..common::parameters(3, &[], OutputFormat::Parquet)
            };
            check(&bench, &path, text, column);
            check(&bench, &path, id, column);
        }
    }
}
