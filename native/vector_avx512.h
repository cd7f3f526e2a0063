// Sixteen fp32 lanes (AVX-512 F, BW, DQ, VL).
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace {

struct Avx512 {
    using Register = __m512;
    static constexpr int lanes = 16;

    static Register zero() { return _mm512_setzero_ps(); }
    static Register all(float x) { return _mm512_set1_ps(x); }
    static Register load(const float* from) { return _mm512_loadu_ps(from); }
    static void store(float* to, Register x) { _mm512_storeu_ps(to, x); }
    static Register add(Register a, Register b) { return _mm512_add_ps(a, b); }
    static Register sub(Register a, Register b) { return _mm512_sub_ps(a, b); }
    static Register mul(Register a, Register b) { return _mm512_mul_ps(a, b); }
    static Register div(Register a, Register b) { return _mm512_div_ps(a, b); }
    static Register min(Register a, Register b) { return _mm512_min_ps(a, b); }
    static Register absolute(Register x) { return _mm512_abs_ps(x); }
    static Register max(Register a, Register b) { return _mm512_max_ps(a, b); }
    static Register fma(Register a, Register b, Register c) { return _mm512_fmadd_ps(a, b, c); }
    static float largest(Register x) { return _mm512_reduce_max_ps(x); }
    static bool any_above(Register x, Register limit) {
        return _mm512_cmp_ps_mask(x, limit, _CMP_GT_OQ) != 0;
    }
    static float sum(Register x) { return _mm512_reduce_add_ps(x); }

    static __mmask16 lanes_below(int count) {
        return count >= lanes ? 0xffff : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
    }

    // The first `count` lanes of x, `other` in the rest.
    static Register keep(Register x, int count, float other) {
        return _mm512_mask_blend_ps(lanes_below(count), all(other), x);
    }
    static Register load_part(const float* from, int count) {
        return _mm512_maskz_loadu_ps(lanes_below(count), from);
    }
    static void store_part(float* to, Register x, int count) {
        _mm512_mask_storeu_ps(to, lanes_below(count), x);
    }

    // exp2 takes powers of any size here, since times_power ends at 0.
    static Register above_underflow(Register x) { return x; }
    // What x is above the next whole number below.
    static Register part(Register x) {
        return _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    }
    // y * 2^floor(x).
    static Register times_power(Register y, Register x) { return _mm512_scalef_ps(y, x); }

    // Rows become columns, in 32-bit words: four rounds, in each of which words 1, 2, 4, 8 rows apart trade
    // places.
    static void transpose(Register rows[lanes]) {
        __m512i a[16], b[16];
        for (int i = 0; i < 16; i++) a[i] = _mm512_castps_si512(rows[i]);
        for (int i = 0; i < 16; i += 2) {
            b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
            b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
        }
        for (int i = 0; i < 16; i += 4)
            for (int j = 0; j < 2; j++) {
                a[i + 2 * j] = _mm512_unpacklo_epi64(b[i + j], b[i + j + 2]);
                a[i + 2 * j + 1] = _mm512_unpackhi_epi64(b[i + j], b[i + j + 2]);
            }
        for (int i = 0; i < 16; i += 8)
            for (int j = 0; j < 4; j++) {
                b[i + j] = _mm512_shuffle_i32x4(a[i + j], a[i + j + 4], 0x88);
                b[i + j + 4] = _mm512_shuffle_i32x4(a[i + j], a[i + j + 4], 0xdd);
            }
        for (int i = 0; i < 8; i++) {
            rows[i] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(b[i], b[i + 8], 0x88));
            rows[i + 8] = _mm512_castsi512_ps(_mm512_shuffle_i32x4(b[i], b[i + 8], 0xdd));
        }
    }
};

}  // namespace
