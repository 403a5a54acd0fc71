//! Formats numbers, amounts and times for readers.

use chrono::DateTime;

/// Digits in groups of three.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A text whose first letter is upper-case.
pub(crate) fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// A count with its noun.
pub fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// How many of all, with the noun of all.
pub fn plural_of(done: u64, all: u64, one: &str, many: &str) -> String {
    format!("{} of {}", count(done), plural(all, one, many))
}

/// Three significant digits, or all before the point.
pub fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".into(),
        size if size >= 100.0 => {
            let sign = if value < 0.0 { "−" } else { "" };
            format!("{sign}{}", count(size.round() as u64))
        }
        size if size >= 10.0 => trimmed(format!("{value:.1}")),
        size if size >= 1.0 => trimmed(format!("{value:.2}")),
        0.0 => "0".into(),
        size => {
            let places = (2 - size.log10().floor() as i32).clamp(0, 12) as usize;
            trimmed(format!("{value:.places$}"))
        }
    }
}

/// Without zeros at the end of the fraction.
fn trimmed(text: String) -> String {
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A time in its two largest units.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "–".into();
    }
    let whole = seconds.round() as u64;
    match whole {
        0 if seconds <= 0.0 => "0 s".into(),
        _ if seconds < 0.9995 => format!("{} ms", number(seconds * 1000.0)),
        0..10 => format!("{seconds:.2} s"),
        10..60 => format!("{seconds:.1} s"),
        60..3_600 => two(whole / 60, "min", whole % 60, "s"),
        3_600..86_400 => two(whole / 3_600, "h", whole % 3_600 / 60, "min"),
        _ => two(whole / 86_400, "d", whole % 86_400 / 3_600, "h"),
    }
}

fn two(large: u64, of_large: &str, small: u64, of_small: &str) -> String {
    match small {
        0 => format!("{} {of_large}", count(large)),
        _ => format!("{} {of_large} {small} {of_small}", count(large)),
    }
}

/// US dollars with cents, or with three significant digits: an amount above 0 is never shown as 0.
pub fn usd(usd: f64) -> String {
    let sign = if usd < 0.0 { "−" } else { "" };
    match usd.abs() {
        size if !size.is_finite() => "–".into(),
        0.0 => "$0".into(),
        size if size >= 1.0 => {
            let cents = (size * 100.0).round() as u64;
            format!("{sign}${}.{:02}", count(cents / 100), cents % 100)
        }
        size => {
            let places = (2 - size.log10().floor() as i32).clamp(2, 15) as usize;
            let text = format!("{size:.places$}");
            let mut text = text.trim_end_matches('0').to_owned();
            let places = text.len() - text.find('.').map_or(0, |point| point + 1);
            text.extend(std::iter::repeat_n('0', 2_usize.saturating_sub(places)));
            format!("{sign}${text}")
        }
    }
}

/// Bytes in units of a thousand.
pub fn bytes(bytes: u64) -> String {
    let size = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", number(size / 1e3)),
        1_000_000..1_000_000_000 => format!("{} MB", number(size / 1e6)),
        _ => format!("{} GB", number(size / 1e9)),
    }
}

/// A share as a percentage.
pub fn percent(share: f64) -> String {
    if !share.is_finite() {
        return "–".into();
    }
    let percent = share * 100.0;
    if percent > 99.95 && share < 1.0 {
        return format!("{percent:.2} %");
    }
    format!("{percent:.1} %")
}

/// A change as a percentage with its sign.
pub fn change(share: f64) -> String {
    if !share.is_finite() {
        return "–".into();
    }
    let percent = share * 100.0;
    match percent {
        _ if percent.abs() < 0.05 => "±0.0 %".into(),
        _ if percent < 0.0 => format!("−{:.1} %", -percent),
        _ => format!("+{percent:.1} %"),
    }
}

/// The lowest to the highest of `values`, with a unit that both have only once: `91.5 to 99.4 %`.
pub fn range(values: impl IntoIterator<Item = f64>, format: fn(f64) -> String) -> String {
    let mut ends: Option<(f64, f64)> = None;
    for value in values {
        let (least, most) = ends.unwrap_or((value, value));
        ends = Some((least.min(value), most.max(value)));
    }
    let Some((least, most)) = ends else {
        return "–".into();
    };
    let (least, most) = (format(least), format(most));
    if least == most {
        return least;
    }
    let unit = |text: &str| match text.split(' ').collect::<Vec<_>>()[..] {
        [_, unit] => Some(unit.to_owned()),
        _ => None,
    };
    match unit(&least) {
        Some(same) if unit(&most).as_ref() == Some(&same) => {
            let least = least.trim_end_matches(&same).trim_end();
            format!("{least} to {most}")
        }
        _ => format!("{least} to {most}"),
    }
}

/// A moment in UTC, such as `2026-11-24 13:05:09 UTC`.
pub fn date_time(unix_ms: u64) -> String {
    let moment = i64::try_from(unix_ms)
        .ok()
        .and_then(DateTime::from_timestamp_millis);
    moment.map_or_else(
        || "–".into(),
        |moment| moment.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_numbers() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(plural(1, "batch", "batches"), "1 batch");
        let pairs = [
            (1234.4, "1,234"),
            (12.34, "12.3"),
            (1.0, "1"),
            (0.12345, "0.123"),
            (0.0, "0"),
            (-250.0, "−250"),
        ];
        for (value, text) in pairs {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn durations() {
        let pairs = [
            (0.0, "0 s"),
            (0.0042, "4.2 ms"),
            (0.25, "250 ms"),
            (3.214, "3.21 s"),
            (42.0, "42.0 s"),
            (60.0, "1 min"),
            (123.0, "2 min 3 s"),
            (7_260.0, "2 h 1 min"),
            (90_000.0, "1 d 1 h"),
        ];
        for (seconds, text) in pairs {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn small_amounts_are_never_shown_as_zero() {
        let pairs = [
            (0.0, "$0"),
            (1234.567, "$1,234.57"),
            (0.25, "$0.25"),
            (0.2, "$0.20"),
            (0.0042, "$0.0042"),
            (0.000_016_666_7, "$0.0000167"),
            (0.000_000_2, "$0.0000002"),
            (-0.5, "−$0.50"),
        ];
        for (value, text) in pairs {
            assert_eq!(usd(value), text);
        }
    }

    #[test]
    fn shares_and_changes() {
        assert_eq!(percent(0.5), "50.0 %");
        assert_eq!(percent(0.99987), "99.99 %");
        assert_eq!(change(0.0123), "+1.2 %");
        assert_eq!(change(-0.5), "−50.0 %");
        assert_eq!(change(f64::NAN), "–");
        assert_eq!(bytes(61_234_567), "61.2 MB");
    }

    #[test]
    fn ranges() {
        assert_eq!(range([0.994, 0.915], percent), "91.5 to 99.4 %");
        assert_eq!(range([2.17, 31.6], duration), "2.17 to 31.6 s");
        assert_eq!(range([0.5, 379.0], duration), "500 ms to 6 min 19 s");
        assert_eq!(range([0.3, 0.3], percent), "30.0 %");
        assert_eq!(range([0.0113, 0.0148], usd), "$0.0113 to $0.0148");
        assert_eq!(range([], usd), "–");
    }

    #[test]
    fn dates() {
        assert_eq!(date_time(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date_time(951_827_696_000), "2000-02-29 12:34:56 UTC");
        assert_eq!(date_time(1_795_525_509_000), "2026-11-24 13:05:09 UTC");
    }
}
