use super::*;

/// Builds an ELF file with a loader and required symbol versions, each with its flags.
fn elf(machine: u16, os_abi: u8, loader: &str, versions: &[(&str, u16)]) -> Vec<u8> {
    const HEADER: usize = 64;
    const SEGMENT: usize = 56;
    const SECTION: usize = 64;
    let mut strings = b"\0libc.so.6\0".to_vec();
    let mut needed = Vec::new();
    // One library: structure version, number of symbol versions; name, offset of the first version, no next library.
    for half in [1, versions.len() as u16] {
        needed.extend(half.to_le_bytes());
    }
    for word in [1u32, 16, 0] {
        needed.extend(word.to_le_bytes());
    }
    for (index, (name, flags)) in versions.iter().enumerate() {
        let offset = strings.len() as u32;
        strings.extend(name.as_bytes());
        strings.push(0);
        let next: u32 = if index + 1 == versions.len() { 0 } else { 16 };
        needed.extend(0u32.to_le_bytes());
        needed.extend(flags.to_le_bytes());
        needed.extend((index as u16 + 2).to_le_bytes());
        needed.extend(offset.to_le_bytes());
        needed.extend(next.to_le_bytes());
    }
    let loader = [loader.as_bytes(), b"\0"].concat();
    let loader_at = HEADER + SEGMENT;
    let strings_at = loader_at + loader.len();
    let needed_at = strings_at + strings.len();
    let sections_at = needed_at + needed.len();
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.push(os_abi);
    file.resize(16, 0);
    file.extend(elf::ET_DYN.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    for offset in [0, HEADER as u64, sections_at as u64] {
        file.extend(offset.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    for half in [HEADER, SEGMENT, 1, SECTION, 3, 1] {
        file.extend((half as u16).to_le_bytes());
    }
    file.extend(elf::PT_INTERP.to_le_bytes());
    file.extend(4u32.to_le_bytes());
    for word in [loader_at, 0, 0, loader.len(), loader.len(), 1] {
        file.extend((word as u64).to_le_bytes());
    }
    file.extend(loader);
    file.extend(&strings);
    file.extend(&needed);
    let mut section = |kind: u32, at: usize, size: usize, link: u32, info: u32| {
        file.extend(0u32.to_le_bytes());
        file.extend(kind.to_le_bytes());
        for word in [0, 0, at as u64, size as u64] {
            file.extend(word.to_le_bytes());
        }
        file.extend(link.to_le_bytes());
        file.extend(info.to_le_bytes());
        for word in [1u64, 0] {
            file.extend(word.to_le_bytes());
        }
    };
    section(elf::SHT_NULL, 0, 0, 0, 0);
    section(elf::SHT_STRTAB, strings_at, strings.len(), 0, 0);
    section(elf::SHT_GNU_VERNEED, needed_at, needed.len(), 1, 1);
    file
}

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

fn x86(versions: &[(&str, u16)]) -> Result<Option<Version>> {
    let file = elf(elf::EM_X86_64, 0, LOADER, versions);
    check(Path::new("b"), &file, Architecture::X86)
}

fn version(minor: u32) -> Version {
    Version { major: 2, minor }
}

#[test]
fn the_highest_version_is_compared_numerically() {
    assert_eq!(
        x86(&[("GLIBC_2.9", 0), ("GLIBC_2.17", 0), ("GLIBC_2.2.5", 0)]).unwrap(),
        Some(version(17))
    );
    assert_eq!(
        x86(&[("GLIBC_2.34", 0), ("GCC_3.0", 0), ("GLIBC_PRIVATE", 0)]).unwrap(),
        Some(version(34))
    );
}

#[test]
fn newer_versions_are_refused_with_a_hint() {
    for (name, says) in [
        ("GLIBC_2.35", "needs glibc 2.35"),
        ("GLIBC_2.100", "needs glibc 2.100"),
        ("GLIBC_3.0", "needs glibc 3.0"),
        ("GLIBC_ABI_DT_RELR", "needs glibc 2.36"),
    ] {
        let error = x86(&[("GLIBC_2.2.5", 0), (name, 0)])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(says) && error.contains("deploy/build-bootstrap.sh"),
            "{error}"
        );
    }
}

#[test]
fn weak_versions_are_ignored() {
    assert_eq!(
        x86(&[("GLIBC_2.34", 0), ("GLIBC_2.38", elf::VER_FLG_WEAK)]).unwrap(),
        Some(version(34))
    );
}

#[test]
fn other_machines_systems_and_loaders_are_refused() {
    let refused = |file: &[u8], arch, says: &str| {
        let error = check(Path::new("b"), file, arch).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    let glibc = [("GLIBC_2.17", 0)];
    let arm = elf(elf::EM_AARCH64, 0, "/lib/ld-linux-aarch64.so.1", &glibc);
    refused(&arm, Architecture::X86, "not built for x86_64");
    assert_eq!(
        check(Path::new("b"), &arm, Architecture::Arm64).unwrap(),
        Some(version(17))
    );
    let intel = elf(elf::EM_X86_64, 0, LOADER, &glibc);
    refused(&intel, Architecture::Arm64, "not built for arm64");
    let freebsd = elf(elf::EM_X86_64, elf::ELFOSABI_FREEBSD, LOADER, &glibc);
    refused(&freebsd, Architecture::X86, "not built for Linux");
    let musl = elf(elf::EM_X86_64, 0, "/lib/ld-musl-x86_64.so.1", &glibc);
    refused(&musl, Architecture::X86, "ld-musl");
    refused(b"MZ\x90\0", Architecture::X86, "not a Linux ELF");
    refused(b"#!/bin/sh\n", Architecture::X86, "not a Linux ELF");
    refused(b"", Architecture::X86, "not a Linux ELF");
    let mut narrow = intel;
    narrow[4] = 1;
    refused(&narrow, Architecture::X86, "not a 64-bit ELF");
}

#[test]
fn damaged_files_are_errors() {
    let file = elf(
        elf::EM_X86_64,
        0,
        LOADER,
        &[("GLIBC_2.17", 0), ("GLIBC_2.38", 0)],
    );
    for length in 0..file.len() {
        assert!(
            check(Path::new("b"), &file[..length], Architecture::X86).is_err(),
            "{length}"
        );
    }
    // A damaged byte must never cause a panic or an endless loop.
    for offset in 0..file.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = file.clone();
            damaged[offset] = value;
            let _ = check(Path::new("b"), &damaged, Architecture::X86);
        }
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
#[test]
fn real_executables_are_read() {
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let needs = needs(&own, Architecture::X86).unwrap().unwrap();
    println!("this test needs glibc {needs}");
    assert!(needs >= version(2) && needs.major == 2);
    for length in [20, 64, 1000, own.len() / 2, own.len() - 1] {
        assert!(check(Path::new("b"), &own[..length], Architecture::X86).is_err());
    }
    let shell = std::fs::read("/bin/sh").unwrap();
    let shell = super::needs(&shell, Architecture::X86);
    println!("/bin/sh needs glibc {shell:?}");
    shell.unwrap();
}
