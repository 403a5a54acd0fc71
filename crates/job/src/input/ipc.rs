//! Reads Arrow IPC files, one record batch at a time. The sizes in a file are untrusted and checked against its length. The
//! library panics for some damaged files, which the caller must catch.

mod range;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::{Message, MetadataVersion, root_as_footer, root_as_message};
use arrow_schema::{ArrowError, DataType, Fields, Schema, SchemaRef, UnionMode};
use parquet::file::reader::ChunkReader;

use range::Part;

type Result<T> = std::result::Result<T, ArrowError>;

/// Starts and ends a file.
const MAGIC: &[u8] = b"ARROW1";
/// Starts each message of a stream.
const CONTINUATION: &[u8] = &[0xff; 4];
/// Starts a file of the first version of Feather, which is not Arrow IPC.
const FEATHER_1: &[u8] = b"FEA1";

/// Maximum size of a footer, and of the metadata of a message.
const MAX_METADATA_BYTES: u64 = 256 << 20;
/// Maximum decompressed size of the columns to read of a record batch, and of all dictionaries.
const MAX_BATCH_BYTES: u64 = 1 << 30;
/// Maximum number of values of an array.
const MAX_VALUES: i64 = i32::MAX as i64;
/// Maximum ratio of a compressed buffer: a block of Zstandard has at least 4 bytes and at most 128 KiB of content.
const MAX_COMPRESSION: u64 = 1 << 15;
/// Size of a read.
const READ_BYTES: usize = 8 << 20;

fn damaged(reason: impl std::fmt::Display) -> ArrowError {
    ArrowError::IpcError(reason.to_string())
}

/// Dictionaries by id.
pub(crate) type Dictionaries = HashMap<i64, ArrayRef>;

/// The footer of a file.
#[derive(Debug)]
pub(crate) struct Footer {
    pub(crate) schema: SchemaRef,
    version: MetadataVersion,
    dictionaries: Vec<Block>,
    batches: Vec<Block>,
}

/// The position of a message in the file.
#[derive(Debug, Clone, Copy)]
struct Block {
    start: u64,
    metadata: u64,
    body: u64,
}

impl Block {
    /// Checks that the block is within a file of `bytes`.
    fn new(block: &arrow_ipc::Block, bytes: u64) -> Result<Self> {
        let number = |number: i64| u64::try_from(number).ok();
        let known = || {
            let found = Self {
                start: number(block.offset())?,
                metadata: number(block.metaDataLength().into())?,
                body: number(block.bodyLength())?,
            };
            let end = found.start.checked_add(found.metadata)?;
            (end.checked_add(found.body)? <= bytes && found.metadata <= MAX_METADATA_BYTES)
                .then_some(found)
        };
        known().ok_or_else(|| damaged("its footer names a record batch beyond its end"))
    }
}

/// A file.
pub(crate) struct File<R> {
    pub(crate) bytes: R,
    pub(crate) footer: Arc<Footer>,
}

impl<R: ChunkReader> File<R> {
    /// Reads the footer.
    pub(crate) fn open(bytes: R) -> Result<Self> {
        let footer = Arc::new(read_footer(&bytes)?);
        Ok(Self { bytes, footer })
    }

    /// The cumulative number of rows of the record batches.
    pub(crate) fn index(&self) -> Result<Vec<u64>> {
        let Footer {
            schema, version, ..
        } = &*self.footer;
        let all: Vec<_> = (0..schema.fields().len()).collect();
        let mut rows = 0u64;
        let ends = self.footer.batches.iter().map(|block| {
            let content = self.message(*block)?;
            let message = parse(&content)?;
            let batch = batch_of(&message)?;
            // A text takes at least a byte per row, of an offset or a dictionary's key.
            let most_rows = match batch.compression() {
                None => block.body,
                Some(_) => block.body.saturating_mul(MAX_COMPRESSION),
            };
            let length = batch.length() as u64;
            if length > most_rows {
                return Err(damaged("a record batch has more rows than its size allows"));
            }
            let nodes = batch.nodes().unwrap_or_default();
            let columns = columns_of(schema, &batch, *version, &all)?;
            if columns
                .iter()
                .any(|column| nodes.get(column.node).length() != batch.length())
            {
                return Err(damaged(
                    "a column has another number of rows than its record batch",
                ));
            }
            rows = rows
                .checked_add(length)
                .ok_or_else(|| damaged("its number of rows overflows"))?;
            Ok(rows)
        });
        ends.collect()
    }

    /// All dictionaries of a file with `schema`.
    pub(crate) fn dictionaries(&self, schema: &Schema) -> Result<Dictionaries> {
        let mut known = Dictionaries::new();
        let mut room = MAX_BATCH_BYTES;
        for block in &self.footer.dictionaries {
            let content = self.message(*block)?;
            let message = parse(&content)?;
            let dictionary = message
                .header_as_dictionary_batch()
                .ok_or_else(|| damaged("a dictionary block contains another message"))?;
            let batch = dictionary
                .data()
                .ok_or_else(|| damaged("a dictionary has no values"))?;
            check_nodes(&batch)?;
            let buffers = batch.buffers().map_or(0, |buffers| buffers.len());
            let body = self.body(*block, &batch, 0..buffers, &mut room)?;
            read_dictionary(&body, dictionary, schema, &mut known, &self.footer.version)?;
        }
        Ok(known)
    }

