// fp32 by AVX2 and FMA: what nearly every x86-64 laptop has.
#include "vector_avx2.h"

#include "flash.h"
#include "passes.h"
#include "register_products.h"
#include "register_tiles.h"

namespace {

struct Avx2Fp32 {
    using Vector = Avx2;
    using Elements = Fp32<Avx2>;
    // 6 x 2 sums, 2 registers of keys and the queries' word fill 15 of 16 registers.
    static constexpr int rows = 6, panel = 16, depth_multiple = 1, key_block = 192, query_block = 96;

    struct Session {};
    static Vector::Register multiply_add(Vector::Register sum, Vector::Register a, Vector::Register b) {
        return Vector::fma(a, b, sum);
    }
    static void product(Matrix a, Matrix b, int64_t depth, Matrix out, int columns, bool accumulate) {
        product_by_tiles<Avx2Fp32, 2>(a, b, depth, out, columns, accumulate);
    }
};

using Avx2Product = RegisterProduct<Avx2, 6>;

}  // namespace

WEFT_FORM(avx2_fp32, Avx2Fp32)
WEFT_PASSES(avx2_fp32, Avx2, Fp32<Avx2>)
WEFT_PRODUCT(avx2_fp32, Avx2Product)
