// Rows to other places, and rows of zeros.
//
// Any alignment; source and destination rows do not overlap. Thread-safe: no state.
#pragma once

#include <cstddef>

#include "comm/device/kernels.h"
#include "comm/device/row_list.h"

namespace tutti {

// dst[i] = src[i] for i < rows, `bytes` each.
void copy_rows(const TargetRows& dst, const SourceRows& src, size_t rows, size_t bytes,
               Stores stores);

// dst[i] = zeros for i < rows, `bytes` each.
void zero_rows(const TargetRows& dst, size_t rows, size_t bytes);

}  // namespace tutti