    /// Reads the columns `projection`, which must be sorted, of a record batch. `schema` is that of the file, possibly with bytes
    /// instead of strings.
    pub(crate) fn batch(
        &self,
        number: usize,
        schema: &SchemaRef,
        dictionaries: &Dictionaries,
        projection: &[usize],
    ) -> Result<RecordBatch> {
        let block = self.footer.batches[number];
        let content = self.message(block)?;
        let message = parse(&content)?;
        let batch = batch_of(&message)?;
        let version = self.footer.version;
        let columns = columns_of(schema, &batch, version, projection)?;
        let wanted = columns.into_iter().flat_map(|column| column.parts);
        let mut room = MAX_BATCH_BYTES;
        let body = self.body(block, &batch, wanted, &mut room)?;
        let schema = schema.clone();
        let projection = Some(projection);
        read_record_batch(&body, batch, schema, dictionaries, projection, &version)
    }

    /// All columns of all record batches.
    pub(crate) fn batches(self) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
        let schema = self.footer.schema.clone();
        let dictionaries = self.dictionaries(&schema)?;
        let projection: Vec<_> = (0..schema.fields().len()).collect();
        let batches = 0..self.footer.batches.len();
        Ok(batches.map(move |number| self.batch(number, &schema, &dictionaries, &projection)))
    }

    /// The metadata of a message, without its length prefix.
    fn message(&self, block: Block) -> Result<Vec<u8>> {
        let content = self.bytes.get_bytes(block.start, block.metadata as usize)?;
        let prefix = if content.starts_with(CONTINUATION) {
            8
        } else {
            4
        };
        // A copy is aligned, as the reader requires.
        content
            .get(prefix..)
            .map(<[u8]>::to_vec)
            .ok_or_else(|| damaged("a message is too short"))
    }

    /// The body of a message with only the buffers `wanted`; the rest is zero and takes no physical memory. `room` is the
    /// remaining limit for decompressed buffers.
    fn body(
        &self,
        block: Block,
        batch: &arrow_ipc::RecordBatch<'_>,
        wanted: impl Iterator<Item = usize>,
        room: &mut u64,
    ) -> Result<Buffer> {
        let buffers = batch
            .buffers()
            .ok_or_else(|| damaged("a record batch has no buffers"))?;
        let parts = wanted
            .map(|number| Part::new(buffers.get(number), block))
            .collect::<Result<Vec<_>>>()?;
        let start = block.start + block.metadata;
        let end = parts.iter().map(|part| part.start + part.length).max();
        let mut body = MutableBuffer::try_from_len_zeroed((end.unwrap_or(start) - start) as usize)
            .map_err(|e| ArrowError::MemoryError(e.to_string()))?;
        for part in parts {
            let mut take = |bytes| {
                *room = room.checked_sub(bytes).ok_or_else(|| {
                    damaged(format!(
                        "the columns to read of a record batch have more than {} MiB; use smaller record batches",
                        MAX_BATCH_BYTES >> 20
                    ))
                })?;
                Ok::<_, ArrowError>(())
            };
            take(part.length)?;
            let first = (part.start - start) as usize;
            let place = &mut body[first..first + part.length as usize];
            self.fill(place, part.start)?;
            if batch.compression().is_some()
                && let Some(length) = place.first_chunk()
            {
                // -1 marks an uncompressed buffer.
                take(u64::try_from(i64::from_le_bytes(*length)).unwrap_or(0))?;
            }
        }
        Ok(body.into())
    }
}

fn read_footer(bytes: &impl ChunkReader) -> Result<Footer> {
    /// The length of the footer, and the magic.
    const END: u64 = 10;
    let length = bytes.len();
    let start = bytes.get_bytes(0, length.min(MAGIC.len() as u64) as usize)?;
    if start.starts_with(CONTINUATION) {
        return Err(damaged(
            "it is an Arrow IPC stream; write it as an Arrow IPC file, which is also called Feather version 2",
        ));
    }
    if start.starts_with(FEATHER_1) {
        return Err(damaged("it is Feather version 1; write it in version 2"));
    }
    if !start.starts_with(MAGIC) {
        return Err(damaged("it does not start like an Arrow IPC file"));
    }
    let truncated = || damaged("it does not end like an Arrow IPC file; it is truncated");
    let body = length.checked_sub(END).ok_or_else(truncated)?;
    let end = bytes.get_bytes(body, END as usize)?;
    let Some((footer, MAGIC)) = end.split_first_chunk::<4>() else {
        return Err(truncated());
    };
    let footer = u64::from(u32::from_le_bytes(*footer));
    if footer > body || footer > MAX_METADATA_BYTES {
        return Err(damaged("its footer is longer than the file"));
    }
    // A copy is aligned, as the reader requires.
    let footer = bytes.get_bytes(body - footer, footer as usize)?.to_vec();
    let footer =
        root_as_footer(&footer).map_err(|e| damaged(format!("its footer is damaged: {e}")))?;
    let schema = footer
        .schema()
        .ok_or_else(|| damaged("its footer has no schema"))?;
    if !schema.endianness().equals_to_target_endianness() {
        return Err(damaged(
            "its numbers are big-endian; write them little-endian",
        ));
    }
    let blocks = |blocks: Option<Vec<&arrow_ipc::Block>>| {
        let blocks = blocks.unwrap_or_default().into_iter();
        blocks
            .map(|block| Block::new(block, length))
            .collect::<Result<Vec<_>>>()
    };
    Ok(Footer {
        schema: Arc::new(try_fb_to_schema(schema)?),
        version: footer.version(),
        dictionaries: blocks(footer.dictionaries().map(|blocks| blocks.iter().collect()))?,
        batches: blocks(footer.recordBatches().map(|blocks| blocks.iter().collect()))?,
    })
}

