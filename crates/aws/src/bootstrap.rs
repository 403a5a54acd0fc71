//! Whether an executable can be a function's bootstrap on `provided.al2023`: the operating system is Amazon Linux 2023
//! with glibc 2.34, and what a newer one is asked for ends the process before its first line.

use std::fmt;
use std::path::Path;

use object::elf;
use object::endian::Endianness;
use object::read::elf::{FileHeader, ProgramHeader};

use crate::error::{Error, Result};

/// The version of glibc that `provided.al2023` has.
pub const GLIBC: Version = Version {
    major: 2,
    minor: 34,
};

const BUILD: &str = "build it with deploy/build-bootstrap.sh, and name the result by --bootstrap";

/// What a function runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit Intel and AMD.
    X86_64,
    /// 64-bit Arm (Graviton).
    Arm64,
}

impl Arch {
    /// As Lambda calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    fn machine(self) -> u16 {
        match self {
            Self::X86_64 => elf::EM_X86_64,
            Self::Arm64 => elf::EM_AARCH64,
        }
    }

    fn loader(self) -> &'static str {
        match self {
            Self::X86_64 => "/lib64/ld-linux-x86-64.so.2",
            Self::Arm64 => "/lib/ld-linux-aarch64.so.1",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A version of glibc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 2, for decades.
    pub major: u32,
    /// What counts.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// The glibc that a version of its symbols needs; `None` for versions that every glibc has.
    fn of_symbols(name: &[u8]) -> Option<Self> {
        if name == b"GLIBC_ABI_DT_RELR" {
            // Asked for by executables with packed relocations, understood since this version.
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

/// Checks that the executable at `path`, whose content is `content`, runs as a bootstrap on `arch`, and gives the lowest
/// glibc that it needs; `None` if it is linked statically.
///
/// # Errors
/// It is no executable of Linux, one for other machines, for another C library, or for a newer glibc than Lambda has.
pub fn check(path: &Path, content: &[u8], arch: Arch) -> Result<Option<Version>> {
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

fn needs(content: &[u8], arch: Arch) -> std::result::Result<Option<Version>, String> {
    if !content.starts_with(&elf::ELFMAG) {
        return Err(format!("it is no ELF executable of Linux; {BUILD}"));
    }
    let damaged = |error: object::Error| format!("it is damaged, or no 64-bit ELF: {error}");
    let header = elf::FileHeader64::<Endianness>::parse(content).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    if header.e_machine(endian) != arch.machine() {
        return Err(format!(
            "it was not built for {arch}; give the --arch that it was built for, or {BUILD}"
        ));
    }
    if !matches!(
        header.e_ident().os_abi,
        elf::ELFOSABI_SYSV | elf::ELFOSABI_GNU
    ) {
        return Err(format!("it was not built for Linux; {BUILD}"));
    }
    if !matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
        return Err("it is no executable".into());
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
            Err("it is a library, and no executable".into())
        };
    };
    if loader != arch.loader().as_bytes() {
        return Err(format!(
            "it is started by {}, which Lambda does not have; {BUILD}",
            String::from_utf8_lossy(loader)
        ));
    }
    // As the loader does: it looks at the versions that the file asks for, symbols used or not, and passes over those
    // that the linker marked as weak, since every use of them is.
    let sections = header.sections(endian, content).map_err(damaged)?;
    let Some((mut libraries, link)) = sections.gnu_verneed(endian, content).map_err(damaged)?
    else {
        return Err(format!("it does not say which glibc it needs; {BUILD}"));
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

/// Position-independent executables without a loader carry the flag that libraries lack.
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
