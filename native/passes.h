// The passes between matrix products, each over its tensor as few times as it can be: the gate of a feed-forward
// layer, layer norm with the addition before it, group norm with the activation after it. Eager PyTorch makes a
// pass for every operator, and with fast products those passes are a third of the time.
//
// Tensors are [rows, channels], dense: pictures channels-last. Arithmetic is fp32 whatever the elements are. What a
// norm reads may come in a kind of its own, S: a residual stream in fp32 keeps what rounding it at every layer loses.
// Work is claimed in blocks that fit the L2, so a second look at a block costs no memory traffic.
#pragma once

#include <math.h>
#include <sched.h>

#include "passes_calls.h"
#include "softmax.h"

namespace {

// How many rows of this many bytes make a block.
inline int64_t rows_per_block(int64_t row_bytes) {
    constexpr int64_t block_bytes = 64 << 10;
    return row_bytes >= block_bytes ? 1 : block_bytes / row_bytes;
}

template <class V, class E>
struct Passes {
    using Register = typename V::Register;
    using Element = typename E::Element;

    static Register reciprocal(Register x) { return V::div(V::all(1.0f), x); }
    static Register power_of_e(Register x) { return exp2_of<V, E>(V::mul(x, V::all(1.442695041f))); }
    // x / (1 + e^-x). Below -87, e^-x overflows where the result is 0 in any precision.
    static Register silu(Register x) {
        Register bounded = V::max(x, V::all(-87.0f));
        return V::div(x, V::add(V::all(1.0f), power_of_e(V::sub(V::zero(), bounded))));
    }
    // x / 2 (1 + erf(x / sqrt 2)), erf to 1.5e-7 (Abramowitz and Stegun, 7.1.26).
    static Register gelu(Register x) {
        Register size = V::mul(V::absolute(x), V::all(0.7071067812f));
        Register t = reciprocal(V::fma(size, V::all(0.3275911f), V::all(1.0f)));
        Register series = V::all(1.061405429f);
        series = V::fma(series, t, V::all(-1.453152027f));
        series = V::fma(series, t, V::all(1.421413741f));
        series = V::fma(series, t, V::all(-0.284496736f));
        series = V::mul(V::fma(series, t, V::all(0.254829592f)), t);
        // The square is bounded where its exponential is 0 in any precision.
        Register square = V::min(V::mul(size, size), V::all(87.0f));
        Register erf = V::sub(V::all(1.0f), V::mul(series, power_of_e(V::sub(V::zero(), square))));
        Register half = V::mul(x, V::all(0.5f));
        return V::fma(V::absolute(half), erf, half);
    }

    template <class Kind = E>
    static typename Kind::Element* element(void* data, int64_t offset) {
        return static_cast<typename Kind::Element*>(data) + offset;
    }

    // Counts `claimed` up until all of `count` items are done, by this thread or others.
    template <class Work>
    static void share(int64_t& claimed, int64_t& done, int64_t count, Work work) {
        int64_t item;
        while ((item = __atomic_fetch_add(&claimed, 1, __ATOMIC_RELAXED)) < count) {
            work(item);
            __atomic_fetch_add(&done, 1, __ATOMIC_RELEASE);
        }
        // Only threads that are already running can hold a claim, so this ends even if others never start.
        while (__atomic_load_n(&done, __ATOMIC_ACQUIRE) < count) sched_yield();
    }

    static void geglu(GegluCall& call) {
        int64_t block = rows_per_block(3 * call.hidden * sizeof(Element));
        int64_t count = (call.rows + block - 1) / block, item;
        while ((item = __atomic_fetch_add(&call.claimed, 1, __ATOMIC_RELAXED)) < count)
            for (int64_t row = item * block; row < call.rows && row < (item + 1) * block; row++) {
                Element* value = element(call.projected, row * 2 * call.hidden);
                Element* out = element(call.out, row * call.hidden);
                for (int64_t i = 0; i < call.hidden; i += V::lanes) {
                    int live = call.hidden - i;
                    Register gate = gelu(E::load_elements(value + call.hidden + i, live));
                    E::store_elements(out + i, V::mul(E::load_elements(value + i, live), gate), live);
                }
            }
    }

    static void layer_norm(LayerNormCall& call) {
        call.wide ? layer_norm_of<Fp32<V>>(call) : layer_norm_of<E>(call);
    }

private:
    template <class S>
    static void layer_norm_of(LayerNormCall& call) {
        int64_t block = rows_per_block(2 * call.channels * (sizeof(Element) + sizeof(typename S::Element)));
        int64_t count = (call.rows + block - 1) / block, item;
        while ((item = __atomic_fetch_add(&call.claimed, 1, __ATOMIC_RELAXED)) < count)
            for (int64_t row = item * block; row < call.rows && row < (item + 1) * block; row++)
                norm_row<S>(call, row * call.channels);
    }

