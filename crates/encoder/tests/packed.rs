//! The container of packed models: round trips, damage of every kind, hostile files.

use std::fs;
use std::io;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use shoal_encoder::ModelError;
use shoal_encoder::packed::{Container, MAX_NAME, MAX_SECTIONS, reseal, save, to_bytes};
use shoal_kernels::copy_aligned;

const NAME: &str = "models/a.shoal";
const HEADER: usize = 32;

fn description() -> Value {
    json!({"labels": ["NEGATIVE", "POSITIVE"], "layers": 2})
}

/// 40 bytes, none and 65 bytes.
fn sections() -> [(&'static str, Vec<u8>); 3] {
    let numbers: Vec<u8> = (0..10u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
    [
        ("numbers", numbers),
        ("empty", Vec::new()),
        ("odd", (0..65).collect()),
    ]
}

fn sample() -> Vec<u8> {
    let sections = sections();
    let borrowed: Vec<_> = sections.iter().map(|(name, b)| (*name, &b[..])).collect();
    to_bytes(&description(), &borrowed).unwrap().to_vec()
}

fn open(bytes: &[u8]) -> Result<Container, ModelError> {
    Container::from_bytes(copy_aligned(bytes), NAME)
}

#[track_caller]
fn refused(bytes: &[u8]) -> ModelError {
    match open(bytes) {
        Ok(_) => panic!("{} bytes were opened", bytes.len()),
        Err(error) => {
            assert!(error.to_string().contains(NAME), "{error}");
            error
        }
    }
}

/// A file of this metadata and of zeros up to `len`, sealed.
fn forged(metadata: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len.max(HEADER + metadata.len())];
    bytes[16..20].copy_from_slice(&1u32.to_le_bytes());
    bytes[20..24].copy_from_slice(&(metadata.len() as u32).to_le_bytes());
    bytes[HEADER..][..metadata.len()].copy_from_slice(metadata.as_bytes());
    reseal(&mut bytes);
    bytes
}

/// Reads whatever can be read.
fn read_all(container: &Container) {
    let _ = container.model::<Value>();
    for (name, len) in container.sections() {
        let section = container.section(name).unwrap();
        assert_eq!(section.len(), len);
        assert_eq!(section.as_ptr().addr() % 64, 0, "{name}");
        let sum: u64 = section.iter().map(|&byte| u64::from(byte)).sum();
        assert!(sum <= 255 * len as u64);
        let view = container.view::<f32>(name);
        assert_eq!(
            view.map(|v| v.len()).ok(),
            (len % 4 == 0).then_some(len / 4)
        );
    }
}

#[test]
fn what_was_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.shoal");
    let sections = sections();
    let borrowed = sections.each_ref().map(|(name, bytes)| (*name, &bytes[..]));
    save(&path, &description(), &borrowed).unwrap();
    assert_eq!(fs::read(&path).unwrap(), sample(), "as in memory");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    for container in [Container::open(&path).unwrap(), open(&sample()).unwrap()] {
        assert_eq!(container.model::<Value>().unwrap(), description());
        assert_eq!(container.sections().count(), 3);
        for (name, bytes) in &sections {
            assert_eq!(&*container.section(name).unwrap(), &bytes[..]);
        }
        let numbers = container.view::<f32>("numbers").unwrap();
        drop(container);
        assert_eq!(&*numbers, [0., 1., 2., 3., 4., 5., 6., 7., 8., 9.]);
    }
}

#[test]
fn missing_and_misaligned_sections_are_named() {
    let container = open(&sample()).unwrap();
    let missing = container.section("bias").unwrap_err().to_string();
    assert!(missing.contains("\"bias\" is missing"), "{missing}");
    let ragged = container.view::<f32>("odd").unwrap_err().to_string();
    assert!(ragged.contains("\"odd\": its 65 bytes"), "{ragged}");
    let other = container.model::<Vec<u8>>().unwrap_err().to_string();
    assert!(other.contains("description of the model"), "{other}");
    for message in [missing, ragged, other] {
        assert!(message.contains(NAME), "{message}");
    }
    let path = Path::new("no such folder/a.shoal");
    let error = Container::open(path).err().unwrap();
    assert!(matches!(error, ModelError::Io { .. }), "{error}");
}

