//! Runs an ONNX file in f32 or int8 with rten, one sequence at a time, with prepacked weights.
//! `RTEN_NUM_THREADS` sets the number of threads.

use rten::ModelOptions;
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;
use timing::{Request, Result};

fn main() -> Result<()> {
    let request = Request::from_arguments()?;
    let mut options = ModelOptions::with_all_ops();
    options.prepack_weights(true);
    let model = options.load_file(&request.model)?;
    let ids_input = model.node_id("input_ids")?;
    let mask_input = model.node_id("attention_mask")?;
    let output = model.node_id("logits")?;
    request.answer(|sequence| {
        let shape = [1, sequence.len()];
        let ids: Vec<i32> = sequence.iter().map(|&id| id as i32).collect();
        let ids = NdTensor::from_data(shape, ids);
        let mask = NdTensor::<i32, 2>::full(shape, 1);
        let inputs = vec![
            (ids_input, ids.view().into()),
            (mask_input, mask.view().into()),
        ];
        let [logits] = model.run_n(inputs, [output], None)?;
        let logits: NdTensor<f32, 2> = logits.try_into()?;
        Ok(logits.to_vec())
    })
}
