// Products of bf16 rows with bf16 weights by AMX, what stands around them done while the sums are near: bias, the
// addition after the layer, the gate of a feed-forward layer, and the neighbourhoods of a convolution.
//
// Two by two tiles of sums go along the depth; each is 16 x 16. oneDNN reaches half of the rate on the UNet's shapes.
// What limits this is where operands come from, so: weights lie in the order that they are read, panels of 32 columns,
// one depth block after the other, and every panel meets all rows of a block while it is in the L1; the rows' block
// stays in the L2; and the panel to come is fetched ahead, which matters where there are few rows for many weights.
#pragma once

#include <string.h>

#include "amx_session.h"
#include "passes.h"
#include "products_calls.h"

namespace {

class AmxProduct {
    static constexpr int64_t panel = 32, step = 32, tile_bytes = 1024, panel_step_bytes = 2 * tile_bytes;
    static constexpr int64_t most_depth = 1280;  // of a block

    using Activations = Passes<Avx512, Bf16>;

    // 32 rows of a block from `rows` on, at one depth block: two tiles each step.
    struct Rows {
        const char *upper, *lower;
        int64_t stride, step_bytes;
        bool only_upper;
    };
    // Where the weights to come lie, and how much of them to fetch at each step.
    struct Ahead {
        const char* from;
        int64_t step_bytes;
    };
    // What one thread works on: rows from `row` on, panels first to last, with its own memory.
    struct Task {
        int64_t row, rows, first_panel, last_panel;
        char* packed;
        float* sums;
    };

public:
    static int64_t blocks_of(int64_t depth) { return (depth + most_depth - 1) / most_depth; }
    // Depth blocks are equal but for the last.
    static int64_t depth_block(int64_t depth) {
        int64_t steps = depth / step, blocks = blocks_of(depth);
        return (steps + blocks - 1) / blocks * step;
    }
    static int64_t packed_bytes(const ProductCall& call) {
        return call.block_rows * depth_block(call.depth) * 2;
    }
    static int64_t workspace_bytes(const ProductCall& call) {
        int64_t panels = (call.columns / panel + call.chunks - 1) / call.chunks;
        return packed_bytes(call) + call.block_rows * panels * panel * 4;
    }

    static void run(ProductCall& call) {
        int64_t thread = __atomic_fetch_add(&call.threads_started, 1, __ATOMIC_RELAXED);
        char* workspace = call.workspace + thread * call.workspace_bytes;
        AmxSession session;
        int64_t panels = call.columns / panel, item;
        int64_t blocks = (call.rows + call.block_rows - 1) / call.block_rows;
        while ((item = __atomic_fetch_add(&call.claimed, 1, __ATOMIC_RELAXED)) < blocks * call.chunks) {
            int64_t row = item / call.chunks * call.block_rows, chunk = item % call.chunks;
            int64_t rows = call.rows - row < call.block_rows ? call.rows - row : call.block_rows;
            work(call, {row, rows, panels * chunk / call.chunks, panels * (chunk + 1) / call.chunks, workspace,
                        reinterpret_cast<float*>(workspace + packed_bytes(call))});
        }
    }

private:
    static void work(const ProductCall& call, const Task& task) {
        int64_t block = depth_block(call.depth), tile_rows = (task.rows + 15) / 16 * 16;
        bool in_place = call.kernel == 1 && task.rows == tile_rows;
        for (int64_t from = 0; from < call.depth; from += block) {
            int64_t depth = call.depth - from < block ? call.depth - from : block;
            if (!in_place) pack(call, task, tile_rows, from, depth);
            for (int64_t p = task.first_panel; p < task.last_panel; p++)
                for (int64_t row = 0; row < tile_rows; row += 32) {
                    Rows rows = in_place ? rows_in_place(call, task.row + row, from)
                                         : rows_in_pack(task, row, depth);
                    rows.only_upper = row + 16 >= tile_rows;
                    // Sums are kept between depth blocks; where there is only one they never leave the L1.
                    alignas(64) float here[32 * panel];
                    float* sums = block < call.depth
                                      ? task.sums + ((p - task.first_panel) * call.block_rows + row) * panel
                                      : here;
                    const char* weights = panel_at(call, p, from, depth);
                    multiply(rows, weights, depth / step, sums, from > 0,
                             ahead(call, task, p, from, depth, row, tile_rows));
                    if (from + depth == call.depth)
                        finish(call, sums, task.row + row, task.rows - row < 32 ? task.rows - row : 32, p);
                }
        }
    }

