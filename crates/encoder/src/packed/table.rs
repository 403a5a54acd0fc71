//! The metadata of a packed model: the caller's description, and the table of sections.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shoal_kernels::ALIGNMENT;

use super::header::{LEN, MAX_METADATA};

/// Most sections of a file.
pub const MAX_SECTIONS: usize = 65_536;

/// Most bytes of a section's name.
pub const MAX_NAME: usize = 255;

/// An entry of the table.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    pub(super) name: String,
    /// Relative to the start of the sections.
    pub(super) offset: u64,
    pub(super) length: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    model: Box<RawValue>,
    sections: Vec<Section>,
}

/// Offset of the sections in a file with `metadata` bytes of metadata.
pub(super) fn start(metadata: usize) -> usize {
    (LEN + metadata).next_multiple_of(ALIGNMENT)
}

/// The caller's metadata and the sections of a file of `file` bytes; all sections are within it.
/// On failure, what is wrong.
pub(super) fn parse(metadata: &[u8], file: usize) -> Result<(Box<RawValue>, Vec<Section>), String> {
    let parsed: Metadata =
        serde_json::from_slice(metadata).map_err(|error| format!("its metadata: {error}"))?;
    let room = file
        .checked_sub(start(metadata.len()))
        .ok_or("it ends before its sections start")?;
    check(&parsed.sections, room as u64)?;
    Ok((parsed.model, parsed.sections))
}

/// Lays out sections one after the other; returns the metadata and the length of the file. On failure, what is wrong.
pub(super) fn plan<M: Serialize>(
    model: &M,
    sections: &[(&str, &[u8])],
) -> Result<(Vec<u8>, usize), String> {
    #[derive(Serialize)]
    struct Metadata<'a, M> {
        model: &'a M,
        sections: &'a [Section],
    }
    let mut end = 0;
    let place = |(name, bytes): &(&str, &[u8])| {
        let offset = end;
        end += bytes.len().next_multiple_of(ALIGNMENT);
        Section {
            name: (*name).to_owned(),
            offset: offset as u64,
            length: bytes.len() as u64,
        }
    };
    let sections: Vec<_> = sections.iter().map(place).collect();
    check(&sections, end as u64)?;
    let metadata = serde_json::to_vec(&Metadata {
        model,
        sections: &sections,
    })
    .map_err(|error| format!("its metadata: {error}"))?;
    if metadata.len() > MAX_METADATA {
        return Err(format!(
            "{} bytes of metadata are more than {MAX_METADATA}",
            metadata.len()
        ));
    }
    let start = start(metadata.len());
    Ok((metadata, start + end))
}

/// Checks names, order, alignment and bounds; the sections have `room` bytes.
fn check(sections: &[Section], room: u64) -> Result<(), String> {
    if sections.len() > MAX_SECTIONS {
        return Err(format!("it has more than {MAX_SECTIONS} sections"));
    }
    let mut names = HashSet::with_capacity(sections.len());
    let mut free = 0;
    for Section {
        name,
        offset,
        length,
    } in sections
    {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(format!(
                "a section has a name of {} bytes; 1 to {MAX_NAME} are allowed",
                name.len()
            ));
        }
        if !names.insert(name) {
            return Err(format!("there are two sections {name:?}"));
        }
        if !offset.is_multiple_of(ALIGNMENT as u64) {
            return Err(format!(
                "the section {name:?} starts at {offset}, which is not a multiple of {ALIGNMENT}"
            ));
        }
        if *offset < free {
            return Err(format!(
                "the section {name:?} starts at {offset}, before the one above it ends"
            ));
        }
        free = offset
            .checked_add(*length)
            .filter(|end| *end <= room)
            .ok_or_else(|| {
                format!(
                    "the section {name:?} of {length} bytes at {offset} ends beyond the {room} \
                     bytes of all sections"
                )
            })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(sections: &[(&str, u64, u64)]) -> Vec<Section> {
        sections
            .iter()
            .map(|&(name, offset, length)| Section {
                name: name.to_owned(),
                offset,
                length,
            })
            .collect()
    }

    #[test]
    fn accepts_what_fits() {
        check(&[], 0).unwrap();
        check(&table(&[("a", 0, 3), ("b", 64, 0), ("c", 64, 10)]), 74).unwrap();
        check(&table(&[("with a gap before it", 640, 64)]), 704).unwrap();
        check(&table(&[(&"n".repeat(MAX_NAME), 0, 0)]), 0).unwrap();
    }

    #[test]
    fn refuses_hostile_tables() {
        let last = u64::MAX - 63;
        for (sections, reason) in [
            (&[("", 0, 1)][..], "a name of 0 bytes"),
            (&[(&"n".repeat(MAX_NAME + 1), 0, 1)], "a name of 256 bytes"),
            (&[("a", 0, 1), ("a", 64, 1)], "two sections \"a\""),
            (&[("a", 1, 1)], "not a multiple of 64"),
            (&[("a", 0, 65), ("b", 64, 1)], "before the one above"),
            (&[("a", 64, 64), ("b", 0, 1)], "before the one above"),
            (&[("a", 0, 1001)], "beyond the 1000 bytes"),
            (&[("a", 1024, 0)], "beyond the 1000 bytes"),
            (&[("a", 0, u64::MAX)], "beyond the 1000 bytes"),
            (&[("a", last, 1)], "beyond the 1000 bytes"),
            (&[("a", last, 64)], "beyond the 1000 bytes"),
            (&[("a", last, u64::MAX)], "beyond the 1000 bytes"),
            (&[("a", 64, last)], "beyond the 1000 bytes"),
        ] {
            let error = check(&table(sections), 1000).unwrap_err();
            assert!(error.contains(reason), "{sections:?}: {error}");
        }
    }

    #[test]
    fn stops_at_one_section_too_many() {
        let metadata = |count: usize| {
            let sections: Vec<_> = (0..count)
                .map(|i| format!(r#"{{"name":"{i}","offset":0,"length":0}}"#))
                .collect();
            format!(r#"{{"model":null,"sections":[{}]}}"#, sections.join(",")).into_bytes()
        };
        let most = metadata(MAX_SECTIONS);
        let (_, sections) = parse(&most, 1 << 30).unwrap();
        assert_eq!(sections.len(), MAX_SECTIONS);
        let error = parse(&metadata(MAX_SECTIONS + 1), 1 << 30).unwrap_err();
        assert!(error.contains("more than 65536 sections"), "{error}");
    }
}
