//! Runs micro-batches through a model, on scratch memory that is kept between them.

use std::sync::Arc;

use shoal_kernels::{
    AttentionInput, AttentionScratch, Buffer, Heads, Isa, Linear, LinearScratch, Precision, Rows,
    RowsMut, activate, attention, layer_norm,
};

use crate::model::Model;
use crate::network::{Attention, PostAttention, Step};
use crate::pooling::{self, first_token};
use crate::purpose::Purpose;
use crate::stages::{Clock, Stage, StageTimes};
use crate::tokenizer::Tokens;

/// Tokens in a micro-batch at which the engine is fastest: enough rows to amortize reading the weights,
/// few enough that the activations stay in the second-level cache.
///
/// Measured on a Zen 4 core with 1 MB of second-level cache, in both precisions, for 6 layers of
/// 384 and of 768: from 256 to 1,024 tokens differ by less than the noise for texts of 64 to 512
/// tokens, and texts of 16 tokens one at a time lose two fifths.
pub const MICRO_BATCH_TOKENS: usize = 512;

/// Rows that go through the linear layers together: enough to amortize reading a layer's weights, which
/// do not fit into a core's own caches; few enough that the wide activations of the feed-forward part
/// do. See `docs/KERNELS.md`.
const ROW_BLOCK: usize = 256;

/// Runs a [`Model`] for one worker thread. The scratch memory grows to the largest micro-batch
/// and is kept.
pub struct Session {
    model: Arc<Model>,
    /// The records of the micro-batch.
    records: Vec<Record>,
    /// The matrices of the pass, `[tokens, …]`.
    states: Buffer<f32>,
    projected: Buffer<f32>,
    context: Buffer<f32>,
    /// The matrices of the head, `[records, …]`.
    output: Buffer<f32>,
    next_output: Buffer<f32>,
    scratch: Scratch,
    clock: Clock,
}

/// A record in the micro-batch.
struct Record {
    /// Its length in tokens.
    tokens: usize,
    /// Leading tokens that the head leaves out.
    skipped: usize,
}