    static const char* panel_at(const ProductCall& call, int64_t p, int64_t from, int64_t depth) {
        return static_cast<const char*>(call.weight) + from * call.columns * 2 + p * depth / step * panel_step_bytes;
    }

    // Each of a panel's visits to 32 rows fetches its share of the next panel.
    static Ahead ahead(const ProductCall& call, const Task& task, int64_t p, int64_t from, int64_t depth,
                       int64_t row, int64_t tile_rows) {
        const char* next = panel_at(call, p, from, depth) + depth / step * panel_step_bytes;
        if (p + 1 == task.last_panel) {
            int64_t after = from + depth, left = call.depth - after;
            if (left <= 0) return {next, 0};
            next = panel_at(call, task.first_panel, after, left < depth ? left : depth);
        }
        int64_t visits = (tile_rows + 31) / 32;
        int64_t share = (panel_step_bytes / visits + 63) / 64 * 64, start = row / 32 * (depth / step) * share;
        return {next + start, start < depth / step * panel_step_bytes ? share : 0};
    }

    static Rows rows_in_place(const ProductCall& call, int64_t row, int64_t from) {
        const char* x = static_cast<const char*>(call.x) + (row * call.depth + from) * 2;
        return {x, x + 16 * call.depth * 2, call.depth * 2, step * 2, false};
    }

    static Rows rows_in_pack(const Task& task, int64_t row, int64_t depth) {
        const char* upper = task.packed + row / 16 * (depth / step) * tile_bytes;
        return {upper, upper + depth / step * tile_bytes, 64, tile_bytes, false};
    }

    // Tile registers are named by constants: sums in 0 to 3, rows in 4 and 5, weights in 6 and 7.
    static void multiply(const Rows& rows, const char* weights, int64_t steps, float* sums, bool accumulate,
                         Ahead ahead) {
        constexpr int64_t sums_bytes = panel * 4;
        if (accumulate) {
            _tile_loadd(0, sums, sums_bytes);
            _tile_loadd(1, sums + 16, sums_bytes);
            if (!rows.only_upper) {
                _tile_loadd(2, sums + 16 * panel, sums_bytes);
                _tile_loadd(3, sums + 16 * panel + 16, sums_bytes);
            }
        } else {
            _tile_zero(0);
            _tile_zero(1);
            _tile_zero(2);
            _tile_zero(3);
        }
        if (rows.only_upper)
            one_by_two(rows, weights, steps, ahead);
        else
            two_by_two(rows, weights, steps, ahead);
        _tile_stored(0, sums, sums_bytes);
        _tile_stored(1, sums + 16, sums_bytes);
        if (!rows.only_upper) {
            _tile_stored(2, sums + 16 * panel, sums_bytes);
            _tile_stored(3, sums + 16 * panel + 16, sums_bytes);
        }
    }

    static void fetch(Ahead& ahead) {
        for (int64_t line = 0; line < ahead.step_bytes; line += 64) _mm_prefetch(ahead.from + line, _MM_HINT_T1);
        ahead.from += ahead.step_bytes;
    }

