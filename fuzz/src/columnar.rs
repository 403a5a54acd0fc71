//! Small files of typed columns, and arbitrary damage to them.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder, StringDictionaryBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, LargeStringArray,
    RecordBatch, StringArray, StructArray, TimestampMillisecondArray,
};
use shoal_job::format::OutputFormat;
use shoal_job::spec::Parameters;

use crate::{allow_caught_panics, folder, plan_and_read};

/// Names of the columns, one of which is kept.
const KEPT: [&str; 8] = [
    "id", "flag", "price", "at", "amount", "kind", "tags", "inner",
];

/// Plans and reads the input itself, or one of `files` with the damage that the input describes.
pub fn plan_and_read_damaged(files: &[Vec<u8>; 4], input: &[u8], output: OutputFormat) {
    allow_caught_panics();
    let Some((&choice, rest)) = input.split_first() else {
        return;
    };
    let content = if choice & 0x80 != 0 {
        rest.to_vec()
    } else {
        damaged(&files[usize::from(choice & 3)], rest)
    };
    let mut parameters = Parameters {
        output_format: output,
        ..Parameters::default()
    };
    if choice & 0x40 == 0 {
        parameters.columns.insert("text".into(), "text".into());
        parameters.keep_columns = vec![KEPT[usize::from(choice >> 2 & 7)].into()];
    }
    let folder = folder();
    let path = folder.path().join(format!("in.{}", output.extension()));
    std::fs::write(&path, content).unwrap();
    plan_and_read(&path, &parameters, true);
}

/// Five rows of many types.
pub fn batch() -> RecordBatch {
    let texts = ["good", "", "not so bad, it is — 好", "x", "good"];
    let mut kinds = StringDictionaryBuilder::<Int32Type>::new();
    let mut tags = ListBuilder::new(StringBuilder::new());
    for text in texts {
        kinds.append_value(text);
        tags.append_value([Some(text), None]);
    }
    let inner = StructArray::from(vec![(
        Arc::new(arrow_schema::Field::new(
            "a",
            arrow_schema::DataType::Int64,
            false,
        )),
        Arc::new(Int64Array::from_iter_values(0..5)) as ArrayRef,
    )]);
    RecordBatch::try_from_iter([
        (
            "text",
            Arc::new(StringArray::from(texts.to_vec())) as ArrayRef,
        ),
        (
            "id",
            Arc::new(LargeStringArray::from(texts.to_vec())) as ArrayRef,
        ),
        (
            "flag",
            Arc::new(BooleanArray::from(vec![
                Some(true),
                None,
                Some(false),
                None,
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
        (
            "amount",
            Arc::new(
                Decimal128Array::from(vec![1, 2, 3, 4, -5])
                    .with_precision_and_scale(20, 3)
                    .unwrap(),
            ),
        ),
        ("kind", Arc::new(kinds.finish())),
        ("tags", Arc::new(tags.finish())),
        ("inner", Arc::new(inner)),
    ])
    .unwrap()
}

/// Applies damage in units of six bytes: two for the position (counted from the end in half of the
/// cases), one for the length, and three for the new values.
fn damaged(file: &[u8], damage: &[u8]) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for [a, b, kind, values @ ..] in damage.as_chunks::<6>().0 {
        let at = usize::from(u16::from_le_bytes([*a, *b])) % bytes.len();
        let at = if kind & 4 == 0 {
            bytes.len() - 1 - at
        } else {
            at
        };
        let count = usize::from(kind & 3).min(bytes.len() - at);
        bytes[at..at + count].copy_from_slice(&values[..count]);
    }
    bytes
}
