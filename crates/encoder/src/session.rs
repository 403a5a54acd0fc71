//! A worker's pass through the model, on scratch memory that it keeps.

use std::sync::Arc;

use shoal_kernels::{
    AttentionInput, AttentionScratch, Buffer, Heads, LinearScratch, Precision, Rows, RowsMut,
    activate, attention, layer_norm,
};

use crate::model::{LastLayer, Layer, Model, Rest};
use crate::stages::{Clock, Stage, StageTimes};
use crate::tokenizer::Tokens;

/// Tokens in a micro-batch at which the engine is fastest: enough that reading the weights is
/// paid for by many rows, few enough that the activations stay near the core.
///
/// Measured on a Zen 4 core with 1 MB of second-level cache, in both precisions, for 6 layers of
/// 384 and of 768: from 256 to 1,024 tokens differ by less than the noise for texts of 64 to 512
/// tokens, and texts of 16 tokens one at a time lose two fifths.
pub const MICRO_BATCH_TOKENS: usize = 512;

/// Rows that go through the linear layers together: enough that a layer's weights, which do not fit
/// a core's own caches, serve many rows each time they are read; few enough that the wide
/// activations of the feed-forward part stay near. See `docs/KERNELS.md`.
const ROW_BLOCK: usize = 256;

/// Runs a [`Model`] for one worker thread. The scratch memory grows to the largest micro-batch
/// and is kept.
pub struct Session {
    model: Arc<Model>,
    /// Length in tokens of each record.
    lengths: Vec<usize>,
    /// The matrices of the pass, `[tokens, …]`.
    states: Buffer<f32>,
    projected: Buffer<f32>,
    context: Buffer<f32>,
    logits: Buffer<f32>,
    scratch: Scratch,
    clock: Clock,
}

/// What the steps use within themselves.
#[derive(Default)]
struct Scratch {
    linear: LinearScratch,
    attention: AttentionScratch,
    attended: Buffer<f32>,
    expanded: Buffer<f32>,
}

impl Session {
    /// A session on `model`; memory is allocated by the first micro-batches.
    pub fn new(model: Arc<Model>) -> Session {
        Session {
            model,
            lengths: Vec::new(),
            states: Buffer::default(),
            projected: Buffer::default(),
            context: Buffer::default(),
            logits: Buffer::default(),
            scratch: Scratch::default(),
            clock: Clock::default(),
        }
    }

    /// The model that this session runs.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// How long each stage took since the last call.
    pub fn take_times(&mut self) -> StageTimes {
        self.clock.take()
    }

    /// The logits of every record, `[records, labels]`, row-major. Memory and time are bounded by
    /// the tokens in the micro-batch; [`MICRO_BATCH_TOKENS`] is a good number of them. A record's
    /// logits are the same bits whatever other records are in the micro-batch.
    ///
    /// # Panics
    /// If a record has no ids, more ids than the model has positions, or an id beyond its
    /// vocabulary; [`Model::encode`] gives none of these.
    pub fn logits(&mut self, micro_batch: &[Tokens]) -> &[f32] {
        if micro_batch.is_empty() {
            return &[];
        }
        let model = Arc::clone(&self.model);
        self.clock.start();
        self.embed(&model, micro_batch);
        for layer in &model.layers {
            self.layer(&model, layer);
        }
        self.last_layer(&model, &model.last);
        let (records, hidden) = (micro_batch.len(), model.config.hidden());
        let head = &model.head;
        let linear = &mut self.scratch.linear;
        let dense = self.context.grow(records * hidden);
        head.dense.forward(
            records,
            Rows::new(self.states.get(records * hidden), hidden),
            RowsMut::new(dense, hidden),
            linear,
        );
        activate(model.isa, model.config.family.head_activation(), dense);
        let labels = model.config.labels.len();
        let logits = self.logits.grow(records * labels);
        let (dense, result) = (Rows::new(dense, hidden), RowsMut::new(logits, labels));
        head.classifier.forward(records, dense, result, linear);
        self.clock.lap(Stage::Products);
        logits
    }

    /// Word and position embeddings of all records, end to end.
    fn embed(&mut self, model: &Model, micro_batch: &[Tokens]) {
        let hidden = model.config.hidden();
        self.lengths.clear();
        self.lengths
            .extend(micro_batch.iter().map(|tokens| tokens.ids.len()));
        let tokens: usize = self.lengths.iter().sum();
        let states = self.states.grow(tokens * hidden);
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
        self.clock.lap(Stage::Embedding);
        layer_norm(model.isa, &model.embeddings.norm, states, None);
        self.clock.lap(Stage::Norms);
    }

