// Attention without the matrix of scores: softmax(q k^T * scale) v, one block of queries against one block of
// keys at a time, in the manner of FlashAttention (Dao et al. 2022).
//
// 1. Pack. Keys and values of every head are copied once into the order in which the products read them: keys
//    transposed, in panels as wide as one tile of scores; values with as many keys as fit a word side by
//    side. This is the only pass over them in their own layout, so no tensor is transposed or made contiguous
//    beforehand, and zeros fill them up to whole tiles, so the inner loops know no edges.
// 2. Attend. A block of queries meets block after block of keys. A few rows at a time: scores = q k^T; the
//    online softmax turns them into weights in place; out += weights * v. Scores never leave the near caches.
// 3. Divide each row by its total and write it where the caller wants it.
//
// A form is one kind of processor's way to do the products. It says
//    Elements, Vector  what it reads, and the registers of the softmax
//    rows              how many rows of queries one product takes
//    panel             columns of scores in one panel of packed keys
//    depth_multiple    the width of a head is filled up to this many words
//    key_block         keys at a time: few, and the sums are fetched and stored too often; many, and a group's
//                      scores outgrow the L1. From 64 to 512, times differ by a tenth
//    query_block       queries at a time, for each of which a block of keys is fetched from the L2 once
//    Session           lives while a thread works: whatever state the products need
//    product(a, b, depth, out, columns, accumulate)
//                      out[rows][columns] = or += a[rows][depth] b[depth][columns], a and b as words
#pragma once

#include <sched.h>

#include "attention.h"
#include "softmax.h"

namespace {

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t blocks(int64_t count, int64_t size) { return (count + size - 1) / size; }
inline int64_t round_up(int64_t count, int64_t size) { return blocks(count, size) * size; }

// Sizes in words (4 bytes), and where each thing lies in the workspace.
template <class Form>
struct Layout {
    using V = typename Form::Vector;
    using E = typename Form::Elements;
    // Not a power of two, or all rows would share a few sets of the cache.
    static constexpr int score_stride = Form::key_block + 16;

    int64_t depth, out_columns, key_blocks, query_blocks;
    int64_t key_words, value_words;                            // one block of one head
    int64_t query_words, score_words, out_words, state_words;  // one thread

    explicit Layout(const AttentionCall& call) {
        depth = round_up(blocks(call.width, E::per_word), Form::depth_multiple);
        out_columns = round_up(call.width, V::lanes);
        key_blocks = blocks(call.keys, Form::key_block);
        query_blocks = blocks(call.queries, Form::query_block);
        int64_t keys = smaller(Form::key_block, round_up(call.keys, Form::panel));
        key_words = round_up(keys * depth, 16);
        value_words = round_up(keys / E::per_word * out_columns, 16);
        query_words = round_up(Form::query_block * depth, 16);
        score_words = round_up(Form::rows * score_stride, 16);
        out_words = round_up(Form::query_block * out_columns, 16);
        state_words = round_up(Form::query_block * sizeof(RowState<V>) / sizeof(float), 16);
    }

    int64_t packed_words(const AttentionCall& call) const {
        return call.batch * call.heads * key_blocks * (key_words + value_words);
    }
    int64_t thread_words() const { return query_words + 2 * score_words + out_words + state_words; }
};

template <class Form>
class Attention {
    using V = typename Form::Vector;
    using E = typename Form::Elements;
    using Register = typename V::Register;
    using Element = typename E::Element;

    AttentionCall& call;
    const Layout<Form> layout;
    const float scale;
    static constexpr int score_stride = Layout<Form>::score_stride;
    float *packed, *queries, *scores, *out;
    RowState<V>* states;

    Element* head_of(const Tokens& tokens, int64_t head, int64_t token) const {
        return static_cast<Element*>(tokens.data) + head / call.heads * tokens.batch_stride +
               token * tokens.token_stride + head % call.heads * call.width;
    }
    float* packed_block(int64_t head, int64_t block) const {
        return packed + (head * layout.key_blocks + block) * (layout.key_words + layout.value_words);
    }
    int keys_in(int64_t block) const { return smaller(Form::key_block, call.keys - block * Form::key_block); }