#[test]
fn content_that_cannot_be_read_is_not_written() {
    let refused = |sections: &[(&str, &[u8])], reason: &str| {
        let error = to_bytes(&(), sections).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(reason), "{error}");
    };
    refused(&[("a", b"1"), ("a", b"2")], "two sections");
    refused(&[("", b"1")], "a name of 0 bytes");
    refused(&[(&"n".repeat(MAX_NAME + 1), b"1")], "a name of 256");
    let names: Vec<_> = (0..=MAX_SECTIONS).map(|i| i.to_string()).collect();
    let many: Vec<_> = names.iter().map(|name| (&**name, &b""[..])).collect();
    refused(&many, "more than 65536 sections");
    to_bytes(&(), &many[1..]).unwrap();
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.shoal");
    let twice: &[(&str, &[u8])] = &[("a", b"1"), ("a", b"2")];
    let error = save(&path, &(), twice).unwrap_err();
    assert!(matches!(error, ModelError::Write { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    let section = |path| Container::open(path).unwrap().section("a").unwrap();
    save(&path, &(), &[("a", b"old")]).unwrap();
    let old = section(&path);
    save(&path, &(), twice).unwrap_err();
    assert_eq!(&*section(&path), b"old");
    save(&path, &(), &[("a", b"new")]).unwrap();
    assert_eq!(&*section(&path), b"new");
    assert_eq!(&*old, b"old", "still mapped");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_link_stays_and_others_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("a.shoal"), folder.path().join("link"));
    let plain = folder.path().join("plain");
    fs::write(&plain, "").unwrap();
    save(&path, &1, &[]).unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&path), mode(&plain), "as any other file");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    save(&link, &2, &[]).unwrap();
    assert!(link.is_symlink());
    assert_eq!(Container::open(&path).unwrap().model::<u8>().unwrap(), 2);
}

#[test]
fn every_truncation_is_noticed() {
    let whole = sample();
    assert!(matches!(refused(&[]), ModelError::NotPacked { .. }));
    for len in 1..whole.len() {
        let error = refused(&whole[..len]);
        assert!(matches!(error, ModelError::Damaged { .. }), "{error}");
        let all = if len < HEADER { HEADER } else { whole.len() };
        let says = format!("cut short: {len} of {all} bytes");
        assert!(error.to_string().contains(&says), "{error}");
    }
    let longer = [&whole[..], &[0; 64]].concat();
    let error = refused(&longer).to_string();
    assert!(error.contains("where it should have"), "{error}");
}

#[test]
fn every_damaged_byte_is_noticed() {
    let mut bytes = sample();
    for at in 0..bytes.len() {
        for damage in 1..=255 {
            bytes[at] ^= damage;
            let error = refused(&bytes);
            let says: &[&str] = match at {
                0..8 => &["neither a model folder nor a packed model", "text mode"],
                24..32 => &["cut short", "where it should have"],
                _ => &["its checksum differs"],
            };
            let message = error.to_string();
            let fits = says.iter().any(|says| message.contains(says));
            assert!(fits, "byte {at} ^ {damage:#x}: {error}");
            bytes[at] ^= damage;
        }
    }
}

#[test]
fn transfers_in_text_mode_are_recognized() {
    let whole = sample();
    let replace = |from: &[u8], to: &[u8]| {
        let mut changed = Vec::new();
        let mut rest = &whole[..];
        while let Some((first, behind)) = rest.split_first() {
            if rest.starts_with(from) {
                changed.extend(to);
                rest = &rest[from.len()..];
            } else {
                changed.push(*first);
                rest = behind;
            }
        }
        changed
    };
    let latin1: String = whole.iter().map(|&byte| char::from(byte)).collect();
    for (how, bytes) in [
        ("to Unix", replace(b"\r\n", b"\n")),
        ("to Windows", replace(b"\n", b"\r\n")),
        ("to old Mac", replace(b"\n", b"\r")),
        ("seven bits", whole.iter().map(|byte| byte & 0x7f).collect()),
        ("from Latin-1 to UTF-8", latin1.into_bytes()),
        (
            "through UTF-8",
            String::from_utf8_lossy(&whole).as_bytes().to_vec(),
        ),
    ] {
        let error = refused(&bytes);
        assert!(error.to_string().contains("text mode"), "{how}: {error}");
    }
}

