// Eight fp32 lanes (AVX2 and FMA).
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace {

struct Avx2 {
    using Register = __m256;
    static constexpr int lanes = 8;

    static Register zero() { return _mm256_setzero_ps(); }
    static Register all(float x) { return _mm256_set1_ps(x); }
    static Register load(const float* from) { return _mm256_loadu_ps(from); }
    static void store(float* to, Register x) { _mm256_storeu_ps(to, x); }
    static Register add(Register a, Register b) { return _mm256_add_ps(a, b); }
    static Register sub(Register a, Register b) { return _mm256_sub_ps(a, b); }
    static Register mul(Register a, Register b) { return _mm256_mul_ps(a, b); }
    static Register div(Register a, Register b) { return _mm256_div_ps(a, b); }
    static Register min(Register a, Register b) { return _mm256_min_ps(a, b); }
    static Register absolute(Register x) { return _mm256_andnot_ps(all(-0.0f), x); }
    static Register max(Register a, Register b) { return _mm256_max_ps(a, b); }
    static Register fma(Register a, Register b, Register c) { return _mm256_fmadd_ps(a, b, c); }

    static float largest(Register x) {
        __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
        __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
    }
    static bool any_above(Register x, Register limit) {
        return _mm256_movemask_ps(_mm256_cmp_ps(x, limit, _CMP_GT_OQ)) != 0;
    }
    static float sum(Register x) {
        __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
        __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
    }

    static __m256i lanes_below(int count) {
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    }

    // The first `count` lanes of x, `other` in the rest.
    static Register keep(Register x, int count, float other) {
        return _mm256_blendv_ps(all(other), x, _mm256_castsi256_ps(lanes_below(count)));
    }
    static Register load_part(const float* from, int count) {
        return _mm256_maskload_ps(from, lanes_below(count));
    }
    static void store_part(float* to, Register x, int count) {
        _mm256_maskstore_ps(to, lanes_below(count), x);
    }

    // The smallest power of two that is a normal number stands for every smaller one.
    static Register above_underflow(Register x) { return max(x, all(-126.0f)); }
    // What x is above the next whole number below.
    static Register part(Register x) { return sub(x, _mm256_floor_ps(x)); }
    // y * 2^floor(x), for powers that are normal numbers.
    static Register times_power(Register y, Register x) {
        __m256i exponent = _mm256_cvtps_epi32(_mm256_floor_ps(x));
        __m256i power = _mm256_slli_epi32(_mm256_add_epi32(exponent, _mm256_set1_epi32(127)), 23);
        return mul(y, _mm256_castsi256_ps(power));
    }

    // Rows become columns: three rounds, in each of which lanes 1, 2, 4 rows apart trade places.
    static void transpose(Register rows[lanes]) {
        Register a[8], b[8];
        for (int i = 0; i < 8; i += 2) {
            a[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
            a[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
        }
        for (int i = 0; i < 8; i += 4)
            for (int j = 0; j < 2; j++) {
                b[i + 2 * j] = _mm256_shuffle_ps(a[i + j], a[i + j + 2], 0x44);
                b[i + 2 * j + 1] = _mm256_shuffle_ps(a[i + j], a[i + j + 2], 0xee);
            }
        for (int i = 0; i < 4; i++) {
            rows[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
            rows[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
        }
    }
};

}  // namespace
