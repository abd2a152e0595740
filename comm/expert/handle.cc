#include "comm/expert/handle.h"

#include <algorithm>

#include "comm/expert/carver.h"

namespace tutti {

namespace {

struct Bounds {
  size_t rows;         // of arrivals
  size_t assignments;  // received
};

// The most that can come, whatever the routing, were all experts here.
Bounds bounds_of(const ExpertShape& shape, size_t nranks, size_t num_experts) {
  Bounds b;
  b.rows = nranks * shape.max_tokens;
  b.assignments = b.rows * shape.topk;
  const size_t most = shape.max_recv_rows;
  if (shape.layout == ExpertLayout::kFlat && most > 0) b.rows = std::min(b.rows, most);
  if (shape.layout == ExpertLayout::kExpertMajor && most > 0) {
    b.assignments = std::min(b.assignments, most);
  }
  if (shape.layout == ExpertLayout::kExpertSlab) {
    b.assignments = std::min(b.assignments, num_experts * shape.zone_rows);
  }
  b.assignments = std::min(b.assignments, b.rows * shape.topk);
  b.rows = std::min(b.rows, b.assignments);
  return b;
}

Entries carve_entries(Carver& carver, uint32_t words, size_t rows) {
  Entries e;
  e.words = words;
  e.mates = carver.array<uint32_t>(rows * words);
  e.rank = carver.array<uint32_t>(words > 0 ? rows : 0);
  return e;
}

// As though all experts were here.
ExpertHandle::Tables carve(Carver& carver, const ExpertGroup& group, const ExpertShape& shape) {
  const auto nranks = static_cast<size_t>(group.placement().nranks());
  const size_t num_experts = group.placement().num_experts();
  const Bounds most = bounds_of(shape, nranks, num_experts);
  const size_t own = size_t{shape.max_tokens} * shape.topk;
  ExpertHandle::Tables t;
  t.experts = carver.array<int32_t>(own);
  t.weights = carver.array<float>(own);
  t.tokens_to = carver.array<uint32_t>(nranks);
  t.sent_to = carver.array<uint32_t>(nranks);
  t.wanted = carver.array<uint32_t>(num_experts);
  const size_t departing = shape.max_tokens * std::min<size_t>(shape.topk, nranks);
  t.departures.rank_rows = carver.array<uint32_t>(nranks + 1);
  t.departures.token = carver.array<uint32_t>(departing);
  t.departures.first = carver.array<uint32_t>(departing + 1);
  t.departures.k = carver.array<uint8_t>(own);
  t.arrivals.source_rows = carver.array<uint32_t>(nranks + 1);
  t.arrivals.token = carver.array<uint32_t>(most.rows);
  t.arrivals.first = carver.array<uint32_t>(most.rows + 1);
  t.arrivals.k = carver.array<uint8_t>(most.assignments);
  t.arrivals.expert = carver.array<uint32_t>(most.assignments);
  t.arrival_weights = carver.array<float>(most.assignments);
  const uint32_t words = mate_words(group.placement());
  t.departure_entries = carve_entries(carver, words, departing);
  t.arrival_entries = carve_entries(carver, words, most.rows);
  t.rows.row = carver.array<uint32_t>(std::max(most.rows, most.assignments));
  t.rows.count = carver.array<uint32_t>(num_experts);
  t.rows.offset = carver.array<int64_t>(num_experts + 1);
  return t;
}

}  // namespace

size_t ExpertHandle::memory_bytes(const ExpertGroup& group, const ExpertShape& shape) {
  Carver carver(nullptr);
  (void)carve(carver, group, shape);
  return carver.bytes();
}

ExpertHandle::ExpertHandle(ExpertGroup& group, const ExpertShape& shape, void* memory)
    : group_(group), shape_(shape), memory_(memory) {
  const size_t bytes = memory_bytes(group, shape);
  if (memory == nullptr) {
    own_memory_ = std::make_unique_for_overwrite<std::byte[]>(bytes + Carver::kAlignment);
    const auto address = reinterpret_cast<uintptr_t>(own_memory_.get());
    memory_ = own_memory_.get() + (Carver::kAlignment - address % Carver::kAlignment);
  }
  forget();
  group.add(this);
}

void ExpertHandle::forget() {
  Carver carver(memory_);
  tables = carve(carver, group_, shape_);
  const size_t num_local = group_.placement().experts_of(group_.comm().rank()).size();
  tables.wanted = tables.wanted.first(num_local);
  tables.rows.count = tables.rows.count.first(num_local);
  tables.rows.offset = tables.rows.offset.first(num_local + 1);
  tokens = 0;
  weighted = false;
  dropped = 0;
  rows_needed = 0;
  mask_epoch = 0;
  prepared = false;
}

}  // namespace tutti