#[test]
fn foreign_files_are_recognized() {
    for (bytes, hint) in [
        (&b""[..], "it is empty"),
        (b"{\"model_type\": \"bert\"}", "it seems to be JSON"),
        (b"\x89PNG\r\n\x1a\n", "does not begin as one"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "git lfs pull",
        ),
    ] {
        let error = refused(bytes);
        assert!(matches!(error, ModelError::NotPacked { .. }), "{error}");
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[test]
fn other_versions_are_recognized() {
    for (version, advice) in [
        (2, "update shoal"),
        (u32::MAX, "update shoal"),
        (0, "pack it"),
    ] {
        let mut bytes = sample();
        bytes[16..20].copy_from_slice(&version.to_le_bytes());
        reseal(&mut bytes);
        let error = refused(&bytes);
        assert!(matches!(error, ModelError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(advice), "{error}");
    }
}

#[test]
fn memory_off_a_boundary_is_refused() {
    let bytes = copy_aligned(&[&[0; 4], &sample()[..]].concat());
    let shifted = bytes.slice(4..);
    let error = Container::from_bytes(shifted, NAME).err().unwrap();
    assert!(error.to_string().contains("64-byte boundary"), "{error}");
}

#[test]
fn forged_metadata_is_refused() {
    let section = |offset: &str, length: &str| {
        format!(r#"{{"model":1,"sections":[{{"name":"a","offset":{offset},"length":{length}}}]}}"#)
    };
    let max = u64::MAX.to_string();
    let last = (u64::MAX - 63).to_string();
    for (metadata, reason) in [
        (String::new(), "EOF"),
        ("nonsense".into(), "its metadata"),
        ("{}".into(), "missing field `model`"),
        (r#"{"model":1}"#.into(), "missing field `sections`"),
        (r#"{"model":1,"sections":7}"#.into(), "expected a sequence"),
        (
            r#"{"model":1,"sections":[],"more":1}"#.into(),
            "unknown field `more`",
        ),
        (
            r#"{"model":1,"model":1,"sections":[]}"#.into(),
            "duplicate field",
        ),
        (
            r#"{"model":1,"sections":[]} 1"#.into(),
            "trailing characters",
        ),
        (section("0", "193"), "ends beyond the 192 bytes"),
        (section("256", "0"), "ends beyond the 192 bytes"),
        (section("1", "1"), "not a multiple of 64"),
        (section("-64", "1"), "invalid"),
        (section("0", "1e3"), "invalid type: floating point"),
        (section("0", &max), "ends beyond"),
        (section(&last, "64"), "ends beyond"),
        (section(&last, &max), "ends beyond"),
        (section("0", "18446744073709551616"), "invalid"),
    ] {
        let space = (HEADER + metadata.len()).next_multiple_of(64);
        let error = refused(&forged(&metadata, space + 192));
        assert!(matches!(error, ModelError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{metadata}: {error}");
    }
    // Metadata that fits, with the start of the sections beyond the end.
    let error = refused(&forged(r#"{"model":1,"sections":[]}"#, 0));
    assert!(error.to_string().contains("before its sections"), "{error}");
}

#[test]
fn absurd_lengths_reserve_nothing() {
    for (len, reason) in [(64 << 20, "would end at"), (u32::MAX, "are more than")] {
        let mut bytes = sample();
        bytes[20..24].copy_from_slice(&len.to_le_bytes());
        reseal(&mut bytes);
        let error = refused(&bytes);
        assert!(error.to_string().contains(reason), "{error}");
    }
    let mut bytes = sample();
    bytes[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
    let error = refused(&bytes).to_string();
    assert!(error.contains("cut short"), "{error}");
}

#[test]
fn deep_nesting_ends_in_an_error() {
    let depth = 1_000_000;
    let nested = "[".repeat(depth) + &"]".repeat(depth);
    let metadata = format!(r#"{{"model":{nested},"sections":[]}}"#);
    let container = open(&forged(&metadata, metadata.len() + 128)).unwrap();
    let error = container.model::<Value>().unwrap_err();
    assert!(error.to_string().contains("recursion limit"), "{error}");

    let metadata = format!(r#"{{"model":1,"sections":{nested}}}"#);
    refused(&forged(&metadata, metadata.len() + 128));
    refused(&forged(&"[".repeat(depth), 0));
}

/// Metadata of the right form with hostile numbers and names.
fn metadata() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        (0u64..8).prop_map(|i| i * 64),
        0u64..600,
        (0u64..200).prop_map(|i| u64::MAX - i),
        any::<u64>(),
    ];
    let section = ("[a-c]{0,2}", number.clone(), number);
    prop::collection::vec(section, 0..5).prop_map(|sections| {
        let sections: Vec<_> = sections
            .into_iter()
            .map(|(name, offset, length)| json!({"name": name, "offset": offset, "length": length}))
            .collect();
        json!({"model": [1], "sections": sections}).to_string()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    #[test]
    fn sealed_damage_never_panics(
        damage in prop::collection::vec((16..400usize, any::<u8>()), 1..6),
        cut in 0..600usize,
    ) {
        let mut bytes = sample();
        for (at, value) in damage {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(cut.max(HEADER));
        reseal(&mut bytes);
        if let Ok(container) = open(&bytes) {
            read_all(&container);
        }
    }

    #[test]
    fn forged_tables_never_reach_beyond_the_file(metadata in metadata(), len in 0..1000usize) {
        if let Ok(container) = open(&forged(&metadata, len)) {
            read_all(&container);
        }
    }

    #[test]
    fn noise_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = open(&bytes);
        reseal(&mut bytes);
        let _ = open(&bytes);
    }
}

#[test]
fn folders_and_devices_are_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let mut places = vec![folder.path().to_owned()];
    if cfg!(unix) {
        places.push("/dev/null".into());
    }
    for place in places {
        let error = save(&place, &(), &[]).unwrap_err();
        assert!(matches!(error, ModelError::Write { .. }), "{error:?}");
        assert!(
            error.to_string().contains("a folder or a device"),
            "{error}"
        );
        assert!(!place.is_file(), "{}", place.display());
    }
}
