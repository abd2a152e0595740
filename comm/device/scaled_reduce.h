// A fold whose sources are first multiplied by scalars, one per source: what a pre-multiplied sum
// needs. Thread-safe: no state; allocates only for more sources than fit its fixed scratch.
#pragma once

#include "comm/device/kernels.h"

namespace tutti {

// reduce(call) of scale(src[k], scalar[k]) instead of src[k], in cache-sized blocks. A null entry
// leaves that source as it is. Each product is rounded to dtype, as scale() does. Floats only.
void reduce_scaled(const ReduceCall& call, const void* const* scalar);

}  // namespace tutti