    // keys [n, width] -> panels [n / panel, depth, panel]
    void pack_keys(const Element* keys, int64_t stride, int count, float* to) const {
        for (int key = 0; key < count; key += V::lanes) {
            float* panel = to + key / Form::panel * Form::panel * layout.depth + key % Form::panel;
            for (int64_t word = 0; word < layout.depth; word += V::lanes) {
                int64_t done = word * E::per_word;
                Register rows[V::lanes];
                for (int i = 0; i < V::lanes; i++)
                    rows[i] = key + i < count && done < call.width
                                  ? E::load_words(keys + (key + i) * stride + done, call.width - done)
                                  : V::zero();
                V::transpose(rows);
                int64_t columns = smaller(V::lanes, layout.depth - word);
                for (int64_t i = 0; i < columns; i++) V::store(panel + (word + i) * Form::panel, rows[i]);
            }
        }
    }

    // values [n, width] -> [n / per_word, out_columns], as many rows as the padded weights have words
    void pack_values(const Element* values, int64_t stride, int count, float* to) const {
        int words = round_up(count, 2 * V::lanes) / E::per_word;
        for (int word = 0; word < words; word++) {
            int rows = count - word * E::per_word;
            const Element* from = values + smaller(word * E::per_word, count - 1) * stride;
            for (int64_t i = 0; i < layout.out_columns; i += V::lanes)
                V::store(to + word * layout.out_columns + i,
                         E::load_columns(from + i, stride, rows, call.width - i));
        }
    }

    void pack(int64_t item) const {
        int64_t head = item / layout.key_blocks, block = item % layout.key_blocks;
        int64_t first = block * Form::key_block;
        float* to = packed_block(head, block);
        int count = keys_in(block);
        // Columns that no key fills are multiplied and then masked: they must hold numbers.
        int whole = round_up(count, 2 * V::lanes);
        if (count <= whole - V::lanes) zero_columns(to, whole - V::lanes);
        pack_keys(head_of(call.key, head, first), call.key.token_stride, count, to);
        pack_values(head_of(call.value, head, first), call.value.token_stride, count, to + layout.key_words);
    }
    void zero_columns(float* to, int column) const {
        float* panel = to + column / Form::panel * Form::panel * layout.depth + column % Form::panel;
        for (int64_t word = 0; word < layout.depth; word++) V::store(panel + word * Form::panel, V::zero());
    }

    void load_queries(const Element* from, int64_t rows, int64_t padded_rows) {
        for (int64_t row = 0; row < padded_rows; row++)
            for (int64_t word = 0; word < layout.depth; word += V::lanes) {
                int64_t done = word * E::per_word, left = row < rows ? call.width - done : 0;
                Register words =
                    left > 0 ? E::load_words(from + row * call.query.token_stride + done, left) : V::zero();
                V::store_part(queries + row * layout.depth + word, words, layout.depth - word);
            }
    }

    // One group of rows against one block of keys.
    struct Step {
        int64_t row, block;
        float* keys;
        float* scores;
        int live, columns;
    };
    Step step_at(int64_t head, int64_t number, int64_t groups) const {
        int64_t block = number / groups;
        int live = keys_in(block);
        return {number % groups * Form::rows,
                block,
                packed_block(head, block),
                scores + number % 2 * layout.score_words,
                live,
                (int)round_up(live, 2 * V::lanes)};
    }

    void score_panel(const Step& step, int panel) const {
        int column = panel * Form::panel;
        if (column >= step.columns) return;
        Matrix rows = {queries + step.row * layout.depth, layout.depth};
        Matrix keys = {step.keys + column * layout.depth, Form::panel};
        Matrix panel_scores = {step.scores + column, score_stride};
        int columns = smaller(Form::panel, step.columns - column);
        Form::product(rows, keys, layout.depth, panel_scores, columns, false);
    }
    void weigh_row(const Step& step, int row) const {
        float* row_scores = step.scores + row * score_stride;
        if (step.live < step.columns) mask_tail<V>(row_scores, step.live, step.columns);
        weigh<V, E>(row_scores, step.columns, scale, step.block == 0, states[step.row + row],
                    out + (step.row + row) * layout.out_columns, layout.out_columns);
    }
    void add_values(const Step& step) const {
        Matrix weights = {step.scores, score_stride};
        Matrix values = {step.keys + layout.key_words, layout.out_columns};
        Matrix rows_out = {out + step.row * layout.out_columns, layout.out_columns};
        Form::product(weights, values, step.columns / E::per_word, rows_out, (int)layout.out_columns,
                      step.block != 0);
    }

