// What Python hands to the passes of passes.h, laid out exactly as the ctypes structures of
// diffusion/networks/native_passes.py. Threads claim work by counting up; Python hands the counters over as zeros.
#pragma once

#include "export.h"

// out [rows, hidden] = projected[:, :hidden] * gelu(projected[:, hidden:])
struct GegluCall {
    void *projected, *out;
    int64_t rows, hidden;
    int64_t claimed;
};

// sum = x + added, out = layer norm of the sum; without `added`, of x. All [rows, channels].
// wide: 0 or 1, x and sum are fp32, whatever the rest is.
struct LayerNormCall {
    void *x, *added, *weight, *bias, *sum, *out;
    int64_t rows, channels;
    float eps;
    int32_t wide;
    int64_t claimed;
};

// out = group norm of x + shift, both [batch, rows, channels], shift the same in every row (its own for each of the
// batch, shift_stride apart, or one for all with a stride of 0), or null. silu: 0 or 1, the activation after it. wide: 0 or 1, x is fp32,
// whatever the rest is.
struct GroupNormCall {
    void *x, *shift, *weight, *bias, *out;
    int64_t shift_stride;
    int64_t batch, rows, channels, groups;
    float eps;
    int32_t silu, wide;
    int64_t threads;  // the most that will work on this call
    float* workspace;
    int64_t threads_started, measures_claimed, measures_done, combines_claimed, combines_done, applies_claimed;
};
