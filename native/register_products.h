// fp32 products in registers: the sums of a few rows and two registers of columns stay there along the depth.
#pragma once

#include "products.h"

namespace {

// R rows at a time: twelve (AVX-512) or six (AVX2) by two registers leave room for weights and one number of x.
template <class V, int R>
struct RegisterProduct {
    using Vector = V;
    using Elements = Fp32<V>;
    using Register = typename V::Register;
    struct Session {};

    static constexpr int64_t rows = 24, group = 1, most_depth = 640, piece_step = piece_bytes;
    static constexpr int64_t half_step = 64, word_step = panel_columns * 4;
    static int64_t row_bytes(int64_t pieces) { return pieces * piece_bytes; }
    static int64_t group_bytes(int64_t pieces) { return pieces * piece_bytes; }

    static void multiply(const RowPieces& x, const char* weights, int64_t pieces, float* sums, bool accumulate,
                         Ahead ahead) {
        int64_t share = x.rows > R ? (ahead.bytes * R / x.rows + 63) / 64 * 64 : ahead.bytes;
        for (int64_t row = 0; row < x.rows; row += R) {
            Rows operand = {reinterpret_cast<const float*>(x.data + row * x.row_bytes), x.row_bytes / 4,
                            reinterpret_cast<const float*>(weights), pieces, sums + row * panel_columns, accumulate};
            tile<R>(operand, x.rows - row, {ahead.from + row / R * share * pieces, share});
        }
    }

private:
    struct Rows {
        const float* x;
        int64_t stride;
        const float* weights;
        int64_t pieces;
        float* sums;
        bool accumulate;
    };

    // As many rows as there are, of at most N.
    template <int N>
    static void tile(const Rows& o, int64_t rows, Ahead ahead) {
        if constexpr (N > 1)
            if (rows < N) return tile<N - 1>(o, rows, ahead);
        for (int64_t column = 0; column < panel_columns; column += 2 * V::lanes) {
            columns<N>(o, column, ahead);
            ahead.bytes = 0;
        }
    }

    // Never inlined: among the caller's variables, compilers run out of registers and keep sums in memory.
    template <int N>
    __attribute__((noinline)) static void columns(const Rows& o, int64_t column, Ahead ahead) {
        Register sums[N][2];
        for (int r = 0; r < N; r++)
            for (int c = 0; c < 2; c++)
                sums[r][c] = o.accumulate ? V::load(o.sums + r * panel_columns + column + c * V::lanes) : V::zero();
        // Three rows to a pointer, so that the pointers fit into registers.
        constexpr int pointers = (N + 2) / 3;
        const float* x[pointers];
        for (int p = 0; p < pointers; p++) x[p] = o.x + 3 * p * o.stride;
        const float* weights = o.weights + column;
        const char* next = ahead.from;
        const int64_t stride = o.stride, half = ahead.bytes / (2 * piece_bytes / 4);
        // One loop: at the seams of two nested ones, compilers put the sums into memory and back.
        for (int64_t k = 0; k < o.pieces * piece_bytes / 4; k++, weights += panel_columns, next += 2 * half) {
            __builtin_prefetch(next, 0, 2);
            __builtin_prefetch(next + half, 0, 2);
            Register w0 = V::load(weights), w1 = V::load(weights + V::lanes);
#pragma GCC unroll 12
            for (int r = 0; r < N; r++) {
                Register number = V::all(x[r / 3][r % 3 * stride]);
                sums[r][0] = V::fma(number, w0, sums[r][0]);
                sums[r][1] = V::fma(number, w1, sums[r][1]);
            }
#pragma GCC unroll 4
            for (int p = 0; p < pointers; p++) x[p]++;
        }
        for (int r = 0; r < N; r++)
            for (int c = 0; c < 2; c++) V::store(o.sums + r * panel_columns + column + c * V::lanes, sums[r][c]);
    }
};

}  // namespace
