//! Reads ranges of rows of a record batch. For uncompressed columns of simple types only the bytes of those rows are read, so
//! that a single large record batch is not read completely for each batch of a job.

use std::ops::Range;

use arrow_array::{ArrayRef, make_array};
use arrow_buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType, Schema};
use parquet::file::reader::ChunkReader;

use super::{
    Block, Column, File, MAX_BATCH_BYTES, READ_BYTES, Result, batch_of, columns_of, damaged, parse,
};

impl<R: ChunkReader> File<R> {
    /// Reads rows of the columns `projection` of a record batch; `None` for columns that cannot be read in ranges.
    pub(crate) fn range(
        &self,
        number: usize,
        schema: &Schema,
        projection: &[usize],
        rows: Range<u64>,
    ) -> Result<Vec<Option<ArrayRef>>> {
        let block = self.footer.batches[number];
        let content = self.message(block)?;
        let message = parse(&content)?;
        let batch = batch_of(&message)?;
        if batch.compression().is_some() {
            return Ok(vec![None; projection.len()]);
        }
        let (Some(nodes), Some(buffers)) = (batch.nodes(), batch.buffers()) else {
            return Err(damaged("a record batch has no columns"));
        };
        let columns = columns_of(schema, &batch, self.footer.version, projection)?;
        let columns = columns.iter().map(|Column { index, node, parts }| {
            let data_type = schema.field(*index).data_type();
            if !is_simple(data_type) {
                return Ok(None);
            }
            let parts = parts.clone().map(|part| {
                let part = buffers.get(part);
                Part::new(part, block)
            });
            let parts = parts.collect::<Result<Vec<_>>>()?;
            let has_nulls = nodes.get(*node).null_count() > 0;
            self.array(data_type, has_nulls, &parts, &rows).map(Some)
        });
        columns.collect()
    }

    /// Rows of a column with the buffers `parts`: validity, offsets where values differ in length, and values.
    fn array(
        &self,
        data_type: &DataType,
        has_nulls: bool,
        parts: &[Part],
        rows: &Range<u64>,
    ) -> Result<ArrayRef> {
        let length = (rows.end - rows.start) as usize;
        let nulls = match has_nulls {
            true => Some(NullBuffer::new(self.bits(parts[0], rows)?)),
            false => None,
        };
        let array = ArrayData::builder(data_type.clone())
            .len(length)
            .nulls(nulls)
            .align_buffers(true);
        let array = match data_type {
            DataType::Boolean => {
                let bits = self.bits(parts[1], rows)?;
                array.offset(0).add_buffer(bits.sliced())
            }
            DataType::Binary => {
                let (offsets, values) =
                    self.values::<4>(parts, rows, |bytes| i32::from_le_bytes(bytes).into())?;
                let offsets = offsets.into_iter().map(|offset| offset as i32);
                let offsets = Buffer::from_vec(offsets.collect::<Vec<_>>());
                array.add_buffer(offsets).add_buffer(values)
            }
            DataType::LargeBinary => {
                let (offsets, values) = self.values::<8>(parts, rows, i64::from_le_bytes)?;
                array
                    .add_buffer(Buffer::from_vec(offsets))
                    .add_buffer(values)
            }
            other => {
                let width = other.primitive_width().unwrap_or_default() as u64;
                let bytes = rows.start * width..rows.end * width;
                array.add_buffer(self.read(parts[1], bytes)?)
            }
        };
        Ok(make_array(array.build()?))
    }

    /// The values of a variable-length column, and their offsets from the first one.
    fn values<const WIDTH: usize>(
        &self,
        parts: &[Part],
        rows: &Range<u64>,
        number: impl Fn([u8; WIDTH]) -> i64,
    ) -> Result<(Vec<i64>, Buffer)> {
        // A column without rows may have no offsets at all.
        if rows.is_empty() {
            return Ok((vec![0], Buffer::default()));
        }
        let width = WIDTH as u64;
        let offsets = self.read(parts[1], rows.start * width..(rows.end + 1) * width)?;
        let offsets: Vec<_> = offsets.as_chunks().0.iter().copied().map(number).collect();
        let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
        let is_sound = first >= 0 && offsets.is_sorted();
        if !is_sound {
            return Err(damaged("the offsets of a column are not sorted"));
        }
        let values = self.read(parts[2], first as u64..last as u64)?;
        let offsets = offsets.into_iter().map(|offset| offset - first).collect();
        Ok((offsets, values))
    }

    fn bits(&self, part: Part, rows: &Range<u64>) -> Result<BooleanBuffer> {
        let bytes = self.read(part, rows.start / 8..rows.end.div_ceil(8))?;
        let length = (rows.end - rows.start) as usize;
        Ok(BooleanBuffer::new(bytes, (rows.start % 8) as usize, length))
    }

    /// These bytes of a buffer.
    fn read(&self, part: Part, bytes: Range<u64>) -> Result<Buffer> {
        if bytes.end > part.length {
            return Err(damaged("a column is shorter than its number of rows"));
        }
        let length = bytes.end.saturating_sub(bytes.start);
        if length > MAX_BATCH_BYTES {
            return Err(damaged("its values are too large"));
        }
        let mut buffer = MutableBuffer::try_from_len_zeroed(length as usize)
            .map_err(|e| ArrowError::MemoryError(e.to_string()))?;
        self.fill(&mut buffer, part.start + bytes.start)?;
        Ok(buffer.into())
    }

    /// Reads the bytes of the file from `start` on.
    pub(super) fn fill(&self, out: &mut [u8], mut start: u64) -> Result<()> {
        for out in out.chunks_mut(READ_BYTES) {
            out.copy_from_slice(&self.bytes.get_bytes(start, out.len())?);
            start += out.len() as u64;
        }
        Ok(())
    }
}

/// The position of a buffer in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) start: u64,
    pub(super) length: u64,
}

impl Part {
    /// A buffer in the body of `block`.
    pub(super) fn new(buffer: &arrow_ipc::Buffer, block: Block) -> Result<Self> {
        let known = || {
            let offset = u64::try_from(buffer.offset()).ok()?;
            let length = u64::try_from(buffer.length()).ok()?;
            let start = block.start + block.metadata + offset;
            (offset.checked_add(length)? <= block.body).then_some(Self { start, length })
        };
        known().ok_or_else(|| damaged("a column lies beyond its record batch"))
    }
}

/// Whether the bytes of a range of rows are contiguous in each buffer.
fn is_simple(data_type: &DataType) -> bool {
    data_type.is_primitive()
        || matches!(
            data_type,
            DataType::Boolean | DataType::Binary | DataType::LargeBinary
        )
}