    // Panels of the next step's scores are computed between the rows of this step's softmax. Where products
    // run in a unit of their own (AMX), neither waits for the other's last result, which saves a twentieth;
    // elsewhere it is free.
    void attend(int64_t item) {
        int64_t head = item / layout.query_blocks, first = item % layout.query_blocks * Form::query_block;
        int64_t rows = smaller(Form::query_block, call.queries - first), groups = blocks(rows, Form::rows);
        load_queries(head_of(call.query, head, first), rows, groups * Form::rows);

        constexpr int panels = Form::key_block / Form::panel;
        int64_t steps = groups * layout.key_blocks;
        Step now = {}, next = step_at(head, 0, groups);
        for (int64_t number = 0; number <= steps; number++) {
            for (int part = 0; part < panels; part++) {
                if (number < steps) score_panel(next, part);
                if (number > 0)
                    for (int row = part * Form::rows / panels; row < (part + 1) * Form::rows / panels; row++)
                        weigh_row(now, row);
            }
            if (number > 0) add_values(now);
            now = next;
            if (number + 1 < steps) next = step_at(head, number + 1, groups);
        }

        Element* to = head_of(call.out, head, first);
        for (int64_t row = 0; row < rows; row++, to += call.out.token_stride) {
            Register share = V::all(1.0f / V::sum(V::load(states[row].total)));
            for (int64_t i = 0; i < call.width; i += V::lanes)
                E::store_elements(to + i, V::mul(share, V::load(out + row * layout.out_columns + i)),
                                  call.width - i);
        }
    }

public:
    // The softmax is one of powers of two: log2(e) goes into the scale.
    explicit Attention(AttentionCall& call) : call(call), layout(call), scale(call.scale * 1.442695041f) {
        int64_t thread = __atomic_fetch_add(&call.threads_started, 1, __ATOMIC_RELAXED);
        packed = reinterpret_cast<float*>(call.workspace);
        queries = packed + layout.packed_words(call) + thread * layout.thread_words();
        scores = queries + layout.query_words;
        out = scores + 2 * layout.score_words;
        states = reinterpret_cast<RowState<V>*>(out + layout.out_words);
    }

    // One thread's share; every thread of the call runs this once.
    void work() {
        int64_t heads = call.batch * call.heads, packs = heads * layout.key_blocks, item;
        while ((item = __atomic_fetch_add(&call.packs_claimed, 1, __ATOMIC_RELAXED)) < packs) {
            pack(item);
            __atomic_fetch_add(&call.packs_done, 1, __ATOMIC_RELEASE);
        }
        // Only threads that are already running can hold a claim, so this ends even if others never start.
        while (__atomic_load_n(&call.packs_done, __ATOMIC_ACQUIRE) < packs) sched_yield();
        while ((item = __atomic_fetch_add(&call.blocks_claimed, 1, __ATOMIC_RELAXED)) <
               heads * layout.query_blocks)
            attend(item);
    }

    static void run(AttentionCall& call) {
        [[maybe_unused]] typename Form::Session session;
        Attention(call).work();
    }
    static int64_t workspace_bytes(const AttentionCall& call) {
        Layout<Form> layout(call);
        return sizeof(float) * (layout.packed_words(call) + call.threads * layout.thread_words());
    }
};

}  // namespace

// The two functions of a form: weft_attention_<name>, to be called by each thread, and its _workspace.
#define WEFT_FORM(name, Form)                                                                    \
    WEFT_EXPORT void weft_attention_##name(AttentionCall* call) { Attention<Form>::run(*call); } \
    WEFT_EXPORT int64_t weft_attention_##name##_workspace(const AttentionCall* call) {           \
        return Attention<Form>::workspace_bytes(*call);                                          \
    }
