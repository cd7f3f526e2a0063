// Products for processors whose multiply-add takes whole registers: a tile of the result stays in registers
// while the summed dimension goes by. Each step loads one row of b, and multiplies it by a word of each row
// of a.
#pragma once

#include "elements.h"

namespace {

// out[rows][Columns registers] = or += a[rows][depth] b[depth][Columns registers], from `column` on.
// Never inlined: among the caller's variables, clang runs out of registers and keeps sums in memory.
template <class Form, int Columns>
__attribute__((noinline)) void register_tile(Matrix a, Matrix b, int64_t depth, Matrix out, int column,
                                             bool accumulate) {
    using V = typename Form::Vector;
    typename V::Register sums[Form::rows][Columns];
    for (int i = 0; i < Form::rows; i++)
        for (int j = 0; j < Columns; j++)
            sums[i][j] = accumulate ? V::load(out.at(i, column + j * V::lanes)) : V::zero();
    for (int64_t k = 0; k < depth; k++) {
        typename V::Register row[Columns];
        for (int j = 0; j < Columns; j++) row[j] = V::load(b.at(k, column + j * V::lanes));
        for (int i = 0; i < Form::rows; i++) {
            typename V::Register word = V::all(*a.at(i, k));
            for (int j = 0; j < Columns; j++) sums[i][j] = Form::multiply_add(sums[i][j], word, row[j]);
        }
    }
    for (int i = 0; i < Form::rows; i++)
        for (int j = 0; j < Columns; j++) V::store(out.at(i, column + j * V::lanes), sums[i][j]);
}

// Splits the columns evenly into tiles at most Widest (2 or 4) registers wide: five go as three and two,
// since a tile of one has too few independent sums to keep the multipliers busy.
template <class Form, int Widest>
inline void product_by_tiles(Matrix a, Matrix b, int64_t depth, Matrix out, int columns, bool accumulate) {
    constexpr int lanes = Form::Vector::lanes;
    int left = columns / lanes, column = 0;
    for (int tiles = (left + Widest - 1) / Widest; tiles > 0; tiles--) {
        int wide = (left + tiles - 1) / tiles;
        if constexpr (Widest == 4) {
            if (wide == 4) register_tile<Form, 4>(a, b, depth, out, column, accumulate);
            if (wide == 3) register_tile<Form, 3>(a, b, depth, out, column, accumulate);
        }
        if (wide == 2) register_tile<Form, 2>(a, b, depth, out, column, accumulate);
        if (wide == 1) register_tile<Form, 1>(a, b, depth, out, column, accumulate);
        column += wide * lanes, left -= wide;
    }
}

}  // namespace
