//! Text from other users' files, made safe to show.

use std::borrow::Cow;

/// `text` without characters that a terminal may execute, or that change the direction of the text around them: ids,
/// labels, names and reasons come from files of other users. Line breaks and tabs are kept.
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_command = |c: char| is_command(c) && !matches!(c, '\n' | '\t');
    match text.contains(is_command) {
        true => text.replace(is_command, "\u{fffd}").into(),
        false => text.into(),
    }
}

/// As [`printable`], on one line.
pub fn printable_line(text: &str) -> Cow<'_, str> {
    let is_break = |c: char| matches!(c, '\n' | '\t');
    match printable(text) {
        text if text.contains(is_break) => text.replace(is_break, " ").into(),
        text => text,
    }
}

/// JSON with the same meaning, in which these characters are escaped.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    // JSON has them in strings only.
    let is_command = |c: char| is_command(c) && !matches!(c, '\n' | '\t' | '\r');
    if !json.contains(is_command) {
        return json.into();
    }
    let escaped = json.chars().map(|c| match is_command(c) {
        true => format!("\\u{:04x}", u32::from(c)),
        false => c.into(),
    });
    escaped.collect::<String>().into()
}

/// A control character, or one that embeds, overrides or isolates a direction of text (Unicode's bidirectional algorithm,
/// UAX #9).
fn is_command(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_commands_the_terminal() {
        let hostile = "\u{1b}]0;title\u{7}a\tb\r\n\u{9b}31m\u{7f}\u{202e}é";
        let shown = "\u{fffd}]0;title\u{fffd}a\tb\u{fffd}\n\u{fffd}31m\u{fffd}\u{fffd}é";
        assert_eq!(printable(hostile), shown);
        let shown = "\u{fffd}]0;title\u{fffd}a b\u{fffd} \u{fffd}31m\u{fffd}\u{fffd}é";
        assert_eq!(printable_line(hostile), shown);
        assert!(matches!(printable("plain é\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({ "a": "\u{1b}\u{9b}\u{7f}\u{202e}é\n" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = printable_json(&text);
        assert!(
            !shown.contains(|c: char| is_command(c) && c != '\n'),
            "{shown}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            value
        );
    }
}
