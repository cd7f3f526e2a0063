// What Python hands to a kernel: one attention call, laid out exactly as diffusion/networks/native_attention.py's
// ctypes structure. Every form exports the same two functions, named after itself (WEFT_FORM in flash.h).
#pragma once

#include "export.h"

// A token-major tensor [batch, tokens, heads * width]; strides are in elements, and a head's own values
// are next to each other.
struct Tokens {
    void* data;
    int64_t batch_stride;
    int64_t token_stride;
};

struct AttentionCall {
    Tokens query, key, value, out;
    int64_t batch, heads, queries, keys, width;
    float scale;
    int32_t threads;  // the most that will work on this call

    // Scratch memory of workspace_bytes, aligned to 64 bytes, its content undefined.
    char* workspace;

    // Threads claim work by counting these up; Python hands them over as zeros.
    int64_t threads_started, packs_claimed, packs_done, blocks_claimed;
};
