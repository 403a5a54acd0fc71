//! Numbers as people read them.

/// Digits in groups of three.
pub(crate) fn count(number: u64) -> String {
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

/// A count with its noun.
pub(crate) fn of(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Three digits that matter, or all before the point.
pub(crate) fn number(value: f64) -> String {
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

/// Without zeros at the end that say nothing.
fn trimmed(text: String) -> String {
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A time.
pub(crate) fn time(seconds: f64) -> String {
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

/// US dollars: cents, or as many places as three digits take, so that nothing that costs reads as nothing.
pub(crate) fn usd(usd: f64) -> String {
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
pub(crate) fn bytes(bytes: u64) -> String {
    let size = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", number(size / 1e3)),
        1_000_000..1_000_000_000 => format!("{} MB", number(size / 1e6)),
        _ => format!("{} GB", number(size / 1e9)),
    }
}

/// A share as a percentage.
pub(crate) fn percent(share: f64) -> String {
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
pub(crate) fn change(share: f64) -> String {
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

/// A time of day, UTC, as `2026-11-24 13:05:09 UTC`. The date is by Howard Hinnant's *chrono-Compatible Low-Level Date
/// Algorithms*, `civil_from_days`.
pub(crate) fn moment(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day % 3_600 / 60, of_day % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_numbers() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(of(1, "batch", "batches"), "1 batch");
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
    fn times() {
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
            assert_eq!(time(seconds), text);
        }
    }

    #[test]
    fn money_never_reads_as_nothing() {
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
    fn moments() {
        assert_eq!(moment(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(moment(951_827_696_000), "2000-02-29 12:34:56 UTC");
        assert_eq!(moment(1_795_525_509_000), "2026-11-24 13:05:09 UTC");
    }
}
