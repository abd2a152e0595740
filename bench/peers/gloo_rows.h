// Gloo's alltoallv of rows, for dispatch and combine. Throws as Gloo does. One thread.
#pragma once

#include <cstdint>
#include <gloo/context.h>
#include <memory>

#include "bench/peers/row_exchange.h"

namespace perf {

void exchange_rows(const std::shared_ptr<gloo::Context>& context, uint32_t tag,
                   const RowExchange::Blocks& blocks);

}  // namespace perf
