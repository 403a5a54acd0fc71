//! The rate of every kernel on every instruction set of this CPU, one thread: best of several
//! repetitions, in billions of floating-point operations (products) or elements (the rest) a
//! second.

use std::time::Instant;

use shoal_kernels::{
    Activation, AttentionScratch, Heads, Isa, LayerNorm, PackedLinear, activate, attention,
    layer_norm, softmax,
};

fn main() {
    const ROWS: usize = 234;
    let values = |len: usize| -> Vec<f32> {
        (0..len as u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5)
            .collect()
    };
    for isa in Isa::available() {
        for (inputs, outputs) in [(768, 768), (768, 1536), (768, 3072), (3072, 768)] {
            let bias = values(outputs);
            let linear = PackedLinear::new(
                isa,
                &values(inputs * outputs),
                &bias,
                inputs,
                Activation::Identity,
            );
            let (x, mut y) = (values(ROWS * inputs), vec![0.0; ROWS * outputs]);
            let seconds = best(|| linear.forward(&x, &mut y));
            report(
                isa,
                &format!("linear {inputs}x{outputs}"),
                2 * ROWS * inputs * outputs,
                seconds,
            );
        }
        let heads = Heads { count: 12, dim: 64 };
        let (q, kv) = (values(ROWS * 768), values(ROWS * 1536));
        let mut out = vec![0.0; ROWS * 768];
        let mut scratch = AttentionScratch::default();
        let seconds = best(|| attention(isa, heads, &q, &kv, &mut out, &mut scratch));
        report(isa, "attention", 4 * ROWS * ROWS * 768, seconds);
        for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
            let mut x = values(ROWS * 3072);
            let seconds = best(|| activate(isa, activation, &mut x));
            report(isa, &format!("{activation:?}"), x.len(), seconds);
        }
        let mut x = values(ROWS * ROWS);
        let seconds = best(|| softmax(isa, &mut x, ROWS));
        report(isa, "softmax", x.len(), seconds);
        let norm = LayerNorm::new(values(768), values(768), 1e-12);
        let (mut x, residual) = (values(ROWS * 768), values(ROWS * 768));
        let seconds = best(|| layer_norm(isa, &norm, &mut x, Some(&residual)));
        report(isa, "layer_norm", x.len(), seconds);
    }
}

fn best(mut run: impl FnMut()) -> f64 {
    (0..8)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

fn report(isa: Isa, what: &str, count: usize, seconds: f64) {
    let rate = count as f64 / seconds / 1e9;
    println!(
        "{:9} {what:18} {rate:8.2} G/s {:8.3} ms",
        isa.name(),
        seconds * 1e3
    );
}
