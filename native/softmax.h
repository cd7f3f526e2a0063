// The online softmax of one row (Milakov and Gimelshein 2018; as FlashAttention uses it, Dao et al. 2022).
#pragma once

#include "elements.h"

namespace {

// exp2 by range reduction to [0, 1] and a polynomial as exact as the elements need.
template <class V, class E>
inline typename V::Register exp2_of(typename V::Register x) {
    x = V::above_underflow(x);
    typename V::Register part = V::part(x);
    typename V::Register power = V::all(E::exp2[0]);
    for (unsigned i = 1; i < sizeof(E::exp2) / sizeof(float); i++)
        power = V::fma(power, part, V::all(E::exp2[i]));
    return V::times_power(power, x);
}

// What a row of queries remembers from one block of keys to the next.
template <class V>
struct RowState {
    float maximum;          // subtracted from every score, in the products' own units
    float limit;            // scores above this move the maximum
    float total[V::lanes];  // the sum of the weights so far, one part in each lane
};

// Weights may grow to 2^this before the maximum is moved. Moving it costs a pass over the row's output; in
// floating point, weights up to 64 are as exact as weights up to 1.
constexpr float headroom = 6.0f;

// Stands for minus infinity, and can be subtracted from.
constexpr float masked = -1e30f;

// Turns `columns` scores of a row into weights exp2((score - maximum) * scale), written over the scores as
// words, and adds them to the row's total. If the maximum has to move, what was summed before is scaled to
// the new one: the total and the row's output [out_columns].
template <class V, class E>
inline void weigh(float* scores, int columns, float scale, bool first_block, RowState<V>& row, float* out,
                  int out_columns) {
    using Register = typename V::Register;
    Register low_largest = V::load(scores), high_largest = V::load(scores + V::lanes);
    for (int i = 2 * V::lanes; i < columns; i += 2 * V::lanes) {
        low_largest = V::max(low_largest, V::load(scores + i));
        high_largest = V::max(high_largest, V::load(scores + i + V::lanes));
    }
    Register largest = V::max(low_largest, high_largest);
    if (first_block) {
        row.maximum = V::largest(largest);
        row.limit = row.maximum + headroom / scale;
        V::store(row.total, V::zero());
    } else if (V::any_above(largest, V::all(row.limit))) {
        float maximum = V::largest(largest);
        Register shrink = exp2_of<V, E>(V::all((row.maximum - maximum) * scale));
        row.maximum = maximum;
        row.limit = maximum + headroom / scale;
        V::store(row.total, V::mul(V::load(row.total), shrink));
        for (int i = 0; i < out_columns; i += V::lanes) V::store(out + i, V::mul(V::load(out + i), shrink));
    }

    // Subtracting before scaling is exact where it matters, however large the scores.
    Register shift = V::all(row.maximum), factor = V::all(scale);
    Register low_total = V::load(row.total), high_total = V::zero();
    for (int i = 0; i < columns; i += 2 * V::lanes) {
        Register low = exp2_of<V, E>(V::mul(V::sub(V::load(scores + i), shift), factor));
        Register high = exp2_of<V, E>(V::mul(V::sub(V::load(scores + i + V::lanes), shift), factor));
        low_total = V::add(low_total, low);
        high_total = V::add(high_total, high);
        E::store_words(scores + i / E::per_word, low, high);
    }
    V::store(row.total, V::add(low_total, high_total));
}

// Hides the columns from `live` on: keys that only fill up the last block.
template <class V>
inline void mask_tail(float* scores, int live, int columns) {
    for (int i = live / V::lanes * V::lanes; i < columns; i += V::lanes)
        V::store(scores + i, V::keep(V::load(scores + i), live - i, masked));
}

}  // namespace
