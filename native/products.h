// Products of rows with weights, what stands around them done while the sums are near: bias, the addition after the
// layer, the gate of a feed-forward layer, and the neighbourhoods of a convolution.
//
// What limits a product is where its operands come from, so: weights lie in the order that they are read, panels of 32
// columns, one depth block after the other; every panel meets all rows of a block while it is near; the block of rows
// stays in the L2; and the panel to come is fetched ahead, which matters where there are few rows for many weights.
//
// A Form multiplies: see AmxBf16Product (amx_products.h) and RegisterProduct (register_products.h). Rows reach it in
// pieces of 64 bytes, where they are or copied to the order that it likes.
#pragma once

#include <string.h>

#include "passes.h"
#include "products_calls.h"

namespace {

constexpr int64_t panel_columns = 32, piece_bytes = 64;

// Some of the rows of a block, at one depth block. A group is as many rows as a Form keeps together when it copies.
struct RowPieces {
    const char* data;
    int64_t row_bytes, piece_step, group_bytes;  // from row to row, piece to piece, group to group
    int64_t rows;
};

// Where the weights to come lie, and how much of them to fetch at each piece.
struct Ahead {
    const char* from;
    int64_t bytes;

    void fetch() {
        for (int64_t line = 0; line < bytes; line += 64) __builtin_prefetch(from + line, 0, 2);
        from += bytes;
    }
};

template <class Form>
class Product {
    using V = typename Form::Vector;
    using E = typename Form::Elements;
    using Element = typename E::Element;
    using Register = typename V::Register;

    static constexpr int64_t size = sizeof(Element), step = piece_bytes / size;
    static constexpr int64_t panel_step_bytes = panel_columns * piece_bytes;

    // What one thread works on: rows from `row` on, panels first to last, with its own memory.
    struct Task {
        int64_t row, rows, first_panel, last_panel;
        char* copy;
        float* sums;
    };
    struct Depths {
        int64_t from, count;
        int64_t pieces() const { return count / step; }
    };

public:
    // Depth blocks are equal but for the last.
    static int64_t depth_block(int64_t depth) {
        int64_t pieces = depth / step, blocks = (depth + Form::most_depth - 1) / Form::most_depth;
        return (pieces + blocks - 1) / blocks * step;
    }
    static int64_t copy_bytes(const ProductCall& call) { return call.block_rows * depth_block(call.depth) * size; }
    static int64_t workspace_bytes(const ProductCall& call) {
        int64_t panels = (call.columns / panel_columns + call.chunks - 1) / call.chunks;
        return copy_bytes(call) + call.block_rows * panels * panel_columns * 4;
    }

    static void run(ProductCall& call) {
        int64_t thread = __atomic_fetch_add(&call.threads_started, 1, __ATOMIC_RELAXED);
        char* workspace = call.workspace + thread * call.workspace_bytes;
        typename Form::Session session;
        int64_t panels = call.columns / panel_columns, item;
        int64_t blocks = (call.rows + call.block_rows - 1) / call.block_rows;
        while ((item = __atomic_fetch_add(&call.claimed, 1, __ATOMIC_RELAXED)) < blocks * call.chunks) {
            int64_t row = item / call.chunks * call.block_rows, chunk = item % call.chunks;
            int64_t rows = call.rows - row < call.block_rows ? call.rows - row : call.block_rows;
            work(call, {row, rows, panels * chunk / call.chunks, panels * (chunk + 1) / call.chunks, workspace,
                        reinterpret_cast<float*>(workspace + copy_bytes(call))});
        }
    }

