// bf16 in, fp32 sums, by AMX: one instruction multiplies a tile of 16 x 32 by one of 32 x 16 in 16 cycles,
// sixteen times the rate of AVX-512 BF16. That leaves the softmax as half of the work.
#include "vector_avx512.h"

#include "amx_products.h"
#include "amx_session.h"
#include "flash.h"

namespace {

struct AmxBf16 {
    using Vector = Avx512;
    using Elements = Bf16;
    // Two by two tiles of sums, two of a and two of b are all eight there are. A tile of a is 16 words deep.
    static constexpr int rows = 32, panel = 32, depth_multiple = 16, key_block = 256, query_block = 64;

    using Session = AmxSession;

    static void product(Matrix a, Matrix b, int64_t depth, Matrix out, int columns, bool accumulate) {
        int column = 0;
        for (; column + 32 <= columns; column += 32) two_by_two(a, b, depth, out, column, accumulate);
        if (column < columns) two_by_one(a, b, depth, out, column, accumulate);
    }

private:
    // Tile registers are named by constants: sums in 0 to 3, a in 4 and 5, b in 6 and 7.
    static void two_by_two(Matrix a, Matrix b, int64_t depth, Matrix out, int column, bool accumulate) {
        const int64_t a_bytes = 4 * a.stride, b_bytes = 4 * b.stride, out_bytes = 4 * out.stride;
        float *sums0 = out.at(0, column), *sums1 = sums0 + 16;
        float *sums2 = out.at(16, column), *sums3 = sums2 + 16;
        if (accumulate) {
            _tile_loadd(0, sums0, out_bytes);
            _tile_loadd(1, sums1, out_bytes);
            _tile_loadd(2, sums2, out_bytes);
            _tile_loadd(3, sums3, out_bytes);
        } else {
            _tile_zero(0);
            _tile_zero(1);
            _tile_zero(2);
            _tile_zero(3);
        }
        for (int64_t k = 0; k < depth; k += 16) {
            _tile_loadd(6, b.at(k, column), b_bytes);
            _tile_loadd(7, b.at(k, column + 16), b_bytes);
            _tile_loadd(4, a.at(0, k), a_bytes);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, a.at(16, k), a_bytes);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        _tile_stored(0, sums0, out_bytes);
        _tile_stored(1, sums1, out_bytes);
        _tile_stored(2, sums2, out_bytes);
        _tile_stored(3, sums3, out_bytes);
    }

    static void two_by_one(Matrix a, Matrix b, int64_t depth, Matrix out, int column, bool accumulate) {
        const int64_t a_bytes = 4 * a.stride, b_bytes = 4 * b.stride, out_bytes = 4 * out.stride;
        float *sums0 = out.at(0, column), *sums2 = out.at(16, column);
        if (accumulate) {
            _tile_loadd(0, sums0, out_bytes);
            _tile_loadd(2, sums2, out_bytes);
        } else {
            _tile_zero(0);
            _tile_zero(2);
        }
        for (int64_t k = 0; k < depth; k += 16) {
            _tile_loadd(6, b.at(k, column), b_bytes);
            _tile_loadd(4, a.at(0, k), a_bytes);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(5, a.at(16, k), a_bytes);
            _tile_dpbf16ps(2, 5, 6);
        }
        _tile_stored(0, sums0, out_bytes);
        _tile_stored(2, sums2, out_bytes);
    }
};

}  // namespace

WEFT_FORM(amx_bf16, AmxBf16)
WEFT_PRODUCT(amx_bf16, AmxBf16Product)
