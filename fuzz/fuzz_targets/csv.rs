//! Arbitrary CSV or TSV file, plain or compressed, in several dialects and encodings: planned and
//! read, with the same rows for every split.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::{allow_caught_panics, folder, is_columnar, parameters, plan_and_read};
use shoal_job::dialect::{DialectOptions, Symbol};

fuzz_target!(|input: &[u8]| {
    allow_caught_panics();
    let [choice, dialect, content @ ..] = input else {
        return;
    };
    let extension = ["csv", "tsv", "csv.gz", "csv.zst"][usize::from(choice & 3)];
    let folder = folder();
    let path = folder.path().join(format!("in.{extension}"));
    std::fs::write(&path, content).unwrap();
    let mut parameters = parameters(*choice);
    let symbol = |bits: u8, symbols: [Option<Symbol>; 4]| symbols[usize::from(dialect >> bits & 3)];
    let byte = |byte: u8| Some(Symbol::Byte(byte));
    parameters.dialect = DialectOptions {
        delimiter: symbol(0, [None, byte(b';'), byte(b' '), Some(Symbol::None)]),
        quote: symbol(2, [None, byte(b'"'), byte(b'\''), Some(Symbol::None)]),
        escape: symbol(4, [None, None, byte(b'\\'), byte(b'"')]),
        header_row: dialect & 0x80 == 0,
    };
    if dialect & 0x40 != 0 {
        let label = ["utf-16le", "latin1", "shift_jis", "gb18030"][content.len() & 3];
        parameters.encoding = Some(label.parse().unwrap());
    }
    plan_and_read(&path, &parameters, is_columnar(content));
});