    // Panel after panel, each claimed by one thread.
    static void pack(PackCall& call) {
        int64_t block = depth_block(call.depth), panel;
        while ((panel = __atomic_fetch_add(&call.claimed, 1, __ATOMIC_RELAXED)) < call.columns / panel_columns)
            for (int64_t from = 0; from < call.depth; from += block) {
                Depths depths = {from, call.depth - from < block ? call.depth - from : block};
                char* out = static_cast<char*>(call.out) + depths.from * call.columns * size +
                            panel * depths.pieces() * panel_step_bytes;
                for (int64_t s = 0; s < depths.pieces(); s++, out += panel_step_bytes)
                    for (int half = 0; half < 2; half++)
                        pack_half(call, panel, half, (from + s * step) * size, out + half * Form::half_step);
            }
    }

private:
    // Sixteen columns of a panel at one piece of the depth: its words, from a row each to a column each.
    static void pack_half(const PackCall& call, int64_t panel, int half, int64_t offset, char* out) {
        constexpr int64_t columns = panel_columns / 2, words = piece_bytes / 4;
        int64_t first = call.gated ? panel * columns + half * (call.columns / 2) : panel * panel_columns + half * columns;
        for (int64_t column = 0; column < columns; column += V::lanes)
            for (int64_t word = 0; word < words; word += V::lanes) {
                Register rows[V::lanes];
                for (int i = 0; i < V::lanes; i++)
                    rows[i] = V::load(reinterpret_cast<const float*>(static_cast<const char*>(call.weight) +
                                                                     (first + column + i) * call.depth * size +
                                                                     offset + word * 4));
                V::transpose(rows);
                for (int i = 0; i < V::lanes; i++)
                    V::store(reinterpret_cast<float*>(out + (word + i) * Form::word_step) + column, rows[i]);
            }
    }

    static void work(const ProductCall& call, const Task& task) {
        int64_t block = depth_block(call.depth);
        for (int64_t from = 0; from < call.depth; from += block) {
            Depths depths = {from, call.depth - from < block ? call.depth - from : block};
            bool copied = call.kernel != 1 || task.rows % Form::group;
            if (copied) copy(call, task, depths);
            for (int64_t panel = task.first_panel; panel < task.last_panel; panel++)
                for (int64_t row = 0; row < task.rows; row += Form::rows)
                    visit(call, task, depths, panel, row, copied);
        }
    }

    // Some rows meet a panel at one depth block.
    static void visit(const ProductCall& call, const Task& task, Depths depths, int64_t panel, int64_t row,
                      bool copied) {
        int64_t rows = task.rows - row < Form::rows ? task.rows - row : Form::rows;
        RowPieces pieces;
        if (copied) {
            pieces = {task.copy, Form::row_bytes(depths.pieces()), Form::piece_step, 0, rows};
            pieces.group_bytes = Form::group_bytes(depths.pieces());
            pieces.data += row / Form::group * pieces.group_bytes;
        } else {
            const char* x = static_cast<const char*>(call.x) + ((task.row + row) * call.depth + depths.from) * size;
            pieces = {x, call.depth * size, piece_bytes, call.depth * size * Form::group, rows};
        }
        // Sums are kept between depth blocks; where there is only one they never leave the L1.
        alignas(64) float here[Form::rows * panel_columns];
        bool whole = depths.count == call.depth;
        float* sums =
            whole ? here : task.sums + ((panel - task.first_panel) * call.block_rows + row) * panel_columns;
        Form::multiply(pieces, panel_at(call, panel, depths), depths.pieces(), sums, depths.from > 0,
                       ahead(call, task, depths, panel, row));
        if (depths.from + depths.count == call.depth) finish(call, sums, task.row + row, rows, panel);
    }

    static const char* panel_at(const ProductCall& call, int64_t panel, Depths depths) {
        return static_cast<const char*>(call.weight) + depths.from * call.columns * size +
               panel * depths.pieces() * panel_step_bytes;
    }

    // Each of a panel's visits fetches its share of the next panel.
    static Ahead ahead(const ProductCall& call, const Task& task, Depths depths, int64_t panel, int64_t row) {
        const char* next = panel_at(call, panel + 1, depths);
        if (panel + 1 == task.last_panel) {
            int64_t after = depths.from + depths.count, left = call.depth - after;
            if (left <= 0) return {next, 0};
            next = panel_at(call, task.first_panel, {after, left < depths.count ? left : depths.count});
        }
        int64_t visits = (task.rows + Form::rows - 1) / Form::rows;
        int64_t share = (panel_step_bytes / visits + 63) / 64 * 64;
        int64_t start = row / Form::rows * depths.pieces() * share;
        return {next + start, start < depths.pieces() * panel_step_bytes ? share : 0};
    }

    template <class Kind = E>
    static Register numbers(const void* data, int64_t offset) {
        return Kind::load_elements(static_cast<const typename Kind::Element*>(data) + offset, V::lanes);
    }

    static void finish(const ProductCall& call, const float* sums, int64_t row, int64_t rows, int64_t panel) {
        call.wide_out ? finish_as<Fp32<V>>(call, sums, row, rows, panel) : finish_as<E>(call, sums, row, rows, panel);
    }

    static Register added(const ProductCall& call, int64_t at) {
        return call.wide_added ? numbers<Fp32<V>>(call.added, at) : numbers<E>(call.added, at);
    }

