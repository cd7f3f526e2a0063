// Which instructions this processor, and this system, let a program use. Compiled for any x86-64.
#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attention.h"

namespace {

struct Registers {
    uint32_t eax, ebx, ecx, edx;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
    Registers r = {};
    __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
    return r;
}

bool bit(uint32_t word, int number) { return word >> number & 1; }

// The register sets that the system saves when it switches threads (XCR0).
uint32_t saved_state() {
    if (!bit(cpuid(1, 0).ecx, 27)) return 0;  // OSXSAVE
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

// Linux grants the tiles' 8 KiB of state to a process that asks for them.
bool tiles_granted() {
    constexpr int request_permission = 0x1023, tile_data = 18;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

}  // namespace

// Whether the form of this name can run here; asks the system for the tiles if it needs them.
WEFT_EXPORT int weft_cpu_runs(const char* form) {
    constexpr uint32_t avx_state = 0x6, avx512_state = 0xe6, tile_state = 0x60000;
    uint32_t state = saved_state();
    Registers basic = cpuid(1, 0), extended = cpuid(7, 0), more = cpuid(7, 1);
    bool avx2 = (state & avx_state) == avx_state && bit(basic.ecx, 12) && bit(extended.ebx, 5);
    bool avx512 = avx2 && (state & avx512_state) == avx512_state && bit(extended.ebx, 16) &&  // F
                  bit(extended.ebx, 17) && bit(extended.ebx, 30) && bit(extended.ebx, 31);    // DQ, BW, VL
    bool avx512_bf16 = avx512 && bit(more.eax, 5);
    bool amx_bf16 =
        avx512_bf16 && (state & tile_state) == tile_state && bit(extended.edx, 22) && bit(extended.edx, 24);
    if (!strcmp(form, "avx2_fp32")) return avx2;
    if (!strcmp(form, "avx512_fp32")) return avx512;
    if (!strcmp(form, "avx512_bf16")) return avx512_bf16;
    if (!strcmp(form, "amx_bf16")) return amx_bf16 && tiles_granted();
    return false;
}

// A digest of all the sources that this library was built from, so that a program that was changed since can tell.
WEFT_EXPORT const char* weft_built_from() { return WEFT_BUILT_FROM; }
