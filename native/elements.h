// The two kinds of element, and how they fill 32-bit words.
//
// All matrix products here take one factor as words: an fp32 number, or two neighbouring bf16 numbers of the
// dimension that is summed over. Words travel as `float` whatever they hold; nothing computes with them but
// the products. bf16 is included only where the compiler targets AVX-512 BF16 or AMX.
#pragma once

#include <stdint.h>
#include <string.h>

namespace {

// Rows of words or of numbers, `stride` apart.
struct Matrix {
    float* data;
    int64_t stride;

    float* at(int64_t row, int64_t column) const { return data + row * stride + column; }
};

template <class V>
struct Fp32 {
    using Element = float;
    using Register = typename V::Register;
    static constexpr int per_word = 1;

    // 2^x on [0, 1] to 7.5e-8, relative: the minimax polynomial, highest power first.
    static constexpr float exp2[] = {1.877576668e-3f, 8.989340145e-3f, 5.582631797e-2f,
                                     2.401536171e-1f, 6.931530732e-1f, 9.999999251e-1f};

    // `count` elements as words of one register, zeros beyond them.
    static Register load_words(const Element* from, int count) { return V::load_part(from, count); }
    // A register of words from each column of `rows` rows (0 or 1).
    static Register load_columns(const Element* from, int64_t, int rows, int columns) {
        return rows > 0 ? V::load_part(from, columns) : V::zero();
    }
    static void store_words(float* to, Register low, Register high) {
        V::store(to, low);
        V::store(to + V::lanes, high);
    }
    static Register load_elements(const Element* from, int count) { return V::load_part(from, count); }
    static void store_elements(Element* to, Register x, int count) { V::store_part(to, x, count); }
    static float number(Element x) { return x; }
};

#ifdef __AVX512BF16__
struct Bf16 {
    using V = Avx512;
    using Element = uint16_t;
    using Register = V::Register;
    static constexpr int per_word = 2;

    // To 7.5e-5: the rounding to bf16 that follows errs by up to 3.9e-3.
    static constexpr float exp2[] = {7.802452204e-2f, 2.260671587e-1f, 6.958335380e-1f, 9.999252189e-1f};

    static Register load_words(const Element* from, int count) {
        __mmask32 wanted = count >= 32 ? ~0u : (1u << count) - 1;
        return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(wanted, from));
    }
    // The elements of two rows side by side, the first row's in the lower halves; missing rows (`rows` < 2)
    // are 0.
    static Register load_columns(const Element* from, int64_t stride, int rows, int columns) {
        __mmask16 wanted = V::lanes_below(columns);
        __mmask16 first = rows > 0 ? wanted : 0, second = rows > 1 ? wanted : 0;
        __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first, from));
        __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(second, second ? from + stride : from));
        return _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
    static void store_words(float* to, Register low, Register high) {
        _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
    static Register load_elements(const Element* from, int count) {
        __m256i halves = _mm256_maskz_loadu_epi16(V::lanes_below(count), from);
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
    }
    static float number(Element x) {
        uint32_t bits = (uint32_t)x << 16;
        float result;
        memcpy(&result, &bits, sizeof result);
        return result;
    }
    static void store_elements(Element* to, Register x, int count) {
        _mm256_mask_storeu_epi16(to, V::lanes_below(count), (__m256i)_mm512_cvtneps_pbh(x));
    }
};
#endif

}  // namespace