    // A panel's sums are two halves of 16 columns: side by side, or values and their gates.
    template <class S>
    static void finish_as(const ProductCall& call, const float* sums, int64_t row, int64_t rows, int64_t panel) {
        constexpr int64_t half = panel_columns / 2;
        int64_t first = call.gated ? half * panel : panel_columns * panel;
        int64_t second = call.gated ? call.columns / 2 + first : first + half;
        int64_t out_columns = call.gated ? call.columns / 2 : call.columns;
        auto out = static_cast<typename S::Element*>(call.out);
        for (int64_t c = 0; c < half; c += V::lanes) {
            Register bias0 = call.bias ? numbers(call.bias, first + c) : V::zero();
            Register bias1 = call.bias ? numbers(call.bias, second + c) : V::zero();
            for (int64_t r = 0; r < rows; r++) {
                Register sum0 = V::add(V::load(sums + r * panel_columns + c), bias0);
                Register sum1 = V::add(V::load(sums + r * panel_columns + half + c), bias1);
                int64_t at = (row + r) * out_columns + c;
                if (call.gated) {
                    Register gated = V::mul(sum0, Passes<V, E>::gelu(sum1));
                    S::store_elements(out + at + first, gated, V::lanes);
                    continue;
                }
                if (call.added) {
                    sum0 = V::add(sum0, added(call, at + first));
                    sum1 = V::add(sum1, added(call, at + second));
                }
                S::store_elements(out + at + first, sum0, V::lanes);
                S::store_elements(out + at + second, sum1, V::lanes);
            }
        }
    }

    // The block's rows at these depths, piece after piece, and rows of zeros that fill the last group.
    static void copy(const ProductCall& call, const Task& task, Depths depths) {
        int64_t pieces = depths.pieces(), filled = (task.rows + Form::group - 1) / Form::group * Form::group;
        for (int64_t r = 0; r < filled; r++) {
            char* to = task.copy + r / Form::group * Form::group_bytes(pieces) +
                       r % Form::group * Form::row_bytes(pieces);
            if (r >= task.rows)
                copy(to, nullptr, pieces);
            else if (call.kernel == 1)
                copy(to, static_cast<const char*>(call.x) + ((task.row + r) * call.depth + depths.from) * size,
                     pieces);
            else
                copy_neighbourhood(call, to, task.row + r, depths);
        }
    }

    static void copy_neighbourhood(const ProductCall& call, char* to, int64_t row, Depths depths) {
        int64_t channels = call.depth / (call.kernel * call.kernel);
        int64_t x = row % call.out_width * call.stride - 1;
        int64_t y = row / call.out_width % call.out_height * call.stride - 1;
        int64_t picture = row / (call.out_width * call.out_height);
        for (int64_t k = depths.from; k < depths.from + depths.count;) {
            int64_t tap = k / channels, end = (tap + 1) * channels;
            if (end > depths.from + depths.count) end = depths.from + depths.count;
            int64_t v = y + tap / call.kernel, u = x + tap % call.kernel;
            bool inside = v >= 0 && v < call.height && u >= 0 && u < call.width;
            int64_t pixel = (picture * call.height + v) * call.width + u;
            const char* data = static_cast<const char*>(call.x) + (pixel * channels + k - tap * channels) * size;
            copy(to + (k - depths.from) / step * Form::piece_step, inside ? data : nullptr, (end - k) / step);
            k = end;
        }
    }

    // `pieces` to where the Form wants them; zeros from nowhere.
    static void copy(char* to, const char* data, int64_t pieces) {
        for (int64_t s = 0; s < pieces; s++) {
            if (data)
                memcpy(to + s * Form::piece_step, data + s * piece_bytes, piece_bytes);
            else
                memset(to + s * Form::piece_step, 0, piece_bytes);
        }
    }
};

}  // namespace

// The functions that Python finds for a form.
#define WEFT_PRODUCT(name, Form)                                                                                \
    WEFT_EXPORT int64_t weft_product_##name##_workspace(const ProductCall* call) {                             \
        return Product<Form>::workspace_bytes(*call);                                                          \
    }                                                                                                          \
    WEFT_EXPORT void weft_product_##name##_pack(PackCall* call) { Product<Form>::pack(*call); }                  \
    WEFT_EXPORT void weft_product_##name(ProductCall* call) { Product<Form>::run(*call); }
