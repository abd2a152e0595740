// What the buffers hold: small whole numbers whose reductions, and every partial result on the way
// to them, are exact in the data type, so that any order of reduction gives the same bits and wrong
// elements can be counted. Everything is a pure function of (case, rank, index, salt).
#pragma once

#include <cstdint>

#include "bench/perf/case.h"

namespace perf {

// The value that `rank` contributes at `index`: what is moved, or an operand of c.op.
// Written as one element of c.dtype.
void write_input(const Case& c, int rank, int nranks, uint64_t index, uint64_t salt, void* out);

// The reduction over all ranks at `index`.
void write_reduced(const Case& c, int nranks, uint64_t index, uint64_t salt, void* out);

// One element of `dtype`, `value` rounded to nearest even (floats) or exact (the rest).
void write_number(tutti::DataType dtype, double value, void* out);

}  // namespace perf
