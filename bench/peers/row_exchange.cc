#include "bench/peers/row_exchange.h"

#include <algorithm>
#include <numeric>

#include "comm/device/row_copy.h"

namespace perf {

using tutti::Status;
using tutti::Stores;

namespace {

// Beyond the caches of a core it is faster not to read what will be overwritten.
constexpr size_t kStreamFrom = size_t{16} << 20;

size_t total(const std::vector<size_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), size_t{0});
}

}  // namespace

Stores peer_stores(const Case& c, size_t bytes) {
  return c.expert.peers_stream && bytes >= kStreamFrom ? Stores::kStreaming : Stores::kCached;
}

std::string RowExchange::lacks(const Case& c, RowWay way) {
  const ExpertShape& shape = c.expert;
  if (shape.quant != ExpertQuant::kNone) return "rows that are quantised";
  if (shape.backward) return "rows that are multiplied by weights";
  const bool combines = c.collective != Collective::kExpertDispatch;
  if (way == RowWay::kDedup && combines && shape.reduce == ExpertReduce::kSlot &&
      is_by_expert(shape.layout)) {
    return "sums by k of what ranks have added up";
  }
  if (way == RowWay::kAssign && combines && !is_by_expert(shape.layout)) {
    return "a row for each assignment where the layout has one for each token";
  }
  return "";
}

uint8_t* RowExchange::Memory::aligned(size_t size) {
  constexpr size_t kLine = 64;
  bytes.assign(size + kLine, 0);
  return bytes.data() + (kLine - reinterpret_cast<uintptr_t>(bytes.data()) % kLine) % kLine;
}

RowExchange::RowExchange(const Case& c, RowWay way, int rank, int nranks, void* send_memory,
                         void* recv_memory)
    : case_(c),
      way_(way),
      rank_(rank),
      nranks_(nranks),
      plan_(c, rank, nranks),
      row_bytes_(static_cast<size_t>(c.expert.hidden) * 2),
      send_memory_(static_cast<uint8_t*>(send_memory)),
      recv_memory_(static_cast<uint8_t*>(recv_memory)) {
  for (int peer = 0; peer < nranks; ++peer) {
    out_rows_.push_back(items(rank, peer).size());
    in_rows_.push_back(items(peer, rank).size());
  }
  list_arrivals();
  packed_ = packed_memory_.aligned(total(out_rows_) * row_bytes_);
  if (!lands_) arrived_ = arrived_memory_.aligned(total(in_rows_) * row_bytes_);
  plan_dispatch();
  if (c.collective != Collective::kExpertDispatch) plan_combine();
}

std::vector<RowExchange::Item> RowExchange::items(int source, int dest) const {
  std::vector<Item> result;
  for (int t = 0; t < case_.expert.tokens; ++t) {
    for (int k = 0; k < case_.expert.topk; ++k) {
      if (plan_.rank_of(plan_.expert_of(source, t, k)) != dest) continue;
      result.push_back({t, k});
      if (way_ == RowWay::kDedup) break;
    }
  }
  if (way_ == RowWay::kDedup || !is_by_expert(case_.expert.layout)) return result;
  // By expert, so that the receiver has only blocks to put in order.
  const auto expert = [&](const Item& i) { return plan_.expert_of(source, i.token, i.k); };
  std::stable_sort(result.begin(), result.end(),
                   [&](const Item& a, const Item& b) { return expert(a) < expert(b); });
  return result;
}

void RowExchange::list_arrivals() {
  // By token of all ranks.
  const auto tokens = static_cast<size_t>(case_.expert.tokens);
  std::vector<std::vector<const ExpertRow*>> rows(tokens * static_cast<size_t>(nranks_));
  for (const ExpertRow& row : plan_.rows()) {
    rows[static_cast<size_t>(row.source) * tokens + static_cast<size_t>(row.token)].push_back(&row);
  }
  for (auto& of_token : rows) {
    std::sort(of_token.begin(), of_token.end(),
              [](const ExpertRow* a, const ExpertRow* b) { return a->k < b->k; });
  }
  for (int source = 0; source < nranks_; ++source) {
    std::vector<bool> seen(tokens);
    for (const Item& item : items(source, rank_)) {
      std::vector<size_t> places;
      const auto token = static_cast<size_t>(item.token);
      for (const ExpertRow* row : rows[static_cast<size_t>(source) * tokens + token]) {
        // Of the rows of one token that are all alike a layout without experts has the first.
        const bool wanted = row->k < 0 ? !seen[token] : way_ == RowWay::kDedup || row->k == item.k;
        if (wanted) places.push_back(row->at);
      }
      seen[token] = true;
      places_.push_back(std::move(places));
    }
  }
  lands_ = places_.size() == plan_.room();
  for (size_t i = 0; lands_ && i < places_.size(); ++i) {
    lands_ = places_[i].size() == 1 && places_[i][0] == i;
  }
}

