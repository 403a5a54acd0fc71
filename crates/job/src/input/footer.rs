//! Checks the footer of a Parquet file before the library reads it: the library recurses for each nested group, and allocates
//! as many elements as a list claims to have.
//!
//! The footer is a struct in Thrift's compact protocol (`thrift/doc/specs/thrift-compact-protocol.md`).

use parquet::errors::Result;
use parquet::file::reader::ChunkReader;

/// Maximum size of a footer.
const MOST_BYTES: u64 = 256 << 20;
/// Maximum nesting of groups and structs.
const MOST_LEVELS: usize = 64;
/// Minimum size of a non-empty struct in a list.
const STRUCT_BYTES: u64 = 2;

const LIST: u8 = 9;
const STRUCT: u8 = 12;
/// The schema among the fields of the footer, and the number of children among those of one of its elements.
const SCHEMA: i64 = 2;
const CHILDREN: i64 = 5;

/// Whether the library can safely read the footer of `file`, or reject it.
pub(crate) fn is_harmless(file: &impl ChunkReader) -> Result<bool> {
    /// The length of the footer, and the magic.
    const END: u64 = 8;
    let Some(body) = file.len().checked_sub(END) else {
        return Ok(true);
    };
    let end = file.get_bytes(body, END as usize)?;
    let Some([length, magic]) = end.as_chunks::<4>().0.first_chunk() else {
        return Ok(true);
    };
    let length = u64::from(u32::from_le_bytes(*length));
    if magic != b"PAR1" || length > body {
        return Ok(true);
    }
    if length > MOST_BYTES {
        return Ok(false);
    }
    let footer = file.get_bytes(body - length, length as usize)?;
    Ok(Walk { rest: &footer }.footer().is_some())
}

/// The rest of the footer. Each method consumes what it reads, and returns `None` if that is malformed.
struct Walk<'a> {
    rest: &'a [u8],
}

