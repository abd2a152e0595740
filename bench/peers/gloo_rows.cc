#include "bench/peers/gloo_rows.h"

#include <gloo/alltoallv.h>
#include <vector>

#include "bench/peers/gloo_gather.h"
#include "bench/peers/row_exchange.h"

namespace perf {

namespace {

std::vector<int64_t> elements_of(const std::vector<size_t>& rows, size_t row_bytes) {
  std::vector<int64_t> counts;
  for (const size_t count : rows) counts.push_back(static_cast<int64_t>(count * row_bytes / 2));
  return counts;
}

class AllToAllRows : public GlooRows {
 public:
  AllToAllRows(const Case& c, const std::shared_ptr<gloo::Context>& context, void* send_memory,
               void* recv_memory)
      : context_(context),
        rows_(c, RowWay::kDedup, context->rank, context->size, send_memory, recv_memory) {}

  void run(uint32_t tag) override {
    // Gloo throws; nothing here has a status of its own.
    (void)rows_.run([&](const RowExchange::Blocks& blocks) {
      exchange(tag, blocks);
      return tutti::Status();
    });
  }
  Tiers sent_bytes() const override { return rows_.sent_bytes(); }

 private:
  void exchange(uint32_t tag, const RowExchange::Blocks& blocks) {
    gloo::AlltoallvOptions options(context_);
    // It takes inputs that are not const, and does not write them.
    auto* const send = const_cast<uint16_t*>(reinterpret_cast<const uint16_t*>(blocks.send));
    options.setInput(send, elements_of(blocks.send_rows, blocks.row_bytes));
    options.setOutput(reinterpret_cast<uint16_t*>(blocks.recv),
                      elements_of(blocks.recv_rows, blocks.row_bytes));
    options.setTag(tag);
    gloo::alltoallv(options);
  }

  std::shared_ptr<gloo::Context> context_;
  RowExchange rows_;
};

}  // namespace

std::string gloo_rows_lack(const std::string& way, const Case& c, int nranks) {
  return way == "ag-rs" ? GatherRows::lacks(c, nranks) : RowExchange::lacks(c, RowWay::kDedup);
}

std::unique_ptr<GlooRows> make_gloo_rows(const std::string& way, const Case& c,
                                         const std::shared_ptr<gloo::Context>& context,
                                         void* send_memory, void* recv_memory) {
  if (way == "ag-rs") return std::make_unique<GatherRows>(c, context, send_memory, recv_memory);
  return std::make_unique<AllToAllRows>(c, context, send_memory, recv_memory);
}

}  // namespace perf
