// Numbers of any float type in bytes of any alignment, by the scalar reference.
#pragma once

#include <cstdint>
#include <cstring>

#include "comm/base/types.h"
#include "tests/support/scalar_reference.h"

namespace tutti {

inline void store_value(uint8_t* to, DataType dtype, float value) {
  if (dtype == DataType::kFloat32) {
    std::memcpy(to, &value, sizeof(value));
    return;
  }
  const uint32_t bits = reference_from_float(dtype, value);
  std::memcpy(to, &bits, size_of(dtype));
}

inline float load_value(const uint8_t* from, DataType dtype) {
  float value = 0;
  if (dtype == DataType::kFloat32) {
    std::memcpy(&value, from, sizeof(value));
    return value;
  }
  uint32_t bits = 0;
  std::memcpy(&bits, from, size_of(dtype));
  return reference_to_float(dtype, bits);
}

}  // namespace tutti