impl Walk<'_> {
    fn footer(&mut self) -> Option<()> {
        self.fields(0, |walk, id, kind| match (id, kind) {
            (SCHEMA, LIST) => walk.schema(),
            _ => walk.value(kind, 1),
        })
    }

    /// The tree of columns, as a list in which the children of a group follow it.
    fn schema(&mut self) -> Option<()> {
        let (elements, kind) = self.list()?;
        // The number of remaining children of each open group.
        let mut open: Vec<u64> = Vec::new();
        for _ in 0..elements {
            let mut children = 0;
            if kind != STRUCT {
                return None;
            }
            self.fields(2, |walk, id, kind| match (id, kind) {
                (CHILDREN, 5) => {
                    children = u64::try_from(walk.signed()?)
                        .ok()
                        .filter(|n| *n <= elements)?;
                    Some(())
                }
                _ => walk.value(kind, 3),
            })?;
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            if children > 0 {
                open.push(children);
            }
            while open.last() == Some(&0) {
                open.pop();
            }
            if open.len() > MOST_LEVELS {
                return None;
            }
        }
        Some(())
    }

    /// Calls `field` with the id and the type of each field of a struct. It must consume the value.
    fn fields(
        &mut self,
        level: usize,
        mut field: impl FnMut(&mut Self, i64, u8) -> Option<()>,
    ) -> Option<()> {
        if level > MOST_LEVELS {
            return None;
        }
        let mut id = 0i64;
        loop {
            let head = self.byte()?;
            let kind = head & 0xf;
            if kind == 0 {
                return Some(());
            }
            id = match head >> 4 {
                0 => self.signed()?,
                more => id.checked_add(more.into())?,
            };
            field(self, id, kind)?;
        }
    }

    /// The value of a field. Booleans, types 1 and 2, are encoded in the type.
    fn value(&mut self, kind: u8, level: usize) -> Option<()> {
        match kind {
            1 | 2 => Some(()),
            kind => self.element(kind, level),
        }
    }

    /// A value in a list.
    fn element(&mut self, kind: u8, level: usize) -> Option<()> {
        if level > MOST_LEVELS {
            return None;
        }
        match kind {
            1..=3 => self.skip(1),
            4..=6 => self.number().map(drop),
            7 => self.skip(8),
            8 => {
                let bytes = self.number()?;
                self.skip(bytes)
            }
            LIST | 10 => {
                let (elements, kind) = self.list()?;
                (0..elements).try_for_each(|_| self.element(kind, level + 1))
            }
            11 => {
                let pairs = self.number()?;
                if pairs == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                (0..pairs).try_for_each(|_| {
                    self.element(kinds >> 4, level + 1)?;
                    self.element(kinds & 0xf, level + 1)
                })
            }
            STRUCT => self.fields(level + 1, |walk, _, kind| walk.value(kind, level + 1)),
            13 => self.skip(16),
            _ => None,
        }
    }

    /// The number of elements of a list, bounded by the remaining bytes, and their type.
    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let elements = match head >> 4 {
            15 => self.number()?,
            few => few.into(),
        };
        let kind = head & 0xf;
        let least = if kind == STRUCT { STRUCT_BYTES } else { 1 };
        let bytes = elements.checked_mul(least)?;
        (bytes <= self.rest.len() as u64).then_some((elements, kind))
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// A little-endian base-128 number.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn skip(&mut self, bytes: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// A file whose columns are these elements of a schema and whose row groups are `groups`.
    fn file(elements: &[Vec<u8>], groups: &[u8]) -> Bytes {
        file_of_rows(0, elements, groups)
    }

    fn file_of_rows(rows: u64, elements: &[Vec<u8>], groups: &[u8]) -> Bytes {
        let mut footer = vec![0x15, 0x02, 0x19, 0xfc];
        footer.extend(number(elements.len() as u64));
        footer.extend(elements.concat());
        footer.push(0x16);
        footer.extend(number(2 * rows));
        footer.extend(groups);
        footer.push(0);
        let mut file = b"PAR1".to_vec();
        file.extend(&footer);
        file.extend((footer.len() as u32).to_le_bytes());
        file.extend(b"PAR1");
        file.into()
    }

    fn number(mut number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    /// A required group called `a`, or the root.
    fn group(children: u64) -> Vec<u8> {
        let mut element = vec![0x35, 0x00, 0x18, 1, b'a', 0x15];
        element.extend(number(2 * children));
        element.push(0);
        element
    }

    /// A required column of bytes called `a`.
    fn leaf() -> Vec<u8> {
        vec![0x15, 0x0c, 0x25, 0x00, 0x18, 1, b'a', 0]
    }

    /// Groups in groups.
    fn nested(levels: usize) -> Bytes {
        let mut elements = vec![group(1); levels];
        elements.push(leaf());
        file(&elements, NO_GROUPS)
    }

    const NO_GROUPS: &[u8] = &[0x19, 0x0c];

    #[test]
    fn nested_groups_are_bounded() {
        assert!(is_harmless(&nested(1)).unwrap());
        assert!(is_harmless(&nested(MOST_LEVELS)).unwrap());
        assert!(!is_harmless(&nested(MOST_LEVELS + 1)).unwrap());
        assert!(!is_harmless(&nested(1 << 20)).unwrap());
        // Many beside each other are no depth.
        let mut elements = vec![group(1000)];
        for _ in 0..1000 {
            elements.extend([group(1), leaf()]);
        }
        assert!(is_harmless(&file(&elements, NO_GROUPS)).unwrap());
    }

    #[test]
    fn a_footer_that_the_library_reads_is_harmless() {
        use parquet::file::metadata::ParquetMetaDataReader;
        let file = nested(20);
        ParquetMetaDataReader::new()
            .parse_and_finish(&file)
            .unwrap();
        assert!(is_harmless(&file).unwrap());
    }

    #[test]
    fn lists_have_no_more_elements_than_bytes() {
        let elements = [group(1), leaf()];
        let mut groups = vec![0x19, 0xfc];
        groups.extend(number(1 << 30));
        assert!(!is_harmless(&file(&elements, &groups)).unwrap());
        let children = [group(1 << 30), leaf()];
        assert!(!is_harmless(&file(&children, NO_GROUPS)).unwrap());
        // A struct in a struct in a struct …
        let deep = [vec![0x1c; 1 << 20], vec![0; 1 << 20]].concat();
        assert!(!is_harmless(&file(&elements, &deep)).unwrap());
    }

    #[test]
    fn rows_outside_of_groups_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let rows = |rows| {
            let file = file_of_rows(rows, &[group(1), leaf()], NO_GROUPS);
            std::fs::write(&path, file).unwrap();
            crate::input::parquet::FORMAT.head(&crate::store::Location::Local(path.clone()))
        };
        assert_eq!(rows(0).unwrap().1, 0);
        let error = rows(1 << 40).unwrap_err().to_string();
        assert!(error.contains("do not add up"), "{error}");
    }

    #[test]
    fn other_files_are_left_to_the_library() {
        for bytes in [&b""[..], b"PAR1", b"\xff\xff\xff\xffPAR1", b"nonsense"] {
            assert!(is_harmless(&Bytes::copy_from_slice(bytes)).unwrap());
        }
        // A footer that ends too early.
        assert!(!is_harmless(&Bytes::from_static(b"\x15\x01\x00\x00\x00PAR1")).unwrap_or(true));
    }
}