    template <class S>
    static void norm_row(LayerNormCall& call, int64_t start) {
        typename S::Element* x = element<S>(call.x, start);
        if (call.added) {
            typename S::Element* sum = element<S>(call.sum, start);
            Element* added = element(call.added, start);
            for (int64_t i = 0; i < call.channels; i += V::lanes) {
                int live = call.channels - i;
                S::store_elements(sum + i,
                                  V::add(S::load_elements(x + i, live), E::load_elements(added + i, live)), live);
            }
            x = sum;
        }
        Register total = V::zero(), squares = V::zero();
        for (int64_t i = 0; i < call.channels; i += V::lanes)
            total = V::add(total, S::load_elements(x + i, call.channels - i));
        Register mean = V::all(V::sum(total) / call.channels);
        for (int64_t i = 0; i < call.channels; i += V::lanes) {
            int live = call.channels - i;
            Register apart = V::keep(V::sub(S::load_elements(x + i, live), mean), live, 0.0f);
            squares = V::fma(apart, apart, squares);
        }
        Register scale = V::all(1.0f / sqrtf(V::sum(squares) / call.channels + call.eps));
        Element *weight = element(call.weight, 0), *bias = element(call.bias, 0), *out = element(call.out, start);
        for (int64_t i = 0; i < call.channels; i += V::lanes) {
            int live = call.channels - i;
            Register unit = V::mul(V::sub(S::load_elements(x + i, live), mean), scale);
            E::store_elements(
                out + i, V::fma(unit, E::load_elements(weight + i, live), E::load_elements(bias + i, live)), live);
        }
    }

public:
    // Group norm in three rounds: every block's mean and squares about it (per group); of these the whole picture's
    // (Chan et al. 1979), as three numbers for every channel: what is subtracted, multiplied by and added; and these
    // applied, block by block. Subtracting first keeps the precision of pictures whose mean is far from 0.
    template <class S>
    struct GroupNorm {
        using Read = typename S::Element;

        GroupNormCall& call;
        int64_t block = block_rows(call);
        int64_t blocks = (call.rows + block - 1) / block;
        int64_t group_channels = call.channels / call.groups;
        // In the workspace: {mean, squares} [batch, blocks, groups]; factors [batch, 3, channels]; scratch
        // of 2 * channels for each thread.
        float* moments = call.workspace;
        float* factors = moments + 2 * call.batch * blocks * call.groups;
        float* scratch;

        explicit GroupNorm(GroupNormCall& call) : call(call) {
            int64_t thread = __atomic_fetch_add(&call.threads_started, 1, __ATOMIC_RELAXED);
            scratch = factors + 3 * call.batch * call.channels + thread * 2 * call.channels;
        }
        static int64_t block_rows(const GroupNormCall& call) {
            return rows_per_block(call.channels * (sizeof(Read) + sizeof(Element)));
        }
        static int64_t workspace_bytes(const GroupNormCall& call) {
            int64_t block = block_rows(call), blocks = (call.rows + block - 1) / block;
            return sizeof(float) * (2 * call.batch * blocks * call.groups +
                                    (3 * call.batch + 2 * call.threads) * call.channels);
        }

        template <class Kind>
        typename Kind::Element* row(void* data, int64_t picture, int64_t number) {
            return element<Kind>(data, (picture * call.rows + number) * call.channels);
        }
        Element* shift(int64_t picture) {
            return element(call.shift, picture * call.shift_stride);
        }
        int64_t end(int64_t number) { return number + block < call.rows ? number + block : call.rows; }

        // x + shift
        Register shifted(Read* x, int64_t picture, int64_t i, int live) {
            Register value = S::load_elements(x + i, live);
            return call.shift ? V::add(value, E::load_elements(shift(picture) + i, live)) : value;
        }

        // Folds each column of the block's rows, several registers abreast so that whole cache lines are read.
        template <class Fold>
        void sum_rows(int64_t first, int64_t last, int64_t picture, float* sums, Fold fold) {
            constexpr int abreast = 4;
            for (int64_t i = 0; i < call.channels; i += abreast * V::lanes) {
                Register sum[abreast];
                for (int k = 0; k < abreast; k++) sum[k] = V::zero();
                for (int64_t r = first; r < last; r++) {
                    Read* x = row<S>(call.x, picture, r);
                    for (int k = 0; k < abreast; k++) {
                        int64_t at = i + k * V::lanes;
                        sum[k] = fold(sum[k], shifted(x, picture, at, call.channels - at), at, call.channels - at);
                    }
                }
                for (int k = 0; k < abreast; k++) {
                    int64_t at = i + k * V::lanes;
                    V::store_part(sums + at, sum[k], call.channels - at);
                }
            }
        }

