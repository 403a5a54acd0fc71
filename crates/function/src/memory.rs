//! Peak memory of the process.

/// The peak memory of this process in bytes, if known.
pub fn peak_bytes() -> Option<u64> {
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
    fn peak_memory_is_parsed_from_the_status() {
        let status = "Name:\tshoal\nVmPeak:\t  999 kB\nVmHWM:\t    1024 kB\nVmRSS:\t 512 kB\n";
        assert_eq!(parse(status), Some(1 << 20));
        assert_eq!(parse("Name:\tshoal\n"), None);
        assert_eq!(parse("VmHWM:\tmany kB\n"), None);
    }
}
