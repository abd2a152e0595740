#include "comm/device/kernels.h"

#include "comm/base/check.h"
#include "comm/device/families.h"
#include "comm/device/fp_environment.h"

namespace tutti {

void reduce(const ReduceCall& call) {
  TUTTI_CHECK(call.nsrc >= 1 && call.ndst >= 1, "a reduction needs a source and a destination");
  if (call.count == 0) return;
  // A fold of one term changes nothing but non-canonical values: NaNs, and bools above 1.
  const bool canonical = is_float(call.dtype) || call.dtype == DataType::kBool;
  if (call.nsrc == 1 && call.divisor == 0 && !canonical) {
    return copy(call.src[0], call.dst, call.ndst, call.count * size_of(call.dtype), call.stores);
  }
  switch (call.dtype) {
    case DataType::kFloat32:
    case DataType::kFloat64: {
      DefaultFpEnvironment environment;
      return reduce_float(call);
    }
    case DataType::kFloat16:
    case DataType::kBfloat16:
    case DataType::kFloat8e4m3:
    case DataType::kFloat8e5m2: {
      DefaultFpEnvironment environment;
      return reduce_narrow_float(call);
    }
    case DataType::kBool:
      return reduce_bool(call);
    default:
      return reduce_integer(call);
  }
}

void scale(void* dst, const void* src, size_t count, DataType dtype, const void* scalar) {
  TUTTI_CHECK(is_float(dtype), "scaling is defined for floats only");
  DefaultFpEnvironment environment;
  if (dtype == DataType::kFloat32 || dtype == DataType::kFloat64) {
    return scale_float(dst, src, count, dtype, scalar);
  }
  scale_narrow_float(dst, src, count, dtype, scalar);
}

void widen(float* dst, const void* src, size_t count, DataType dtype) {
  DefaultFpEnvironment environment;
  widen_floats(dst, src, count, dtype);
}

void narrow(void* dst, const float* src, size_t count, DataType dtype) {
  DefaultFpEnvironment environment;
  narrow_floats(dst, src, count, dtype);
}

}  // namespace tutti