        void measure(int64_t item) {
            int64_t picture = item / blocks, first = item % blocks * block, last = end(first);
            float *sums = scratch, *means = scratch + call.channels;
            float* result = moments + 2 * item * call.groups;
            sum_rows(first, last, picture, sums, [](Register sum, Register x, int64_t, int) { return V::add(sum, x); });
            float count = (last - first) * group_channels;
            for (int64_t g = 0; g < call.groups; g++) {
                float total = 0;
                for (int64_t c = g * group_channels; c < (g + 1) * group_channels; c++) total += sums[c];
                result[2 * g] = total / count;
                for (int64_t c = g * group_channels; c < (g + 1) * group_channels; c++) means[c] = result[2 * g];
            }
            sum_rows(first, last, picture, sums, [&](Register sum, Register x, int64_t i, int live) {
                Register apart = V::sub(x, V::load_part(means + i, live));
                return V::fma(apart, apart, sum);
            });
            for (int64_t g = 0; g < call.groups; g++) {
                float total = 0;
                for (int64_t c = g * group_channels; c < (g + 1) * group_channels; c++) total += sums[c];
                result[2 * g + 1] = total;
            }
        }

        void combine(int64_t picture) {
            float* center = factors + 3 * picture * call.channels;
            float *slope = center + call.channels, *bias = slope + call.channels;
            for (int64_t g = 0; g < call.groups; g++) {
                double count = 0, mean = 0, squares = 0;
                for (int64_t b = 0; b < blocks; b++) {
                    const float* part = moments + 2 * ((picture * blocks + b) * call.groups + g);
                    double more = (end(b * block) - b * block) * group_channels, apart = part[0] - mean;
                    mean += apart * more / (count + more);
                    squares += part[1] + apart * apart * count * more / (count + more);
                    count += more;
                }
                double scale = 1 / sqrt(squares / count + call.eps);
                for (int64_t c = g * group_channels; c < (g + 1) * group_channels; c++) {
                    center[c] = call.shift ? mean - E::number(shift(picture)[c]) : mean;
                    slope[c] = E::number(*element(call.weight, c)) * scale;
                    bias[c] = E::number(*element(call.bias, c));
                }
            }
        }

        void apply(int64_t item) {
            int64_t picture = item / blocks, first = item % blocks * block, last = end(first);
            const float* center = factors + 3 * picture * call.channels;
            const float *slope = center + call.channels, *bias = slope + call.channels;
            for (int64_t r = first; r < last; r++) {
                Read* x = row<S>(call.x, picture, r);
                Element* out = row<E>(call.out, picture, r);
                for (int64_t i = 0; i < call.channels; i += V::lanes) {
                    int live = call.channels - i;
                    Register apart = V::sub(S::load_elements(x + i, live), V::load_part(center + i, live));
                    Register y = V::fma(apart, V::load_part(slope + i, live), V::load_part(bias + i, live));
                    E::store_elements(out + i, call.silu ? silu(y) : y, live);
                }
            }
        }

        void work() {
            share(call.measures_claimed, call.measures_done, call.batch * blocks, [&](int64_t i) { measure(i); });
            share(call.combines_claimed, call.combines_done, call.batch, [&](int64_t i) { combine(i); });
            int64_t item;
            while ((item = __atomic_fetch_add(&call.applies_claimed, 1, __ATOMIC_RELAXED)) < call.batch * blocks)
                apply(item);
        }
    };

    static void group_norm(GroupNormCall& call) {
        if (call.wide)
            GroupNorm<Fp32<V>>(call).work();
        else
            GroupNorm<E>(call).work();
    }
    static int64_t group_norm_workspace(const GroupNormCall& call) {
        return call.wide ? GroupNorm<Fp32<V>>::workspace_bytes(call) : GroupNorm<E>::workspace_bytes(call);
    }
};

}  // namespace

// What Python calls, each with a suffix that names the form.
#define WEFT_PASSES(name, V, E)                                                                               \
    WEFT_EXPORT void weft_geglu_##name(GegluCall* call) { Passes<V, E>::geglu(*call); }                      \
    WEFT_EXPORT void weft_layer_norm_##name(LayerNormCall* call) { Passes<V, E>::layer_norm(*call); }        \
    WEFT_EXPORT void weft_group_norm_##name(GroupNormCall* call) { Passes<V, E>::group_norm(*call); }        \
    WEFT_EXPORT int64_t weft_group_norm_##name##_workspace(const GroupNormCall* call) {                       \
        return Passes<V, E>::group_norm_workspace(*call);                                                    \
    }