    /// A layer that every token goes through.
    fn layer(&mut self, model: &Model, layer: &Layer) {
        let hidden = model.config.hidden();
        let tokens: usize = self.lengths.iter().sum();
        let width = 3 * hidden;
        let projected = self.projected.grow(tokens * width);
        let linear = &mut self.scratch.linear;
        for first in (0..tokens).step_by(ROW_BLOCK) {
            let rows = ROW_BLOCK.min(tokens - first);
            layer.query_key_value.forward(
                rows,
                Rows::new(&self.states.get(tokens * hidden)[first * hidden..], hidden),
                RowsMut::new(&mut projected[first * width..], width),
                linear,
            );
        }
        self.clock.lap_product(linear);

        let context = self.context.grow(tokens * hidden);
        let mut first = 0;
        for &length in &self.lengths {
            let rows = |column| Rows::new(&projected[first * width + column..], width);
            let input = AttentionInput {
                heads: model.config.heads,
                scale: 1.0 / (model.config.heads.dim as f32).sqrt(),
                q: rows(0),
                queries: length,
                k: rows(hidden),
                v: rows(2 * hidden),
                keys: length,
            };
            let out = RowsMut::new(&mut context[first * hidden..], hidden);
            let scratch = &mut self.scratch.attention;
            attention(model.isa, model.precision, input, out, scratch);
            first += length;
        }
        self.clock.lap(Stage::Attention);
        let states = self.states.grow(tokens * hidden);
        rest(
            model,
            &layer.rest,
            states,
            context,
            &mut self.scratch,
            &mut self.clock,
        );
    }

    /// The last layer; afterwards the states are those of the first tokens, one row a record.
    fn last_layer(&mut self, model: &Model, layer: &LastLayer) {
        let Heads { count, dim } = model.config.heads;
        let hidden = model.config.hidden();
        let records = self.lengths.len();
        let all = self.states.get(self.lengths.iter().sum::<usize>() * hidden);
        let linear = &mut self.scratch.linear;
        // For each record a row with its first state, its query, and for each head a row that is
        // its query seen from the states, and then the mean of the states that it attends to.
        let wide = count * hidden;
        let projected = self.projected.grow(records * (2 * hidden + 2 * wide));
        let (firsts, projected) = projected.split_at_mut(records * hidden);
        let (queries, projected) = projected.split_at_mut(records * hidden);
        let (asking, mixed) = projected.split_at_mut(records * wide);
        let mut first = 0;
        for (row, &length) in firsts.chunks_exact_mut(hidden).zip(&self.lengths) {
            row.copy_from_slice(&all[first * hidden..][..hidden]);
            first += length;
        }
        let to = RowsMut::new(queries, hidden);
        layer
            .query
            .forward(records, Rows::new(firsts, hidden), to, linear);
        for (head, keys) in layer.keys.iter().enumerate() {
            let query = Rows::new(&queries[head * dim..], hidden);
            let to = RowsMut::new(&mut asking[head * hidden..], wide);
            keys.forward(records, query, to, linear);
        }
        self.clock.lap_product(linear);

        let mut first = 0;
        let rows = asking.chunks_exact(wide).zip(mixed.chunks_exact_mut(wide));
        for ((asking, mixed), &length) in rows.zip(&self.lengths) {
            let states = Rows::new(&all[first * hidden..], hidden);
            let input = AttentionInput {
                heads: Heads {
                    count: 1,
                    dim: hidden,
                },
                scale: 1.0 / (dim as f32).sqrt(),
                q: Rows::new(asking, hidden),
                queries: count,
                k: states,
                v: states,
                keys: length,
            };
            let out = RowsMut::new(mixed, hidden);
            let scratch = &mut self.scratch.attention;
            attention(model.isa, Precision::F32, input, out, scratch);
            first += length;
        }
        self.clock.lap(Stage::Attention);

        let context = self.context.grow(records * hidden);
        for (head, values) in layer.values.iter().enumerate() {
            let mixed = Rows::new(&mixed[head * hidden..], wide);
            let to = RowsMut::new(&mut context[head * dim..], hidden);
            values.forward(records, mixed, to, linear);
        }
        self.clock.lap_product(linear);
        let states = self.states.grow(records * hidden);
        states.copy_from_slice(firsts);
        rest(
            model,
            &layer.rest,
            states,
            context,
            &mut self.scratch,
            &mut self.clock,
        );
    }
}

/// What follows the attention: `states` and `context` are `[rows, hidden]`.
fn rest(
    model: &Model,
    layer: &Rest,
    states: &mut [f32],
    context: &[f32],
    scratch: &mut Scratch,
    clock: &mut Clock,
) {
    let hidden = model.config.hidden();
    let wide = model.config.intermediate;
    let Scratch {
        linear,
        attended,
        expanded,
        ..
    } = scratch;
    let blocks = states
        .chunks_mut(ROW_BLOCK * hidden)
        .zip(context.chunks(ROW_BLOCK * hidden));
    for (states, context) in blocks {
        let rows = states.len() / hidden;
        let attended = attended.grow(rows * hidden);
        let to = RowsMut::new(attended, hidden);
        layer
            .output
            .forward(rows, Rows::new(context, hidden), to, linear);
        clock.lap_product(linear);
        layer_norm(model.isa, &layer.attention_norm, attended, Some(states));
        clock.lap(Stage::Norms);
        let expanded = expanded.grow(rows * wide);
        let to = RowsMut::new(expanded, wide);
        layer
            .expand
            .forward(rows, Rows::new(attended, hidden), to, linear);
        clock.lap_product(linear);
        activate(model.isa, model.config.activation, expanded);
        clock.lap(Stage::Activation);
        let to = RowsMut::new(states, hidden);
        layer
            .contract
            .forward(rows, Rows::new(expanded, wide), to, linear);
        clock.lap_product(linear);
        layer_norm(model.isa, &layer.output_norm, states, Some(attended));
        clock.lap(Stage::Norms);
    }
}