/// Buffers within one step.
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
            records: Vec::new(),
            states: Buffer::default(),
            projected: Buffer::default(),
            context: Buffer::default(),
            output: Buffer::default(),
            next_output: Buffer::default(),
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

    /// The output of every record, `[records, output_width]`, row-major: the logits of a classifier,
    /// or embeddings. Memory and time are bounded by the tokens in the micro-batch;
    /// [`MICRO_BATCH_TOKENS`] is a good number of them. A record's output has the same bits whatever
    /// other records are in the micro-batch.
    ///
    /// # Panics
    /// If a record has no ids, more ids than the model has positions, or an id beyond its
    /// vocabulary; [`Model::encode`] gives none of these.
    pub fn run(&mut self, micro_batch: &[Tokens]) -> &[f32] {
        if micro_batch.is_empty() {
            return &[];
        }
        let model = Arc::clone(&self.model);
        self.clock.start();
        self.embed(&model, micro_batch);
        for layer in &model.network.layers {
            match &layer.attention {
                Attention::AllTokens { projections } => {
                    self.attend_all(&model, projections, &layer.post_attention);
                }
                Attention::OneToken {
                    query,
                    keys,
                    values,
                } => self.attend_one(&model, (query, keys, values), &layer.post_attention),
            }
        }
        self.pool(&model);
        self.finish(&model);
        self.output.get(micro_batch.len() * model.output_width())
    }

    /// Word and position embeddings of all records, end to end.
    fn embed(&mut self, model: &Model, micro_batch: &[Tokens]) {
        let (hidden, limit) = (model.plan.hidden(), model.plan.max_positions());
        let vocabulary = model.plan.vocabulary();
        let embeddings = &model.network.embeddings;
        let embeds = model.embedding().is_some();
        self.records.clear();
        self.records.extend(micro_batch.iter().map(|tokens| Record {
            tokens: tokens.ids.len(),
            skipped: if embeds { tokens.prompt } else { 0 },
        }));
        let tokens = self.tokens();
        let states = self.states.grow(tokens * hidden);
        let mut rows = states.chunks_exact_mut(hidden);
        for record in micro_batch {
            let length = record.ids.len();
            assert!(length > 0, "a record must have at least one token");
            assert!(
                length <= limit,
                "a record of {length} tokens is longer than the model's {limit} positions"
            );
            let positions = embeddings.positions.chunks_exact(hidden);
            for ((&id, position), row) in record.ids.iter().zip(positions).zip(&mut rows) {
                assert!(
                    (id as usize) < vocabulary,
                    "the token id {id} is beyond the model's vocabulary of {vocabulary}"
                );
                embeddings.words.row(id as usize, row);
                for (value, position) in row.iter_mut().zip(position) {
                    *value += position;
                }
            }
        }
        self.clock.lap(Stage::Embedding);
        layer_norm(model.isa, &embeddings.norm, states, None);
        self.clock.lap(Stage::Norms);
    }

    /// Tokens in the micro-batch.
    fn tokens(&self) -> usize {
        self.records.iter().map(|record| record.tokens).sum()
    }

    /// A layer that computes all tokens.
    fn attend_all(&mut self, model: &Model, projections: &[Linear], after: &PostAttention) {
        let (hidden, heads) = (model.plan.hidden(), model.plan.encoder.heads);
        let tokens = self.tokens();
        let width = 3 * hidden;
        let projected = self.projected.grow(tokens * width);
        let linear = &mut self.scratch.linear;
        for first in (0..tokens).step_by(ROW_BLOCK) {
            let rows = ROW_BLOCK.min(tokens - first);
            let states = &self.states.get(tokens * hidden)[first * hidden..];
            let mut column = 0;
            for projection in projections {
                let to = RowsMut::new(&mut projected[first * width + column..], width);
                projection.forward(rows, Rows::new(states, hidden), to, linear);
                column += projection.outputs();
            }
        }
        self.clock.lap_product(linear);

        let context = self.context.grow(tokens * hidden);
        // The rounding of attention in bytes moves neighbours of embeddings, and saves a few percent of the time.
        let precision = match model.purpose() {
            Purpose::Embed => Precision::F32,
            _ => model.precision,
        };
        let mut first = 0;
        for record in &self.records {
            let rows = |column| Rows::new(&projected[first * width + column..], width);
            let input = AttentionInput {
                heads,
                scale: 1.0 / (heads.dim as f32).sqrt(),
                q: rows(0),
                queries: record.tokens,
                k: rows(hidden),
                v: rows(2 * hidden),
                keys: record.tokens,
            };
            let out = RowsMut::new(&mut context[first * hidden..], hidden);
            let scratch = &mut self.scratch.attention;
            attention(model.isa, precision, input, out, scratch);
            first += record.tokens;
        }
        self.clock.lap(Stage::Attention);
        let states = self.states.grow(tokens * hidden);
        let (scratch, clock) = (&mut self.scratch, &mut self.clock);
        post_attention(model.isa, after, states, context, scratch, clock);
    }

    /// A layer that computes one token per record; see `LayerPlan::compute_one_token`. Afterwards, the
    /// states have one row per record.
    fn attend_one(
        &mut self,
        model: &Model,
        (query, keys, values): (&Linear, &[Linear], &[Linear]),
        after: &PostAttention,
    ) {
        let Heads { count, dim } = model.plan.encoder.heads;
        let hidden = model.plan.hidden();
        let records = self.records.len();
        let all = self.states.get(self.tokens() * hidden);
        let linear = &mut self.scratch.linear;
        // For each record a row with the state of its token, its query, and for each head a row with
        // the query seen from the states, and then the mean of the states that it attends to.
        let wide = count * hidden;
        let projected = self.projected.grow(records * (2 * hidden + 2 * wide));
        let (own, projected) = projected.split_at_mut(records * hidden);
        let (queries, projected) = projected.split_at_mut(records * hidden);
        let (asking, mixed) = projected.split_at_mut(records * wide);
        let mut first = 0;
        for (row, record) in own.chunks_exact_mut(hidden).zip(&self.records) {
            let token = first + first_token(record.tokens, record.skipped);
            row.copy_from_slice(&all[token * hidden..][..hidden]);
            first += record.tokens;
        }
        let to = RowsMut::new(queries, hidden);
        query.forward(records, Rows::new(own, hidden), to, linear);
        for (head, keys) in keys.iter().enumerate() {
            let query = Rows::new(&queries[head * dim..], hidden);
            let to = RowsMut::new(&mut asking[head * hidden..], wide);
            keys.forward(records, query, to, linear);
        }
        self.clock.lap_product(linear);

        let mut first = 0;
        let rows = asking.chunks_exact(wide).zip(mixed.chunks_exact_mut(wide));
        for ((asking, mixed), record) in rows.zip(&self.records) {
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
                keys: record.tokens,
            };
            let out = RowsMut::new(mixed, hidden);
            let scratch = &mut self.scratch.attention;
            attention(model.isa, Precision::F32, input, out, scratch);
            first += record.tokens;
        }
        self.clock.lap(Stage::Attention);

        let context = self.context.grow(records * hidden);
        for (head, values) in values.iter().enumerate() {
            let mixed = Rows::new(&mixed[head * hidden..], wide);
            let to = RowsMut::new(&mut context[head * dim..], hidden);
            values.forward(records, mixed, to, linear);
        }
        self.clock.lap_product(linear);
        let states = self.states.grow(records * hidden);
        states.copy_from_slice(own);
        let (scratch, clock) = (&mut self.scratch, &mut self.clock);
        post_attention(model.isa, after, states, context, scratch, clock);
    }

    /// One vector per record, from the states.
    fn pool(&mut self, model: &Model) {
        let hidden = model.plan.hidden();
        let pooling = &model.plan.head.pooling;
        let width = pooling.len() * hidden;
        let (records, tokens) = (self.records.len(), self.tokens());
        let pooled = self.output.grow(records * width);
        if model.plan.encoder.computes_one_token() {
            pooled.copy_from_slice(self.states.get(records * hidden));
        } else {
            let mut states = self.states.get(tokens * hidden);
            for (record, pooled) in self.records.iter().zip(pooled.chunks_exact_mut(width)) {
                let (own, rest) = states.split_at(record.tokens * hidden);
                pooling::pool(pooling, own, hidden, record.skipped, pooled);
                states = rest;
            }
        }
        self.clock.lap(Stage::Pooling);
    }

    /// The steps after pooling.
    fn finish(&mut self, model: &Model) {
        let mut width = model.plan.head.pooling.len() * model.plan.hidden();
        let records = self.records.len();
        for step in &model.network.head {
            match step {
                Step::Dense(linear, activation) => {
                    let outputs = linear.outputs();
                    let next = self.next_output.grow(records * outputs);
                    let from = Rows::new(self.output.get(records * width), width);
                    let to = RowsMut::new(next, outputs);
                    linear.forward(records, from, to, &mut self.scratch.linear);
                    activate(model.isa, *activation, next);
                    std::mem::swap(&mut self.output, &mut self.next_output);
                    width = outputs;
                    self.clock.lap(Stage::Products);
                }
                Step::Normalize => {
                    let output = self.output.grow(records * width);
                    output.chunks_exact_mut(width).for_each(pooling::normalize);
                    self.clock.lap(Stage::Pooling);
                }
            }
        }
    }
}

