//! How much memory the process has held.

/// The most memory that this process ever held, in bytes, where the system tells.
pub(crate) fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    parse(&status)
}

fn parse(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_the_status() {
        let status = "Name:\tshoal\nVmPeak:\t  999 kB\nVmHWM:\t    1024 kB\nVmRSS:\t 512 kB\n";
        assert_eq!(parse(status), Some(1 << 20));
        assert_eq!(parse("Name:\tshoal\n"), None);
        assert_eq!(parse("VmHWM:\tmany kB\n"), None);
    }
}
