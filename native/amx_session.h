// The shapes of the AMX tiles, which every thread sets for itself.
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace {

// The operand of ldtilecfg: eight tiles of 16 rows of 64 bytes.
struct alignas(64) TileShapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

// The tiles' shapes belong to the thread, and torch's kernels set them too: they are given back as found.
class AmxSession {
    TileShapes callers;

public:
    AmxSession() {
        // In static memory, because ldtilecfg's wrapper tells the compiler of its first bytes only.
        static const TileShapes ours = {
            1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
        _tile_storeconfig(&callers);
        _tile_loadconfig(&ours);
    }
    ~AmxSession() { _tile_loadconfig(&callers); }
};

}  // namespace
