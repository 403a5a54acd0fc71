//! Times the matrix products of shoal-kernels, rten-gemm and gemm on the linear layers of
//! DistilBERT-base, on one thread. Prints a JSON line per measurement: the median of several calls,
//! in GFLOP/s. shoal-kernels and rten-gemm get prepacked weights; gemm is timed with both memory
//! layouts of the weights.

use std::time::Instant;

use gemm::Parallelism;
use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_tensor::NdTensorView;
use shoal_kernels::{Isa, Linear, LinearScratch, Precision, Rows, RowsMut};

/// Median number of tokens of the sequences of benches/peers.
const ROWS: usize = 234;
const LAYERS: [(usize, usize); 4] = [(768, 768), (768, 1536), (768, 3072), (3072, 768)];
const CALLS: usize = 15;

fn main() {
    // rten-gemm uses rayon's threads.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    pool.install(measure);
}

fn measure() {
    for (inputs, outputs) in LAYERS {
        let x = values(ROWS * inputs);
        let weight = values(inputs * outputs); // [outputs, inputs]
        let zeros = vec![0.0; outputs];
        let mut y = vec![0.0f32; ROWS * outputs];
        let mut transposed = vec![0.0; inputs * outputs]; // [inputs, outputs]
        for o in 0..outputs {
            for i in 0..inputs {
                transposed[i * outputs + o] = weight[o * inputs + i];
            }
        }
        let report = |product: &str, seconds: f64| {
            let rate = (2 * ROWS * inputs * outputs) as f64 / seconds / 1e9;
            let line = serde_json::json!({
                "product": product, "inputs": inputs, "outputs": outputs, "rows": ROWS,
                "gflops": (rate * 10.0).round() / 10.0,
            });
            println!("{line}");
        };

        let isa = Isa::best();
        let linear = Linear::pack(isa, Precision::F32, &weight, &zeros, inputs);
        let mut scratch = LinearScratch::default();
        let seconds = median(|| {
            linear.forward(
                ROWS,
                Rows::new(&x, inputs),
                RowsMut::new(&mut y, outputs),
                &mut scratch,
            );
        });
        report(&format!("shoal-kernels {}", isa.name()), seconds);
        let expected = y.clone();

        let executor = GemmExecutor::<f32>::new();
        let b = NdTensorView::from_data([inputs, outputs], transposed.as_slice());
        let packed = executor.prepack_b(b);
        let a = NdTensorView::from_data([ROWS, inputs], x.as_slice());
        let seconds = median(|| {
            executor
                .gemm(
                    &mut y,
                    GemmInputA::Unpacked(a),
                    GemmInputB::Packed(&packed),
                    GemmOptions::default(),
                )
                .unwrap();
        });
        report(&format!("rten-gemm {}", executor.kernel_name()), seconds);
        check(&y, &expected);

        for (name, weight, by_output, by_input) in [
            ("gemm, weights as they are", &weight, inputs, 1),
            ("gemm, weights transposed", &transposed, 1, outputs),
        ] {
            let seconds = median(|| {
                // SAFETY: The strides describe y (outputs × rows), the weights (outputs × inputs)
                // and x (inputs × rows), each within its slice.
                unsafe {
                    gemm::gemm(
                        outputs,
                        ROWS,
                        inputs,
                        y.as_mut_ptr(),
                        outputs as isize,
                        1,
                        false,
                        weight.as_ptr(),
                        by_input as isize,
                        by_output as isize,
                        x.as_ptr(),
                        inputs as isize,
                        1,
                        0.0,
                        1.0,
                        false,
                        false,
                        false,
                        Parallelism::None,
                    );
                }
            });
            report(name, seconds);
            check(&y, &expected);
        }
    }
}

fn values(len: usize) -> Vec<f32> {
    (0..len as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5)
        .collect()
}

fn median(mut run: impl FnMut()) -> f64 {
    run();
    let mut seconds: Vec<f64> = (0..CALLS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[CALLS / 2]
}

fn check(found: &[f32], expected: &[f32]) {
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() < 1e-3,
            "{found}, expected {expected}"
        );
    }
}
