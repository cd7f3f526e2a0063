// bf16 in, fp32 sums, by AVX-512 BF16: vdpbf16ps adds two products to each of sixteen sums.
#include "vector_avx512.h"

#include "flash.h"
#include "passes.h"
#include "register_tiles.h"

namespace {

struct Avx512Bf16 {
    using Vector = Avx512;
    using Elements = Bf16;
    // 6 x 4 sums, 4 registers of keys and the queries' word fill 29 of 32 registers.
    static constexpr int rows = 6, panel = 64, depth_multiple = 1, key_block = 256, query_block = 96;

    struct Session {};
    static Vector::Register multiply_add(Vector::Register sum, Vector::Register a, Vector::Register b) {
        return _mm512_dpbf16_ps(sum, (__m512bh)b, (__m512bh)a);
    }
    static void product(Matrix a, Matrix b, int64_t depth, Matrix out, int columns, bool accumulate) {
        product_by_tiles<Avx512Bf16, 4>(a, b, depth, out, columns, accumulate);
    }
};

}  // namespace

WEFT_FORM(avx512_bf16, Avx512Bf16)
WEFT_PASSES(avx512_bf16, Avx512, Bf16)
