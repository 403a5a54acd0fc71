//! Checks whether an executable can be a function's bootstrap on `provided.al2023`. That is Amazon Linux 2023 with glibc
//! 2.34; an executable that needs a newer glibc does not start.

use std::fmt;
use std::path::Path;

use object::elf;
use object::endian::Endianness;
use object::read::elf::{FileHeader, ProgramHeader};
use shoal_estimate::Architecture;

use crate::error::{Error, Result};

/// The glibc version of `provided.al2023`.
pub const GLIBC: Version = Version {
    major: 2,
    minor: 34,
};

const BUILD: &str = "build one with deploy/build-bootstrap.sh";

/// A version of glibc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The major version, always 2 so far.
    pub major: u32,
    /// The minor version.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// The glibc version that provides a symbol version; `None` for symbol versions that are not numbered.
    fn of_symbols(name: &[u8]) -> Option<Self> {
        if name == b"GLIBC_ABI_DT_RELR" {
            // Required by executables with packed relocations, which this version introduced.
            return Some(Self {
                major: 2,
                minor: 36,
            });
        }
        let numbers = std::str::from_utf8(name).ok()?.strip_prefix("GLIBC_")?;
        let mut numbers = numbers.split('.');
        Some(Self {
            major: numbers.next()?.parse().ok()?,
            minor: numbers.next()?.parse().ok()?,
        })
    }
}

/// The machine and the loader of executables for `arch`.
fn platform(arch: Architecture) -> (u16, &'static str) {
    match arch {
        Architecture::X86 => (elf::EM_X86_64, "/lib64/ld-linux-x86-64.so.2"),
        Architecture::Arm64 => (elf::EM_AARCH64, "/lib/ld-linux-aarch64.so.1"),
    }
}

/// Checks that the executable at `path` with content `content` runs as a bootstrap on `arch`. Returns the minimum glibc
/// version, or `None` if it is linked statically.
///
/// # Errors
/// Fails if the file is not a Linux executable, or needs another instruction set, another C library or a newer glibc.
pub fn check(path: &Path, content: &[u8], arch: Architecture) -> Result<Option<Version>> {
    let wrong = |reason: String| Error::Bootstrap {
        path: path.to_owned(),
        reason,
    };
    let needs = needs(content, arch).map_err(wrong)?;
    match needs {
        Some(version) if version > GLIBC => Err(wrong(format!(
            "it needs glibc {version}, and Lambda's provided.al2023 has {GLIBC}; {BUILD}"
        ))),
        needs => Ok(needs),
    }
}

fn needs(content: &[u8], arch: Architecture) -> std::result::Result<Option<Version>, String> {
    if !content.starts_with(&elf::ELFMAG) {
        return Err(format!("it is not a Linux ELF executable; {BUILD}"));
    }
    let damaged = |error: object::Error| format!("it is damaged or not a 64-bit ELF file: {error}");
    let header = elf::FileHeader64::<Endianness>::parse(content).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    let (machine, loader_of_arch) = platform(arch);
    if header.e_machine(endian) != machine {
        return Err(format!(
            "it was not built for {arch}; deploy it for the architecture that it was built for, or {BUILD}"
        ));
    }
    if !matches!(
        header.e_ident().os_abi,
        elf::ELFOSABI_SYSV | elf::ELFOSABI_GNU
    ) {
        return Err(format!("it was not built for Linux; {BUILD}"));
    }
    if !matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
        return Err("it is not an executable".into());
    }
    let mut loader = None;
    for segment in header.program_headers(endian, content).map_err(damaged)? {
        if let Some(path) = segment.interpreter(endian, content).map_err(damaged)? {
            loader = Some(path);
        }
    }
    let Some(loader) = loader else {
        return if header.e_type(endian) == elf::ET_EXEC || is_static_pie(header, endian, content) {
            Ok(None)
        } else {
            Err("it is a library, not an executable".into())
        };
    };
    if loader != loader_of_arch.as_bytes() {
        return Err(format!(
            "it needs the loader {}, which Lambda does not have; {BUILD}",
            String::from_utf8_lossy(loader)
        ));
    }
    // Like the loader, check every required version, whether its symbols are used or not, and ignore versions that the
    // linker marked as weak.
    let sections = header.sections(endian, content).map_err(damaged)?;
    let Some((mut libraries, link)) = sections.gnu_verneed(endian, content).map_err(damaged)?
    else {
        return Err(format!("it does not state which glibc it needs; {BUILD}"));
    };
    let strings = sections.strings(endian, content, link).map_err(damaged)?;
    let mut highest = None;
    while let Some((_library, mut versions)) = libraries.next().map_err(damaged)? {
        while let Some(version) = versions.next().map_err(damaged)? {
            if version.vna_flags.get(endian) & elf::VER_FLG_WEAK == 0 {
                let name = version.name(endian, strings).map_err(damaged)?;
                highest = highest.max(Version::of_symbols(name));
            }
        }
    }
    Ok(highest)
}

/// Whether this is a static position-independent executable, which unlike a library has the flag `DF_1_PIE`.
fn is_static_pie(
    header: &elf::FileHeader64<Endianness>,
    endian: Endianness,
    content: &[u8],
) -> bool {
    use object::read::elf::Dyn;
    let segments = header.program_headers(endian, content).unwrap_or_default();
    segments
        .iter()
        .filter_map(|segment| segment.dynamic(endian, content).ok().flatten())
        .flatten()
        .any(|entry| {
            entry.tag32(endian) == Some(elf::DT_FLAGS_1)
                && entry.d_val(endian) & u64::from(elf::DF_1_PIE) != 0
        })
}

#[cfg(test)]
mod tests;
