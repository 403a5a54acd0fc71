//! Measures every kernel in both precisions, on one thread and on every instruction set that this
//! CPU supports, and prints the best of several repetitions. Rates are billions of operations per
//! second for linear layers and attention (a multiply-add counts as two) and billions of elements
//! per second for the other kernels. For linear layers and attention it also prints the peak rate
//! of the matching [`Sequence`], measured between the repetitions, and the share that they reach.
//!
//! Arguments select instruction sets by name.

use std::time::{Duration, Instant};

use shoal_kernels::peak::Sequence;
use shoal_kernels::{
    Activation, AttentionInput, AttentionScratch, Heads, Isa, LayerNorm, Linear, LinearScratch,
    Precision, Rows, RowsMut, View, activate, attention, layer_norm,
};

const HIDDEN: usize = 768;
const WIDE: usize = 3072;

/// Minimum number of repetitions of each kernel.
const REPETITIONS: usize = 5;
/// Minimum duration of the repetitions of each kernel.
const TIME: Duration = Duration::from_millis(150);

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let mut sets = Isa::available();
    if !names.is_empty() {
        for name in &names {
            if Isa::named(name).is_none() {
                eprintln!("`{name}` is not supported by this CPU; choose from {sets:?}");
                std::process::exit(2);
            }
        }
        sets.retain(|isa| names.iter().any(|name| name == isa.name()));
    }
    println!("isa          kernel                              ms      G/s     peak  share");
    for isa in sets {
        for precision in [Precision::F32, Precision::Int8] {
            linear_layers(isa, precision);
            for tokens in [64, 128, 256, 512] {
                attention_of(isa, precision, tokens);
            }
        }
        elementwise(isa);
    }
}

fn linear_layers(isa: Isa, precision: Precision) {
    let peak = Sequence::of(isa, precision);
    let shapes = [
        (HIDDEN, HIDDEN),
        (HIDDEN, 3 * HIDDEN),
        (HIDDEN, WIDE),
        (WIDE, HIDDEN),
    ];
    for (inputs, outputs) in shapes {
        let (weight, bias) = (values(inputs * outputs), values(outputs));
        let layer = Linear::pack(isa, precision, &weight, &bias, inputs);
        let mut scratch = LinearScratch::default();
        for rows in [64, 256] {
            let (x, mut y) = (values(rows * inputs), vec![0.0; rows * outputs]);
            let mut quantizing = Duration::MAX;
            let best = best(peak, || {
                let (x, y) = (Rows::new(&x, inputs), RowsMut::new(&mut y, outputs));
                layer.forward(rows, x, y, &mut scratch);
                quantizing = quantizing.min(scratch.take_quantization_time());
            });
            let what = format!("{precision:?} linear {inputs}x{outputs}, {rows} rows");
            best.report(isa, &what, 2 * rows * inputs * outputs);
            if precision == Precision::Int8 {
                let what = "     quantization of the input";
                let quantizing = Best {
                    time: quantizing,
                    peak: None,
                };
                quantizing.report(isa, what, rows * inputs);
            }
        }
    }
}

fn attention_of(isa: Isa, precision: Precision, tokens: usize) {
    let qkv = values(tokens * 3 * HIDDEN);
    let rows = |part: usize| Rows::new(&qkv[part * HIDDEN..], 3 * HIDDEN);
    let input = AttentionInput {
        heads: Heads { count: 12, dim: 64 },
        scale: 0.125,
        q: rows(0),
        queries: tokens,
        k: rows(1),
        v: rows(2),
        keys: tokens,
    };
    let mut out = vec![0.0; tokens * HIDDEN];
    let mut scratch = AttentionScratch::default();
    // On these instruction sets, `int8` attention is computed in `f32`.
    let computed_in = match isa.name() {
        "avx512" | "avx2" => Precision::F32,
        _ => precision,
    };
    let best = best(Sequence::of(isa, computed_in), || {
        let out = RowsMut::new(&mut out, HIDDEN);
        attention(isa, precision, input, out, &mut scratch);
    });
    let what = format!("{precision:?} attention, {tokens} tokens");
    best.report(isa, &what, 4 * tokens * tokens * HIDDEN);
}

fn elementwise(isa: Isa) {
    const ROWS: usize = 64;
    for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
        let mut x = values(ROWS * WIDE);
        let best = best(None, || activate(isa, activation, &mut x));
        best.report(isa, &format!("{activation:?}"), x.len());
    }
    let parameters = || View::from_slice(&values(HIDDEN));
    let norm = LayerNorm::new(parameters(), parameters(), 1e-12);
    let (mut x, residual) = (values(ROWS * HIDDEN), values(ROWS * HIDDEN));
    let best_norm = best(None, || layer_norm(isa, &norm, &mut x, Some(&residual)));
    best_norm.report(isa, "layer norm with residual", x.len());
}

/// The best of several repetitions.
struct Best {
    time: Duration,
    /// Best rate of the matching sequence, in billions of operations per second.
    peak: Option<f64>,
}

fn best(peak: Option<Sequence>, mut run: impl FnMut()) -> Best {
    let mut best = Best {
        time: Duration::MAX,
        peak: None,
    };
    let begin = Instant::now();
    let mut repetitions = 0;
    while repetitions < REPETITIONS || begin.elapsed() < TIME {
        let start = Instant::now();
        run();
        best.time = best.time.min(start.elapsed());
        if let Some(peak) = peak {
            let (operations, time) = peak.measure();
            let rate = operations / time.as_secs_f64() / 1e9;
            best.peak = Some(best.peak.map_or(rate, |best| best.max(rate)));
        }
        repetitions += 1;
    }
    best
}

impl Best {
    fn report(&self, isa: Isa, what: &str, operations: usize) {
        let seconds = self.time.as_secs_f64();
        let rate = operations as f64 / seconds / 1e9;
        let share = match self.peak {
            Some(peak) => format!("{peak:8.1} {:5.0}%", 100.0 * rate / peak),
            None => String::new(),
        };
        let row = format!(
            "{:12} {what:30} {:8.3} {rate:8.2} {share}",
            isa.name(),
            seconds * 1e3
        );
        println!("{}", row.trim_end());
    }
}

fn values(len: usize) -> Vec<f32> {
    (0..len as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0)
        .collect()
}
