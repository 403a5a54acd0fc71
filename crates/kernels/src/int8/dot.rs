//! The operations of an instruction set for the byte product.

/// Dot products of bytes on one instruction set.
///
/// # Safety
/// The functions may only be called on a CPU that supports the instruction set, inlined into a
/// function that is compiled for it. Pointers must be readable or writable for the sizes given at
/// each function; they need no alignment. Every bit pattern must be valid for the types.
pub(crate) unsafe trait Dot {
    /// One register of [`Dot::LANES`] sums.
    type Sums: Copy;
    /// One step of the columns of one register: `LANES × STEP` bytes.
    type Operand: Copy;
    /// One `f32` for each column of a register.
    type Floats: Copy;
    /// Columns of one register.
    const LANES: usize;
    /// Depth of one step.
    const STEP: usize;

    /// Returns `−zero · sums[c]` for the columns of the register; reads `LANES` integers.
    unsafe fn start(zero: i32, sums: *const i32) -> Self::Sums;
    /// Loads one step of the packed columns; reads `LANES × STEP` bytes. The default converts
    /// nothing.
    #[inline(always)]
    unsafe fn load(panel: *const i8) -> Self::Operand {
        const { assert!(size_of::<Self::Operand>() == Self::LANES * Self::STEP) };
        // SAFETY: the caller guarantees `LANES × STEP` bytes, the size of the operand.
        unsafe { panel.cast::<Self::Operand>().read_unaligned() }
    }
    /// Loads one step of a row and repeats it for every column; reads `STEP` bytes.
    unsafe fn broadcast(row: *const u8) -> Self::Operand;
    /// Returns `sum + row · columns` for one step.
    unsafe fn dot(sum: Self::Sums, row: Self::Operand, columns: Self::Operand) -> Self::Sums;
    /// Loads `LANES` floats.
    #[inline(always)]
    unsafe fn floats(from: *const f32) -> Self::Floats {
        const { assert!(size_of::<Self::Floats>() == 4 * Self::LANES) };
        // SAFETY: the caller guarantees `LANES` floats, the size of the result.
        unsafe { from.cast::<Self::Floats>().read_unaligned() }
    }
    /// Writes `sum · row_scale · scales[c] + bias[c]` for the columns of the register: `LANES`
    /// results.
    unsafe fn finish(
        sum: Self::Sums,
        row_scale: f32,
        scales: Self::Floats,
        bias: Self::Floats,
        y: *mut f32,
    );
}

/// Plain integer arithmetic, for CPUs without a dedicated kernel.
#[cfg(any(test, not(target_arch = "x86_64")))]
pub(crate) struct Portable;

// SAFETY: the functions need no instruction set beyond the baseline, and access memory only within
// the sizes given by the trait.
#[cfg(any(test, not(target_arch = "x86_64")))]
unsafe impl Dot for Portable {
    type Sums = [i32; 4];
    type Operand = [i8; 16];
    type Floats = [f32; 4];
    const LANES: usize = 4;
    const STEP: usize = 4;

    #[inline(always)]
    unsafe fn start(zero: i32, sums: *const i32) -> [i32; 4] {
        // SAFETY: the caller guarantees four integers.
        let sums = unsafe { sums.cast::<[i32; 4]>().read_unaligned() };
        sums.map(|sum| sum.wrapping_mul(zero).wrapping_neg())
    }

    #[inline(always)]
    unsafe fn broadcast(row: *const u8) -> [i8; 16] {
        // SAFETY: the caller guarantees 4 bytes.
        let four = unsafe { row.cast::<[u8; 4]>().read_unaligned() };
        std::array::from_fn(|i| four[i % 4] as i8)
    }

    #[inline(always)]
    unsafe fn dot(sum: [i32; 4], row: [i8; 16], columns: [i8; 16]) -> [i32; 4] {
        std::array::from_fn(|lane| {
            (0..4).fold(sum[lane], |sum, i| {
                let (a, b) = (row[4 * lane + i] as u8, columns[4 * lane + i]);
                sum.wrapping_add(i32::from(a) * i32::from(b))
            })
        })
    }

    #[inline(always)]
    unsafe fn finish(sum: [i32; 4], row_scale: f32, scales: [f32; 4], bias: [f32; 4], y: *mut f32) {
        let result: [f32; 4] =
            std::array::from_fn(|c| sum[c] as f32 * row_scale * scales[c] + bias[c]);
        // SAFETY: the caller guarantees four elements.
        unsafe { y.cast::<[f32; 4]>().write_unaligned(result) }
    }
}