    static void two_by_two(const Rows& rows, const char* weights, int64_t steps, Ahead ahead) {
        for (int64_t s = 0; s < steps; s++) {
            fetch(ahead);
            _tile_loadd(4, rows.upper + s * rows.step_bytes, rows.stride);
            _tile_loadd(6, weights + s * panel_step_bytes, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(5, rows.lower + s * rows.step_bytes, rows.stride);
            _tile_dpbf16ps(2, 5, 6);
            _tile_loadd(7, weights + s * panel_step_bytes + tile_bytes, 64);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(3, 5, 7);
        }
    }

    static void one_by_two(const Rows& rows, const char* weights, int64_t steps, Ahead ahead) {
        for (int64_t s = 0; s < steps; s++) {
            fetch(ahead);
            _tile_loadd(4, rows.upper + s * rows.step_bytes, rows.stride);
            _tile_loadd(6, weights + s * panel_step_bytes, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, weights + s * panel_step_bytes + tile_bytes, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
    }

    static __m512 numbers(const void* data, int64_t offset) {
        return Bf16::load_elements(static_cast<const uint16_t*>(data) + offset, 16);
    }

    static void finish(const ProductCall& call, const float* sums, int64_t row, int64_t rows, int64_t p) {
        int64_t gates = call.columns / 2;
        int64_t first = call.gated ? 16 * p : panel * p, second = call.gated ? gates + 16 * p : first + 16;
        __m512 bias0 = call.bias ? numbers(call.bias, first) : _mm512_setzero_ps();
        __m512 bias1 = call.bias ? numbers(call.bias, second) : _mm512_setzero_ps();
        uint16_t* out = static_cast<uint16_t*>(call.out);
        for (int64_t r = 0; r < rows; r++) {
            __m512 sum0 = _mm512_add_ps(_mm512_load_ps(sums + r * panel), bias0);
            __m512 sum1 = _mm512_add_ps(_mm512_load_ps(sums + r * panel + 16), bias1);
            if (call.gated) {
                __m512 gated = _mm512_mul_ps(sum0, Activations::gelu(sum1));
                Bf16::store_elements(out + (row + r) * gates + first, gated, 16);
                continue;
            }
            int64_t at = (row + r) * call.columns + first;
            if (call.added) {
                sum0 = _mm512_add_ps(sum0, numbers(call.added, at));
                sum1 = _mm512_add_ps(sum1, numbers(call.added, at + 16));
            }
            _mm512_storeu_si512(out + at, (__m512i)_mm512_cvtne2ps_pbh(sum1, sum0));
        }
    }

    // The block's rows at depths from .. from + depth, tile after tile, rows beyond the last as zeros.
    static void pack(const ProductCall& call, const Task& task, int64_t tile_rows, int64_t from, int64_t depth) {
        int64_t steps = depth / step;
        for (int64_t r = 0; r < tile_rows; r++) {
            char* to = task.packed + r / 16 * steps * tile_bytes + r % 16 * 64;
            if (r >= task.rows)
                copy(to, nullptr, steps);
            else if (call.kernel == 1)
                copy(to, static_cast<const char*>(call.x) + ((task.row + r) * call.depth + from) * 2, steps);
            else
                pack_neighbourhood(call, to, task.row + r, from, depth);
        }
    }

    static void pack_neighbourhood(const ProductCall& call, char* to, int64_t row, int64_t from, int64_t depth) {
        int64_t channels = call.depth / (call.kernel * call.kernel);
        int64_t x = row % call.out_width * call.stride - 1;
        int64_t y = row / call.out_width % call.out_height * call.stride - 1;
        int64_t picture = row / (call.out_width * call.out_height);
        for (int64_t k = from; k < from + depth;) {
            int64_t tap = k / channels, end = (tap + 1) * channels;
            if (end > from + depth) end = from + depth;
            int64_t v = y + tap / call.kernel, u = x + tap % call.kernel;
            bool inside = v >= 0 && v < call.height && u >= 0 && u < call.width;
            int64_t pixel = (picture * call.height + v) * call.width + u;
            const char* data = static_cast<const char*>(call.x) + (pixel * channels + k - tap * channels) * 2;
            copy(to + (k - from) / step * tile_bytes, inside ? data : nullptr, (end - k) / step);
            k = end;
        }
    }

    // `steps` times 64 bytes, each to a tile of its own; zeros from nowhere.
    static void copy(char* to, const char* data, int64_t steps) {
        for (int64_t s = 0; s < steps; s++)
            _mm512_storeu_si512(to + s * tile_bytes,
                                data ? _mm512_loadu_si512(data + s * 64) : _mm512_setzero_si512());
    }
};

}  // namespace
