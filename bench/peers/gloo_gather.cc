#include "bench/peers/gloo_gather.h"

#include <algorithm>
#include <cstring>
#include <gloo/allgather.h>
#include <gloo/reduce_scatter.h>

#include "bench/peers/row_exchange.h"
#include "comm/device/row_copy.h"

namespace perf {

namespace {

// Gloo has no bf16 of its own. x += y.
void add_bf16(uint16_t* x, const uint16_t* y, size_t n) {
  const void* const terms[] = {x, y};
  const tutti::RowSum sum = {terms, nullptr, 2, {nullptr, nullptr}, x};
  tutti::sum_rows(
      &sum, 1, {tutti::DataType::kBfloat16, tutti::DataType::kBfloat16, n, tutti::Stores::kCached});
}

const gloo::ReductionFunction<uint16_t> kAddBf16(gloo::ReductionType::CUSTOM, &add_bf16);

}  // namespace

std::string GatherRows::lacks(const Case& c, int nranks) {
  std::string reason = RowExchange::lacks(c, RowWay::kDedup);
  if (!reason.empty() || c.collective == Collective::kExpertDispatch) return reason;
  if ((nranks & (nranks - 1)) != 0) return "reduce_scatter of ranks that are no power of two";
  const size_t elements = c.count * static_cast<size_t>(nranks);
  return elements > INT32_MAX ? "large counts" : "";
}

GatherRows::GatherRows(const Case& c, const std::shared_ptr<gloo::Context>& context,
                       void* send_memory, void* recv_memory)
    : case_(c),
      nranks_(context->size),
      plan_(c, context->rank, context->size),
      row_bytes_(static_cast<size_t>(c.expert.hidden) * 2),
      context_(context),
      send_memory_(static_cast<uint8_t*>(send_memory)),
      recv_memory_(static_cast<uint8_t*>(recv_memory)) {
  const size_t all = c.count * static_cast<size_t>(nranks_);
  if (c.collective != Collective::kExpertCombine) gathered_.resize(all);
  for (const ExpertRow& row : plan_.rows()) {
    from_.push_back(row.source * c.expert.tokens + row.token);
    to_.push_back(static_cast<int32_t>(row.at));
  }
  if (c.collective == Collective::kExpertDispatch) return;
  sums_of_.resize(all);
  plan_sums();
  reduce_scatter_ = std::make_unique<gloo::ReduceScatterHalvingDoubling<uint16_t>>(
      context_, std::vector<uint16_t*>{sums_of_.data()}, static_cast<int>(all),
      std::vector<int>(static_cast<size_t>(nranks_), static_cast<int>(c.count)), &kAddBf16);
}

void GatherRows::plan_sums() {
  const uint8_t* const rows = send_memory_ + plan_.places().expert_rows;
  terms_.resize(sums_of_.size() / static_cast<size_t>(case_.expert.hidden));
  std::vector<ExpertRow> by_k(plan_.rows());
  std::stable_sort(by_k.begin(), by_k.end(),
                   [](const ExpertRow& a, const ExpertRow& b) { return a.k < b.k; });
  for (const ExpertRow& row : by_k) {
    const int token = row.source * case_.expert.tokens + row.token;
    terms_[static_cast<size_t>(token)].push_back(rows + row.at * row_bytes_);
  }
  uint16_t* to = sums_of_.data();
  for (const std::vector<const void*>& terms : terms_) {
    sums_.push_back(
        {terms.data(), nullptr, static_cast<uint32_t>(terms.size()), {nullptr, nullptr}, to});
    to += case_.expert.hidden;
  }
}

void GatherRows::run(uint32_t tag) {
  if (case_.collective != Collective::kExpertCombine) dispatch(tag);
  if (case_.collective != Collective::kExpertDispatch) combine();
}

void GatherRows::dispatch(uint32_t tag) {
  gloo::AllgatherOptions options(context_);
  options.setInput(reinterpret_cast<uint16_t*>(send_memory_ + plan_.places().x), case_.count);
  options.setOutput(gathered_.data(), gathered_.size());
  options.setTag(tag);
  gloo::allgather(options);
  tutti::copy_rows({recv_memory_ + plan_.places().rows, row_bytes_, to_.data()},
                   {reinterpret_cast<const uint8_t*>(gathered_.data()), row_bytes_, from_.data()},
                   to_.size(), row_bytes_, peer_stores(case_, to_.size() * row_bytes_));
}

void GatherRows::combine() {
  tutti::sum_rows(sums_.data(), sums_.size(),
                  {case_.dtype, case_.dtype, static_cast<size_t>(case_.expert.hidden),
                   peer_stores(case_, sums_.size() * row_bytes_)});
  reduce_scatter_->run();
  std::memcpy(recv_memory_ + plan_.places().y, sums_of_.data(), case_.count * sizeof(uint16_t));
}

// As if every rank sent its tokens to every other one: through which ranks they go is Gloo's.
Tiers GatherRows::sent_bytes() const {
  const uint64_t calls = case_.collective == Collective::kExpertRoundTrip ? 2 : 1;
  Tiers sent;
  for (int r = 0; r < nranks_; ++r) {
    if (r == context_->rank) continue;
    const bool near = node_of(case_.expert, r) == node_of(case_.expert, context_->rank);
    sent.add(near, calls * static_cast<uint64_t>(case_.expert.tokens) * row_bytes_);
  }
  return sent;
}

}  // namespace perf
