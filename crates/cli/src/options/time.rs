//! Times as users write them.

/// Seconds from `90`, `90s`, `5m`, `2h` or `1.5h`.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let units = [('s', 1.0), ('m', 60.0), ('h', 3600.0)];
    let mut units = units.into_iter();
    let (number, unit) = units
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))
        .unwrap_or((text, 1.0));
    let seconds = number.trim().parse().map(|number: f64| number * unit);
    let seconds = seconds.ok().filter(|time| time.is_finite() && *time > 0.0);
    seconds.ok_or_else(|| format!("{text:?} is not a time, such as 90s, 5m or 2h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, expected) in [("90", 90.0), ("90s", 90.0), ("5m", 300.0), ("1.5h", 5400.0)] {
            assert_eq!(seconds(text), Ok(expected));
        }
        for wrong in ["", "m", "5d", "-1s", "0", "nan", "inf", "1e999h", "5 ü"] {
            assert!(seconds(wrong).unwrap_err().contains("5m"), "{wrong}");
        }
    }
}