/// What follows the attention: `states` and `context` are `[rows, hidden]`.
fn post_attention(
    isa: Isa,
    layer: &PostAttention,
    states: &mut [f32],
    context: &[f32],
    scratch: &mut Scratch,
    clock: &mut Clock,
) {
    let PostAttention {
        output,
        expand,
        contract,
        ..
    } = layer;
    let (hidden, wide) = (output.outputs(), expand.outputs());
    let linear = &mut scratch.linear;
    let blocks = states
        .chunks_mut(ROW_BLOCK * hidden)
        .zip(context.chunks(ROW_BLOCK * hidden));
    for (states, context) in blocks {
        let rows = states.len() / hidden;
        let attended = scratch.attended.grow(rows * hidden);
        let to = RowsMut::new(attended, hidden);
        output.forward(rows, Rows::new(context, hidden), to, linear);
        clock.lap_product(linear);
        layer_norm(isa, &layer.attention_norm, attended, Some(states));
        clock.lap(Stage::Norms);
        let expanded = scratch.expanded.grow(rows * wide);
        let to = RowsMut::new(expanded, wide);
        expand.forward(rows, Rows::new(attended, hidden), to, linear);
        clock.lap_product(linear);
        activate(isa, layer.activation, expanded);
        clock.lap(Stage::Activation);
        let to = RowsMut::new(states, hidden);
        contract.forward(rows, Rows::new(expanded, wide), to, linear);
        clock.lap_product(linear);
        layer_norm(isa, &layer.output_norm, states, Some(attended));
        clock.lap(Stage::Norms);
    }
}
