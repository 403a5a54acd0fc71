//! Recognizes content that is no table of text, whatever the name of the file says.

/// What the content is, as in "it is …", if its first bytes show that it is no delimited text.
pub(super) fn not_delimited(head: &[u8]) -> Option<&'static str> {
    let starts = |prefix: &[u8]| head.starts_with(prefix);
    let text = head.trim_ascii_start();
    let starts_as = |prefix: &[u8]| {
        text.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let after = |bracket: u8| {
        let rest = text.strip_prefix(&[bracket])?.trim_ascii_start();
        Some(rest.first().copied())
    };
    let contains = |part: &[u8]| memchr::memmem::find(head, part).is_some();
    Some(if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") {
        match contains(b"[Content_Types].xml") || contains(b"xl/") {
            true => "an Excel workbook; save the sheet as CSV",
            false => "a ZIP archive; unpack it first",
        }
    } else if starts(b"\xd0\xcf\x11\xe0") {
        "an old Excel workbook or another Office file; save the sheet as CSV"
    } else if starts(b"%PDF-") {
        "a PDF document; export the table as CSV"
    } else if starts(b"\x1f\x8b") {
        "compressed with gzip; end its name in .gz"
    } else if starts(b"\x28\xb5\x2f\xfd") {
        "compressed with zstd; end its name in .zst"
    } else if starts(b"BZh") {
        "compressed with bzip2; unpack it first"
    } else if starts(b"\xfd7zXZ") {
        "compressed with xz; unpack it first"
    } else if starts(b"PAR1") {
        "a Parquet file; set the input format to parquet"
    } else if starts(b"ARROW1") {
        "an Arrow file; set the input format to arrow"
    } else if starts(b"SQLite format 3") {
        "an SQLite database; export the table as CSV"
    } else if starts_as(b"<!doctype html") || starts_as(b"<html") || starts_as(b"<head") {
        "an HTML page, perhaps an error that was downloaded instead of the data"
    } else if starts_as(b"<?xml") || starts_as(b"<!doctype") || starts_as(b"<!--") {
        "an XML document, perhaps an error that was downloaded instead of the data"
    } else if matches!(after(b'{'), Some(None | Some(b'"' | b'}')))
        || matches!(after(b'['), Some(None | Some(b'{' | b'[' | b'"' | b']')))
    {
        "JSON; if each line is an object, set the input format to jsonl"
    } else if head.iter().take(4096).any(|byte| *byte == 0) {
        "binary, or encoded in UTF-16 without a byte-order mark; set the encoding to utf-16le or utf-16be if it is text"
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_recognized() {
        for (head, says) in [
            (&b"PK\x03\x04\x14\0\x06\0[Content_Types].xml"[..], "Excel"),
            (b"PK\x03\x04\x14\0\x06\0data.csv", "ZIP"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1", "old Excel"),
            (b"%PDF-1.7\n", "PDF"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\n <!DocType HTML>\n", "HTML"),
            (b"<html lang=en>", "HTML"),
            (b"<?xml version=\"1.0\"?><Error>", "XML"),
            (b"{\"id\":1}\n", "JSON"),
            (b"[\n  {\"id\":1}", "JSON"),
            (b"{\n", "JSON"),
            (b"i\0d\0,\0", "utf-16le"),
        ] {
            let found = not_delimited(head);
            assert!(
                found.is_some_and(|found| found.contains(says)),
                "{says}: {found:?}"
            );
        }
        for head in [
            &b"id,text\n"[..],
            b"[id],[text]\n",
            b"{id},x\n",
            b"<b>,text\n",
            b"",
        ] {
            assert_eq!(not_delimited(head), None, "{head:?}");
        }
    }
}