void RowExchange::plan_dispatch() {
  for (int peer = 0; peer < nranks_; ++peer) {
    for (const Item& item : items(rank_, peer)) {
      pack_.to.push_back(static_cast<int32_t>(pack_.from.size()));
      pack_.from.push_back(item.token);
    }
  }
  for (size_t i = 0; i < places_.size(); ++i) {
    for (const size_t place : places_[i]) {
      unpack_.from.push_back(static_cast<int32_t>(i));
      unpack_.to.push_back(static_cast<int32_t>(place));
    }
  }
}

void RowExchange::add_sum(const std::vector<const void*>& terms, void* to,
                          std::vector<tutti::RowSum>* sums) {
  terms_.push_back(terms);
  sums->push_back(
      {terms_.back().data(), nullptr, static_cast<uint32_t>(terms.size()), {nullptr, nullptr}, to});
}

void RowExchange::plan_combine() {
  const uint8_t* const rows = send_memory_ + plan_.places().expert_rows;
  for (size_t i = 0; !lands_ && i < places_.size(); ++i) {
    if (way_ == RowWay::kAssign) {
      repack_.from.push_back(static_cast<int32_t>(places_[i][0]));
      repack_.to.push_back(static_cast<int32_t>(i));
      continue;
    }
    std::vector<const void*> terms;
    for (const size_t place : places_[i]) terms.push_back(rows + place * row_bytes_);
    add_sum(terms, arrived_ + i * row_bytes_, &partials_);
  }
  // What came back for each token, by rank or by k.
  std::vector<std::vector<std::pair<int, const void*>>> back(
      static_cast<size_t>(case_.expert.tokens));
  size_t at = 0;
  for (int peer = 0; peer < nranks_; ++peer) {
    for (const Item& item : items(rank_, peer)) {
      const int order = way_ == RowWay::kDedup ? peer : item.k;
      back[static_cast<size_t>(item.token)].push_back({order, packed_ + at++ * row_bytes_});
    }
  }
  uint8_t* y = recv_memory_ + plan_.places().y;
  for (auto& of_token : back) {
    std::sort(of_token.begin(), of_token.end());
    std::vector<const void*> terms;
    for (const auto& [order, row] : of_token) terms.push_back(row);
    add_sum(terms, y, &sums_);
    y += row_bytes_;
  }
}

void RowExchange::copy(const uint8_t* from, uint8_t* to, const Copies& rows) const {
  tutti::copy_rows({to, row_bytes_, rows.to.data()}, {from, row_bytes_, rows.from.data()},
                   rows.to.size(), row_bytes_, peer_stores(case_, rows.to.size() * row_bytes_));
}

Status RowExchange::dispatch(const Exchange& exchange) const {
  uint8_t* const rows = recv_memory_ + plan_.places().rows;
  copy(send_memory_ + plan_.places().x, packed_, pack_);
  TUTTI_TRY(exchange({packed_, out_rows_, lands_ ? rows : arrived_, in_rows_, row_bytes_}));
  if (!lands_) copy(arrived_, rows, unpack_);
  return {};
}

Status RowExchange::combine(const Exchange& exchange) const {
  const uint8_t* const rows = send_memory_ + plan_.places().expert_rows;
  const auto hidden = static_cast<size_t>(case_.expert.hidden);
  const auto add_up = [&](const std::vector<tutti::RowSum>& sums) {
    tutti::sum_rows(
        sums.data(), sums.size(),
        {case_.dtype, case_.dtype, hidden, peer_stores(case_, sums.size() * row_bytes_)});
  };
  if (!repack_.to.empty()) copy(rows, arrived_, repack_);
  add_up(partials_);
  TUTTI_TRY(exchange({lands_ ? rows : arrived_, in_rows_, packed_, out_rows_, row_bytes_}));
  add_up(sums_);
  return {};
}

Status RowExchange::run(const Exchange& exchange) const {
  if (case_.collective != Collective::kExpertCombine) TUTTI_TRY(dispatch(exchange));
  return case_.collective == Collective::kExpertDispatch ? Status() : combine(exchange);
}

Tiers RowExchange::sent_bytes() const {
  Tiers sent;
  for (int r = 0; r < nranks_; ++r) {
    if (r == rank_) continue;
    const auto i = static_cast<size_t>(r);
    const bool near = node_of(case_.expert, r) == node_of(case_.expert, rank_);
    if (case_.collective != Collective::kExpertCombine) sent.add(near, out_rows_[i] * row_bytes_);
    if (case_.collective != Collective::kExpertDispatch) sent.add(near, in_rows_[i] * row_bytes_);
  }
  return sent;
}

}  // namespace perf
