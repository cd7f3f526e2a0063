// bf16 products by AMX, two by two tiles of 16 x 16 sums along the depth.
#pragma once

#include "amx_session.h"
#include "products.h"

namespace {

struct AmxBf16Product {
    using Vector = Avx512;
    using Elements = Bf16;
    using Session = AmxSession;

    // A tile is a group of 16 rows; copied, its pieces lie together.
    static constexpr int64_t rows = 32, group = 16, most_depth = 1280, tile_bytes = 1024, piece_step = tile_bytes;
    // A step's weights are two tiles, a word of the depth in each row.
    static constexpr int64_t half_step = tile_bytes, word_step = 64;
    static int64_t row_bytes(int64_t) { return piece_bytes; }
    static int64_t group_bytes(int64_t pieces) { return pieces * tile_bytes; }

    // Tile registers are named by constants: sums in 0 to 3, rows in 4 and 5, weights in 6 and 7.
    static void multiply(const RowPieces& x, const char* weights, int64_t pieces, float* sums, bool accumulate,
                         Ahead ahead) {
        constexpr int64_t sums_bytes = panel_columns * 4;
        float* lower = sums + group * panel_columns;
        bool two = x.rows > group;
        if (accumulate) {
            _tile_loadd(0, sums, sums_bytes);
            _tile_loadd(1, sums + 16, sums_bytes);
            if (two) {
                _tile_loadd(2, lower, sums_bytes);
                _tile_loadd(3, lower + 16, sums_bytes);
            }
        } else {
            _tile_zero(0);
            _tile_zero(1);
            _tile_zero(2);
            _tile_zero(3);
        }
        if (two)
            two_by_two(x, weights, pieces, ahead);
        else
            one_by_two(x, weights, pieces, ahead);
        _tile_stored(0, sums, sums_bytes);
        _tile_stored(1, sums + 16, sums_bytes);
        if (two) {
            _tile_stored(2, lower, sums_bytes);
            _tile_stored(3, lower + 16, sums_bytes);
        }
    }

private:
    static void two_by_two(const RowPieces& x, const char* weights, int64_t pieces, Ahead ahead) {
        const char *upper = x.data, *lower = x.data + x.group_bytes;
        for (int64_t s = 0; s < pieces; s++, upper += x.piece_step, lower += x.piece_step, weights += 2 * tile_bytes) {
            ahead.fetch();
            _tile_loadd(4, upper, x.row_bytes);
            _tile_loadd(6, weights, piece_bytes);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(5, lower, x.row_bytes);
            _tile_dpbf16ps(2, 5, 6);
            _tile_loadd(7, weights + tile_bytes, piece_bytes);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(3, 5, 7);
        }
    }

    static void one_by_two(const RowPieces& x, const char* weights, int64_t pieces, Ahead ahead) {
        const char* upper = x.data;
        for (int64_t s = 0; s < pieces; s++, upper += x.piece_step, weights += 2 * tile_bytes) {
            ahead.fetch();
            _tile_loadd(4, upper, x.row_bytes);
            _tile_loadd(6, weights, piece_bytes);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, weights + tile_bytes, piece_bytes);
            _tile_dpbf16ps(1, 4, 7);
        }
    }
};

}  // namespace
