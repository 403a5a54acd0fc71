//! Runs candle's DistilBERT classifier in f32, one sequence at a time. `RAYON_NUM_THREADS` sets the
//! number of threads.

use std::path::Path;

use candle_core::{DType, Device, IndexOp, Module, Tensor};
use candle_nn::{VarBuilder, linear};
use candle_transformers::models::distilbert::{Config, DistilBertModel};
use timing::{Request, Result};

fn main() -> Result<()> {
    let request = Request::from_arguments()?;
    let folder = Path::new(&request.model);
    let config = std::fs::read_to_string(folder.join("config.json"))?;
    let settings: serde_json::Value = serde_json::from_str(&config)?;
    let labels = settings["id2label"].as_object().map_or(2, |l| l.len());
    let config: Config = serde_json::from_str(&config)?;

    let weights = [folder.join("model.safetensors")];
    // SAFETY: The file is not changed while this process runs.
    let weights =
        unsafe { VarBuilder::from_mmaped_safetensors(&weights, DType::F32, &Device::Cpu)? };
    let hidden = config.dim;
    let before = linear(hidden, hidden, weights.pp("pre_classifier"))?;
    let classifier = linear(hidden, labels, weights.pp("classifier"))?;
    let encoder = DistilBertModel::load(weights, &config)?;

    request.answer(|sequence| {
        let ids = Tensor::new(sequence, &Device::Cpu)?.unsqueeze(0)?;
        let masked = Tensor::zeros((1, 1, 1, sequence.len()), DType::U8, &Device::Cpu)?;
        let states = encoder.forward(&ids, &masked)?; // [1, tokens, hidden]
        let first = states.i((.., 0))?.contiguous()?;
        let logits = classifier.forward(&before.forward(&first)?.relu()?)?;
        Ok(logits.i(0)?.to_vec1()?)
    })
}
