// What Python hands to the products of amx_products.h, laid out exactly as the ctypes structure of
// diffusion/networks/native_products.py. Threads claim work by counting up; Python hands the counters over as zeros.
#pragma once

#include "export.h"

// out [rows, columns] = x [rows, depth] * weight [depth, columns] + bias [columns] + added [rows, columns].
// bias and added may be null. wide_added, wide_out: 0 or 1, these are fp32, whatever the rest is.
//
// gated: columns come in panels of 16 values and their 16 gates, and out [rows, columns / 2] = value * gelu(gate).
//
// kernel 1: x is those rows. 2 or 3: x is [batch, height, width, depth / kernel^2], and a row is the neighbourhood
// of a pixel, kernel x kernel, whose first pixel lies one above and one to the left of it; neighbours outside of the
// picture are 0. Rows are those of [batch, out_height, out_width], `stride` pixels apart.
struct ProductCall {
    const void *x, *weight, *bias, *added;
    void* out;
    int64_t rows, depth, columns;
    int64_t gated, wide_added, wide_out;
    int64_t kernel, stride, height, width, out_height, out_width;
    int64_t block_rows, chunks;   // how rows and columns are shared out
    int64_t workspace_bytes;      // of each thread
    char* workspace;
    int64_t threads_started, claimed;
};

// weight [columns, depth], dense, to the order in which a form reads it, as much again.
struct PackCall {
    const void* weight;
    void* out;
    int64_t columns, depth, gated;
    int64_t claimed;
};
