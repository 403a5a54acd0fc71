//! Tensors of safetensors files, single or sharded, read from the mapped files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use shoal_kernels::{AlignedBytes, Bytes};

use crate::error::ModelError;
use crate::files::{LFS_POINTER, is_within, lfs_pointer, map, read};
use crate::folder_hint;
use crate::table::Elements;

pub(crate) use crate::files::SINGLE;

/// The list of the shards of a sharded one.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// Tensors by name.
#[derive(Clone, Default)]
pub(crate) struct Weights {
    tensors: HashMap<String, Tensor>,
}

/// A tensor as it is in its file, at any alignment.
#[derive(Clone)]
pub(crate) struct Tensor {
    file: String,
    name: String,
    bytes: Bytes,
    dtype: Dtype,
    shape: Vec<usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Weights {
    /// Maps the weight files of `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Weights, ModelError> {
        let mut weights = Weights::default();
        for (name, path) in files(folder)? {
            if name != INDEX {
                weights.add(&name, &map(&path)?.into(), "")?;
            }
        }
        Ok(weights)
    }

    /// Adds the tensors of a safetensors file, their names with `prefix`. Messages call the file `file`.
    pub(crate) fn add(
        &mut self,
        file: &str,
        bytes: &Bytes,
        prefix: &str,
    ) -> Result<(), ModelError> {
        if bytes.starts_with(LFS_POINTER) {
            return Err(lfs_pointer(file));
        }
        let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| {
            let reason =
                format!("it is not a safetensors file, or was cut short or damaged: {error}");
            ModelError::corrupt(file, reason)
        })?;
        // The length of the header precedes it, in eight bytes.
        let start = 8 + header;
        for (name, info) in metadata.tensors() {
            let (from, to) = info.data_offsets;
            let range = start + from..start + to;
            if bytes.get(range.clone()).is_none() {
                let reason = format!("the tensor {name:?} ends beyond the file");
                return Err(ModelError::corrupt(file, reason));
            }
            let tensor = Tensor {
                file: file.to_owned(),
                name: name.clone(),
                bytes: bytes.slice(range),
                dtype: info.dtype,
                shape: info.shape.clone(),
            };
            self.tensors.insert(format!("{prefix}{name}"), tensor);
        }
        Ok(())
    }

    /// Adds a vector of zeros.
    pub(crate) fn add_zeros(&mut self, name: &str, len: usize) {
        let tensor = Tensor {
            file: String::new(),
            name: name.to_owned(),
            bytes: AlignedBytes::zeroed(len * size_of::<f32>()).into(),
            dtype: Dtype::F32,
            shape: vec![len],
        };
        self.tensors.insert(name.to_owned(), tensor);
    }

    /// Adds all tensors of `other`.
    pub(crate) fn extend(&mut self, other: Weights) {
        self.tensors.extend(other.tensors);
    }

    /// Whether there is a tensor with this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensor under the first of `names` that exists. It must have this shape and a
    /// floating-point type.
    pub(crate) fn tensor(&self, names: &[String], shape: &[usize]) -> Result<&Tensor, ModelError> {
        let tensor = names
            .iter()
            .find_map(|name| self.tensors.get(name))
            .ok_or_else(|| {
                let names: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
                let reason = format!("the tensor {} is missing", names.join(" or "));
                ModelError::corrupt("the weights", reason)
            })?;
        if tensor.shape != shape {
            let reason = format!(
                "the tensor {:?} has the shape {:?}, but the configuration asks for {shape:?}",
                tensor.name, tensor.shape
            );
            return Err(ModelError::corrupt(&tensor.file, reason));
        }
        if !matches!(tensor.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(ModelError::unsupported(format!(
                "the tensor {:?} in {} has the type {:?}; supported are F32, F16 and BF16",
                tensor.name, tensor.file, tensor.dtype
            )));
        }
        Ok(tensor)
    }
}

impl Tensor {
    /// Its name in the file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The elements as they are in the file.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The element type in the file.
    pub(crate) fn elements(&self) -> Elements {
        match self.dtype {
            Dtype::F16 => Elements::F16,
            Dtype::BF16 => Elements::Bf16,
            _ => Elements::F32,
        }
    }

    /// All elements as `f32`.
    pub(crate) fn to_f32(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.shape.iter().product()];
        convert(self.dtype, &self.bytes, &mut values);
        values
    }

    /// Copies one row of a matrix as `f32` into `out`, whose length is the width.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        let width = out.len() * size_of_element(self.dtype);
        convert(self.dtype, &self.bytes[row * width..][..width], out);
    }
}

fn size_of_element(dtype: Dtype) -> usize {
    match dtype {
        Dtype::F32 => 4,
        _ => 2,
    }
}

fn convert(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    fn each<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
        for (out, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
            *out = value(*bytes);
        }
    }
    match dtype {
        Dtype::F32 => each(bytes, out, f32::from_le_bytes),
        Dtype::F16 => each(bytes, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => each(bytes, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        other => unreachable!("{other:?} is refused when the tensor is looked up"),
    }
}

/// The weight files of a folder as (name, path), the index of a sharded model first.
pub(crate) fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, ModelError> {
    let single = folder.join(SINGLE);
    if single.is_file() {
        return Ok(vec![(SINGLE.to_owned(), single)]);
    }
    let index = folder.join(INDEX);
    if index.is_file() {
        let parsed: Index = serde_json::from_slice(&read(&index)?)
            .map_err(|error| ModelError::corrupt(INDEX, error.to_string()))?;
        let mut shards: Vec<String> = parsed.weight_map.into_values().collect();
        shards.sort();
        shards.dedup();
        let mut files = vec![(INDEX.to_owned(), index)];
        for shard in shards {
            if shard.is_empty() || shard.contains('/') || !is_within(&shard) {
                let reason = format!("the shard {shard:?} is not a file name in the same folder");
                return Err(ModelError::corrupt(INDEX, reason));
            }
            let path = folder.join(&shard);
            if !path.is_file() {
                let reason = format!("the shard {shard:?} that {INDEX} names is missing");
                return Err(ModelError::NotAModel {
                    path: folder.to_owned(),
                    reason,
                });
            }
            files.push((shard, path));
        }
        return Ok(files);
    }
    let reason = folder_hint::explain(folder, &format!("neither {SINGLE} nor {INDEX}"));
    Err(ModelError::NotAModel {
        path: folder.to_owned(),
        reason,
    })
}
