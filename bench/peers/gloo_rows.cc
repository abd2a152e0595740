#include "bench/peers/gloo_rows.h"

#include <gloo/alltoallv.h>

namespace perf {

namespace {

std::vector<int64_t> elements_of(const std::vector<size_t>& rows, size_t row_bytes) {
  std::vector<int64_t> counts;
  for (const size_t count : rows) counts.push_back(static_cast<int64_t>(count * row_bytes / 2));
  return counts;
}

}  // namespace

void exchange_rows(const std::shared_ptr<gloo::Context>& context, uint32_t tag,
                   const RowExchange::Blocks& blocks) {
  gloo::AlltoallvOptions options(context);
  // It takes inputs that are not const, and does not write them.
  auto* const send = const_cast<uint16_t*>(reinterpret_cast<const uint16_t*>(blocks.send));
  options.setInput(send, elements_of(blocks.send_rows, blocks.row_bytes));
  options.setOutput(reinterpret_cast<uint16_t*>(blocks.recv),
                    elements_of(blocks.recv_rows, blocks.row_bytes));
  options.setTag(tag);
  gloo::alltoallv(options);
}

}  // namespace perf