fn parse(content: &[u8]) -> Result<Message<'_>> {
    root_as_message(content).map_err(|e| damaged(format!("a message is damaged: {e}")))
}

/// The record batch of a message, with checked lengths.
fn batch_of<'a>(message: &Message<'a>) -> Result<arrow_ipc::RecordBatch<'a>> {
    let batch = message
        .header_as_record_batch()
        .ok_or_else(|| damaged("a record batch block contains another message"))?;
    check_nodes(&batch)?;
    Ok(batch)
}

/// Checks the lengths, which the library multiplies unchecked.
fn check_nodes(batch: &arrow_ipc::RecordBatch<'_>) -> Result<()> {
    let is_sound = |length: i64, nulls: i64| {
        (0..=MAX_VALUES).contains(&length) && (0..=length).contains(&nulls)
    };
    let mut nodes = batch.nodes().into_iter().flatten();
    if is_sound(batch.length(), 0) && nodes.all(|node| is_sound(node.length(), node.null_count())) {
        Ok(())
    } else {
        Err(damaged("a record batch has an impossible number of values"))
    }
}

/// The nodes and buffers of a column in a record batch.
struct Column {
    /// Its index in the schema.
    index: usize,
    /// Its own node.
    node: usize,
    /// Its buffers, including those of its children.
    parts: Range<usize>,
}

/// The columns `projection`, which must be sorted.
fn columns_of(
    schema: &Schema,
    batch: &arrow_ipc::RecordBatch<'_>,
    version: MetadataVersion,
    projection: &[usize],
) -> Result<Vec<Column>> {
    let mut variadic = batch.variadicBufferCounts().into_iter().flatten();
    let nodes = batch.nodes().map_or(0, |nodes| nodes.len());
    let buffers = batch.buffers().map_or(0, |buffers| buffers.len());
    let (mut wanted, mut node, mut first) = (Vec::new(), 0, 0);
    for (index, field) in schema.fields().iter().enumerate() {
        let (own_nodes, own_buffers) = shape(field.data_type(), version, &mut variadic)
            .filter(|(own_nodes, own_buffers)| {
                *own_nodes <= nodes - node && *own_buffers <= buffers - first
            })
            .ok_or_else(|| damaged("a record batch has fewer columns than its file"))?;
        let parts = first..first + own_buffers;
        if projection.binary_search(&index).is_ok() {
            wanted.push(Column { index, node, parts });
        }
        node += own_nodes;
        first += own_buffers;
    }
    Ok(wanted)
}

/// The number of nodes and buffers of a column. `variadic` has the numbers of data buffers of view columns.
fn shape(
    data_type: &DataType,
    version: MetadataVersion,
    variadic: &mut impl Iterator<Item = i64>,
) -> Option<(usize, usize)> {
    use DataType as T;
    let (buffers, children) = match data_type {
        T::Null => (0, Fields::empty()),
        T::Utf8 | T::LargeUtf8 | T::Binary | T::LargeBinary => (3, Fields::empty()),
        T::Utf8View | T::BinaryView => {
            let more = usize::try_from(variadic.next()?).ok()?;
            (more.checked_add(2)?, Fields::empty())
        }
        T::List(item) | T::LargeList(item) | T::Map(item, _) => (2, [item.clone()].into()),
        T::ListView(item) | T::LargeListView(item) => (3, [item.clone()].into()),
        T::FixedSizeList(item, _) => (1, [item.clone()].into()),
        T::Struct(fields) => (1, fields.clone()),
        T::RunEndEncoded(ends, values) => (0, [ends.clone(), values.clone()].into()),
        T::Union(fields, mode) => {
            let validity = usize::from(version < MetadataVersion::V5);
            let offsets = usize::from(*mode == UnionMode::Dense);
            let fields = fields.iter().map(|(_, field)| field.clone());
            (1 + validity + offsets, fields.collect())
        }
        _ => (2, Fields::empty()),
    };
    children
        .iter()
        .try_fold((1, buffers), |(nodes, buffers), child| {
            let (more_nodes, more_buffers) = shape(child.data_type(), version, variadic)?;
            Some((nodes + more_nodes, buffers.checked_add(more_buffers)?))
        })
}
