// The kernel families behind kernels.h: one per translation unit, each dispatching once per call to
// the best SIMD target. Private to comm/device.
//
// The float families expect the default floating-point environment (fp_environment.h).
// Thread-safe: no state.
#pragma once

#include "comm/device/kernels.h"

namespace tutti {

// nsrc >= 2, or a divisor is set; dtype of the family named.
void reduce_integer(const ReduceCall& call);       // i8..u64
void reduce_bool(const ReduceCall& call);          // bool
void reduce_float(const ReduceCall& call);         // f32, f64
void reduce_narrow_float(const ReduceCall& call);  // f16, bf16, e4m3, e5m2

void scale_float(void* dst, const void* src, size_t count, DataType dtype, const void* scalar);
void scale_narrow_float(void* dst, const void* src, size_t count, DataType dtype,
                        const void* scalar);

void widen_floats(float* dst, const void* src, size_t count, DataType dtype);
void narrow_floats(void* dst, const float* src, size_t count, DataType dtype);

}  // namespace tutti
