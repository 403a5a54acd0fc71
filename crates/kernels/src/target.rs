//! Precisions, and the properties of instruction sets that determine how weights are packed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Arithmetic of linear layers and attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point throughout.
    F32,
    /// 8-bit products with exact 32-bit sums. Weights are quantized per output, activations per row
    /// (token); see [`attention`](crate::attention()) for its operands. Everything else is `f32`.
    Int8,
}

impl Precision {
    /// Both precisions.
    pub const ALL: [Precision; 2] = [Precision::F32, Precision::Int8];

    /// `f32` or `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Int8 => "int8",
        }
    }

    /// The precision with this name, if there is one.
    pub fn named(name: &str) -> Option<Precision> {
        Precision::ALL.into_iter().find(|p| p.name() == name)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An instruction set that shoal has kernels for, whether or not this CPU supports it. Weights can
/// be packed for a target on any machine; running them needs an [`Isa`](crate::Isa), the proof that
/// this CPU supports the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// AVX-512 F, BW and VNNI.
    Avx512Vnni,
    /// AVX-512 F and BW.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// The baseline that every CPU supports.
    Portable,
}

/// The register tile of a matrix product: the rows of the left-hand matrix and the columns of the
/// packed right-hand matrix that are multiplied together. It also determines the shape of the
/// packed panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileShape {
    /// Rows of the tile.
    pub rows: usize,
    /// Columns of the tile, in elements: the width of a packed panel.
    pub columns: usize,
    /// Columns of one SIMD register of sums. Packed panels are padded to a multiple of this.
    pub lanes: usize,
    /// Depth of one step: 1 in `f32`, 4 or 8 for bytes.
    pub step: usize,
}

/// The ranges of quantized numbers: `0..=activation` and `-weight..=weight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteRange {
    pub(crate) activation: u8,
    pub(crate) weight: i8,
}

impl Target {
    /// Every target, fastest first.
    pub const ALL: [Target; 4] = [
        Target::Avx512Vnni,
        Target::Avx512,
        Target::Avx2,
        Target::Portable,
    ];

    /// The name used in settings, files and reports: `avx512-vnni`, `avx512`, `avx2` or `portable`.
    pub fn name(self) -> &'static str {
        match self {
            Target::Avx512Vnni => "avx512-vnni",
            Target::Avx512 => "avx512",
            Target::Avx2 => "avx2",
            Target::Portable => "portable",
        }
    }

    /// The target with this name, if there is one.
    pub fn named(name: &str) -> Option<Target> {
        Target::ALL.into_iter().find(|target| target.name() == name)
    }

    /// Identifies the order and range of packed weights. Targets with the same layout share packed
    /// weights.
    pub fn layout(self, precision: Precision) -> String {
        match precision {
            Precision::F32 => format!("f32x{}", self.tile().columns),
            Precision::Int8 => {
                let ByteRange { activation, weight } = self.byte_range();
                let TileShape {
                    columns,
                    lanes,
                    step,
                    ..
                } = self.byte_tile();
                format!("u{activation}i{weight}x{columns}l{lanes}s{step}")
            }
        }
    }

    /// The register tile of the matrix product in `f32`.
    pub fn tile(self) -> TileShape {
        let (rows, vectors, lanes) = match self {
            Target::Avx512Vnni | Target::Avx512 => (8, 3, 16),
            Target::Avx2 => (6, 2, 8),
            Target::Portable => (6, 2, 4),
        };
        TileShape {
            rows,
            columns: vectors * lanes,
            lanes,
            step: 1,
        }
    }

    /// The register tile of the byte product, and the layout of its packed panels. The numbers are
    /// repeated here because kernels are compiled only for their architecture; there they are
    /// checked against the kernels at compile time.
    pub(crate) const fn byte_tile(self) -> TileShape {
        let (rows, vectors, lanes, step) = match self {
            Target::Avx512Vnni => (8, 3, 16, 4),
            Target::Avx512 => (8, 2, 16, 8),
            Target::Avx2 => (4, 2, 8, 8),
            Target::Portable => (4, 2, 4, 4),
        };
        TileShape {
            rows,
            columns: vectors * lanes,
            lanes,
            step,
        }
    }

    /// The ranges of bytes whose products the instructions add exactly. `vpmaddubsw` adds two
    /// products in 16 bits, and the kernels add two such sums before they widen them: 4 · 127 · 63
    /// = 32,004 fits.
    pub(crate) fn byte_range(self) -> ByteRange {
        match self {
            Target::Avx512 | Target::Avx2 => ByteRange {
                activation: 127,
                weight: 63,
            },
            Target::Avx512Vnni | Target::Portable => ByteRange {
                activation: 255,
                weight: 127,
            },
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PackedWeights;

    #[test]
    fn every_target_is_found_by_its_name() {
        for target in Target::ALL {
            assert_eq!(Target::named(target.name()), Some(target));
            assert_eq!(target.to_string(), target.name());
        }
        for name in ["", "AVX2", "avx", "sse2", "neon", "portable "] {
            assert!(Target::named(name).is_none(), "{name}");
        }
    }

    /// All parts of packed weights, concatenated.
    fn packed(target: Target, precision: Precision) -> Vec<u8> {
        let (outputs, inputs) = (101, 37);
        let weight: Vec<f32> = (0..outputs * inputs)
            .map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0)
            .collect();
        match PackedWeights::pack(target, precision, &weight, outputs, inputs) {
            PackedWeights::F32 { panels } => panels.bytes().to_vec(),
            PackedWeights::Int8 {
                panels,
                scales,
                sums,
                ..
            } => [&**panels.bytes(), scales.bytes(), sums.bytes()].concat(),
        }
    }

    #[test]
    fn equal_layouts_pack_to_equal_bytes() {
        for precision in Precision::ALL {
            for one in Target::ALL {
                for other in Target::ALL {
                    let same = one.layout(precision) == other.layout(precision);
                    assert_eq!(
                        packed(one, precision) == packed(other, precision),
                        same,
                        "{one} and {other}: {} and {}",
                        one.layout(precision),
                        other.layout(precision)
                    );
                }
            }
        }
    }

    /// Compares with fixed hashes, because every machine must pack to the same bytes. If the layout
    /// changes intentionally, increment `PACKING` in the encoder.
    #[test]
    fn every_machine_packs_the_same_bytes() {
        // FNV-1a.
        let digest = |bytes: &[u8]| {
            bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            })
        };
        let found = Precision::ALL
            .map(|precision| Target::ALL.map(|target| digest(&packed(target, precision))));
        assert_eq!(
            found,
            [
                [
                    0x8ef2_d239_d277_7af2,
                    0x8ef2_d239_d277_7af2,
                    0x2001_45dd_2b9b_d91a,
                    0xb774_0903_06b2_506e,
                ],
                [
                    0x882b_36c4_a495_ee04,
                    0x26df_0474_180c_6fd0,
                    0xaa36_bf85_8970_c4fc,
                    0x8b26_8a33_458b_b33c,
                ],
            ],
            "{found:#x?}"
        );
    }
}
