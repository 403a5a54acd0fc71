//! A worker's pass through the model, on scratch memory that it keeps.

use std::sync::Arc;

use shoal_kernels::{AttentionScratch, attention, layer_norm};

use crate::model::{Layer, Model};
use crate::tokenizer::Tokens;

/// Tokens in a micro-batch at which the engine is fastest: enough that reading the weights is
/// paid for by many rows, few enough that the activations stay near the core.
///
/// Measured on a Zen 4 core with 1 MB of second-level cache, for 6 layers of 384 and of 768 and
/// texts of 35 and of 250 tokens: 256 and 512 are the best and equal, 2048 loses up to 7 %, and
/// one short text at a time 11 to 16 %.
pub const MICRO_BATCH_TOKENS: usize = 512;

/// Runs a [`Model`] for one worker thread. The scratch memory grows to the largest micro-batch
/// and is kept.
pub struct Session {
    model: Arc<Model>,
    /// Length in tokens of each record.
    lengths: Vec<usize>,
    /// The matrices of the pass, `[tokens, …]`.
    states: Vec<f32>,
    queries: Vec<f32>,
    key_values: Vec<f32>,
    context: Vec<f32>,
    attended: Vec<f32>,
    expanded: Vec<f32>,
    attention: AttentionScratch,
    logits: Vec<f32>,
}

impl Session {
    /// A session on `model`; memory is allocated by the first micro-batches.
    pub fn new(model: Arc<Model>) -> Session {
        Session {
            model,
            lengths: Vec::new(),
            states: Vec::new(),
            queries: Vec::new(),
            key_values: Vec::new(),
            context: Vec::new(),
            attended: Vec::new(),
            expanded: Vec::new(),
            attention: AttentionScratch::default(),
            logits: Vec::new(),
        }
    }

    /// The model that this session runs.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The logits of every record, `[records, labels]`, row-major. Memory and time are bounded by
    /// the tokens in the micro-batch; [`MICRO_BATCH_TOKENS`] is a good number of them. A record's
    /// logits are the same bits whatever other records are in the micro-batch.
    ///
    /// # Panics
    /// If a record has no ids, more ids than the model has positions, or an id beyond its
    /// vocabulary; [`Model::encode`] gives none of these.
    pub fn logits(&mut self, micro_batch: &[Tokens]) -> &[f32] {
        let model = Arc::clone(&self.model);
        self.embed(&model, micro_batch);
        for (index, layer) in model.layers.iter().enumerate() {
            let last = index + 1 == model.layers.len();
            self.layer(&model, layer, last);
        }
        // After the last layer, the states are those of the first tokens.
        let records = micro_batch.len();
        let head = &model.head;
        let states = &self.states[..records * model.config.hidden()];
        let dense = space(&mut self.context, records * head.dense.outputs());
        head.dense.forward(states, dense);
        let logits = space(&mut self.logits, records * head.classifier.outputs());
        head.classifier.forward(dense, logits);
        logits
    }

    /// Word and position embeddings of all records, end to end.
    fn embed(&mut self, model: &Model, micro_batch: &[Tokens]) {
        let hidden = model.config.hidden();
        self.lengths.clear();
        self.lengths
            .extend(micro_batch.iter().map(|tokens| tokens.ids.len()));
        let tokens: usize = self.lengths.iter().sum();
        let states = space(&mut self.states, tokens * hidden);
        let mut rows = states.chunks_exact_mut(hidden);
        for record in micro_batch {
            let length = record.ids.len();
            assert!(length > 0, "a record must have at least one token");
            assert!(
                length <= model.config.positions,
                "a record of {length} tokens is longer than the model's {} positions",
                model.config.positions
            );
            let positions = model.embeddings.positions.chunks_exact(hidden);
            for ((&id, position), row) in record.ids.iter().zip(positions).zip(&mut rows) {
                assert!(
                    (id as usize) < model.config.vocabulary,
                    "the token id {id} is beyond the model's vocabulary of {}",
                    model.config.vocabulary
                );
                model.embeddings.words.row(id as usize, row);
                for (value, position) in row.iter_mut().zip(position) {
                    *value += position;
                }
            }
        }
        layer_norm(model.isa, &model.embeddings.norm, states, None);
    }

    /// One layer. In the last one only the first token of each record asks, and its states are
    /// all that remains.
    fn layer(&mut self, model: &Model, layer: &Layer, last: bool) {
        let hidden = model.config.hidden();
        let tokens: usize = self.lengths.iter().sum();
        let key_values = space(&mut self.key_values, tokens * 2 * hidden);
        layer
            .key_value
            .forward(&self.states[..tokens * hidden], key_values);
        let asking = if last {
            keep_first_tokens(&mut self.states, &self.lengths, hidden);
            self.lengths.len()
        } else {
            tokens
        };
        let states = &mut self.states[..asking * hidden];
        let queries = space(&mut self.queries, states.len());
        layer.query.forward(states, queries);

        let context = space(&mut self.context, states.len());
        let (mut queries, mut key_values) = (&queries[..], &key_values[..]);
        let mut results = &mut context[..];
        for &length in &self.lengths {
            let width = hidden * if last { 1 } else { length };
            let (q, kv, out);
            (q, queries) = queries.split_at(width);
            (kv, key_values) = key_values.split_at(length * 2 * hidden);
            (out, results) = results.split_at_mut(width);
            let heads = model.config.heads;
            attention(model.isa, heads, q, kv, out, &mut self.attention);
        }

        let attended = space(&mut self.attended, states.len());
        layer.output.forward(context, attended);
        layer_norm(model.isa, &layer.attention_norm, attended, Some(states));
        let expanded = space(&mut self.expanded, asking * layer.expand.outputs());
        layer.expand.forward(attended, expanded);
        layer.contract.forward(expanded, states);
        layer_norm(model.isa, &layer.output_norm, states, Some(attended));
    }
}

/// Moves the first row of each record to the front: `[tokens, hidden]` becomes
/// `[records, hidden]`.
fn keep_first_tokens(states: &mut [f32], lengths: &[usize], hidden: usize) {
    let mut first = 0;
    for (record, &length) in lengths.iter().enumerate() {
        states.copy_within(first * hidden..(first + 1) * hidden, record * hidden);
        first += length;
    }
}

/// The first `len` elements, whatever they hold; they are overwritten by the caller. Never gives
/// memory back, so that it is neither allocated nor cleared twice.
fn space(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}
