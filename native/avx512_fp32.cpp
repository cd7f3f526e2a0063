// fp32 by AVX-512.
#include "vector_avx512.h"

#include "flash.h"
#include "passes.h"
#include "register_products.h"
#include "register_tiles.h"

namespace {

struct Avx512Fp32 {
    using Vector = Avx512;
    using Elements = Fp32<Avx512>;
    // 6 x 4 sums, 4 registers of keys and the queries' word fill 29 of 32 registers.
    static constexpr int rows = 6, panel = 64, depth_multiple = 1, key_block = 256, query_block = 96;

    struct Session {};
    static Vector::Register multiply_add(Vector::Register sum, Vector::Register a, Vector::Register b) {
        return Vector::fma(a, b, sum);
    }
    static void product(Matrix a, Matrix b, int64_t depth, Matrix out, int columns, bool accumulate) {
        product_by_tiles<Avx512Fp32, 4>(a, b, depth, out, columns, accumulate);
    }
};

using Avx512Product = RegisterProduct<Avx512, 12>;

}  // namespace

WEFT_FORM(avx512_fp32, Avx512Fp32)
WEFT_PASSES(avx512_fp32, Avx512, Fp32<Avx512>)
WEFT_PRODUCT(avx512_fp32, Avx512Product)
