//! Recognizes text that is no table.

/// What the content is, as in "it is …", if its first bytes show that it is no delimited text.
pub(super) fn not_delimited(head: &[u8]) -> Option<&'static str> {
    let text = head.trim_ascii_start();
    let first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let starts_as = |prefix: &[u8]| {
        text.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let after = |bracket: u8| {
        let rest = text.strip_prefix(&[bracket])?.trim_ascii_start();
        Some(rest.first().copied())
    };
    Some(
        if starts_as(b"<!doctype html") || starts_as(b"<html") || starts_as(b"<head") {
            "an HTML page, perhaps an error that was downloaded instead of the data"
        } else if starts_as(b"<?xml") || starts_as(b"<!doctype") || starts_as(b"<!--") {
            "an XML document, perhaps an error that was downloaded instead of the data"
        } else if matches!(after(b'{'), Some(None | Some(b'"' | b'}')))
            || matches!(after(b'['), Some(None | Some(b'{' | b'[' | b'"' | b']')))
        {
            "JSON; if each line is an object, set the input format to jsonl"
        } else if starts_as(b"%pdf-") {
            "a PDF document; extract its text"
        } else if first_line.contains(&0) {
            "binary, or encoded in UTF-16 without a byte-order mark; set the encoding to utf-16le or utf-16be if it is text"
        } else {
            return None;
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_recognized() {
        for (head, says) in [
            (&b"\n <!DocType HTML>\n"[..], "HTML"),
            (b"<html lang=en>", "HTML"),
            (b"<?xml version=\"1.0\"?><Error>", "XML"),
            (b"{\"id\":1}\n", "JSON"),
            (b"[\n  {\"id\":1}", "JSON"),
            (b"{\n", "JSON"),
            (b"%PDF-1.4\n1 0 obj", "PDF"),
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
            b"id,text\n1,a\0b\n",
            b"[id],[text]\n",
            b"{id},x\n",
            b"<b>,text\n",
            b"",
        ] {
            assert_eq!(not_delimited(head), None, "{head:?}");
        }
    }
}
