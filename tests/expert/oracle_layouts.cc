// Where every row lies at its receiver, what Prepare reports about it, and the bytes of a dispatch.
#include <algorithm>
#include <cstring>

#include "tests/expert/oracle.h"

namespace tutti::oracle {
namespace {

int64_t round_up(int64_t rows, int64_t alignment) {
  return (rows + alignment - 1) / alignment * alignment;
}

void append(RankLayout& out, int64_t count, const Row& row) {
  out.row.insert(out.row.end(), count, row);
}

// Index of each assignment's expert among the experts of this rank, or -1: [K] of one token.
std::vector<int32_t> local_slots(const Problem& p, const Routing& routing, const RankLayout& out,
                                 int src, int64_t token) {
  std::vector<int32_t> slots(p.topk, -1);
  for (int k = 0; k < p.topk; ++k) {
    const int32_t expert = routing.kept[src][token * p.topk + k];
    const auto at = std::find(out.experts.begin(), out.experts.end(), expert);
    if (at != out.experts.end()) slots[k] = static_cast<int32_t>(at - out.experts.begin());
  }
  return slots;
}

void count(const Problem& p, const Routing& routing, RankLayout& out) {
  out.expert_count.assign(out.experts.size(), 0);
  out.want_count.assign(out.experts.size(), 0);
  for (size_t i = 0; i < out.experts.size(); ++i) {
    for (int src = 0; src < p.nranks(); ++src) {
      const auto& wanted = routing.wanted[src];
      const auto& kept = routing.kept[src];
      out.want_count[i] += std::count(wanted.begin(), wanted.end(), out.experts[i]);
      out.expert_count[i] += std::count(kept.begin(), kept.end(), out.experts[i]);
    }
  }
}

// Tokens of each source that have anything here, in order: [R].
std::vector<std::vector<int64_t>> tokens_from(const Problem& p, const Routing& routing,
                                              const RankLayout& out) {
  std::vector<std::vector<int64_t>> tokens(p.nranks());
  for (int src = 0; src < p.nranks(); ++src) {
    for (int64_t t = 0; t < p.ranks[src].tokens; ++t) {
      const std::vector<int32_t> slots = local_slots(p, routing, out, src, t);
      if (std::any_of(slots.begin(), slots.end(), [](int32_t s) { return s >= 0; })) {
        tokens[src].push_back(t);
      }
    }
  }
  return tokens;
}

// FLAT: by (src, token).
void flat_rows(const std::vector<std::vector<int64_t>>& tokens, RankLayout& out) {
  for (size_t src = 0; src < tokens.size(); ++src) {
    for (int64_t t : tokens[src]) append(out, 1, {Fill::kToken, static_cast<int>(src), t, -1});
  }
}

// RANK_MAJOR: maxT rows for each source.
// Reading: those that a source does not fill are left untouched.
void rank_major_rows(const Problem& p, const std::vector<std::vector<int64_t>>& tokens,
                     RankLayout& out) {
  for (size_t src = 0; src < tokens.size(); ++src) {
    for (int64_t t : tokens[src]) append(out, 1, {Fill::kToken, static_cast<int>(src), t, -1});
    append(out, p.max_tokens - static_cast<int64_t>(tokens[src].size()), {});
  }
}

// The rows of one expert, by (src, token, k).
std::vector<Row> rows_of(const Problem& p, const Routing& routing, int32_t expert) {
  std::vector<Row> rows;
  for (int src = 0; src < p.nranks(); ++src) {
    for (int64_t t = 0; t < p.ranks[src].tokens; ++t) {
      for (int k = 0; k < p.topk; ++k) {
        if (routing.kept[src][t * p.topk + k] != expert) continue;
        rows.push_back({Fill::kToken, src, t, k});
      }
    }
  }
  return rows;
}

// EXPERT_MAJOR: zones one after the other, each padded with zero rows.
// Reading: pad_to_capacity first makes a zone as high as zone_capacity() where the mode is one per
// expert, and has no effect under the other modes nor in FLAT and RANK_MAJOR. An expert without
// rows has an empty zone otherwise.
void expert_major_rows(const Problem& p, const Routing& routing, RankLayout& out) {
  const bool per_expert = p.capacity_mode == CapacityMode::kExpertPerSource ||
                          p.capacity_mode == CapacityMode::kExpertGlobal;
  for (int32_t expert : out.experts) {
    out.expert_offset.push_back(static_cast<int64_t>(out.row.size()));
    const std::vector<Row> rows = rows_of(p, routing, expert);
    out.row.insert(out.row.end(), rows.begin(), rows.end());
    const auto filled = static_cast<int64_t>(rows.size());
    int64_t zone = filled;
    if (p.pad_to_capacity && per_expert) zone = std::max(zone, zone_capacity(p));
    zone = round_up(zone, std::max(p.alignment, 1));
    append(out, zone - filled, {Fill::kZero});
  }
  out.expert_offset.push_back(static_cast<int64_t>(out.row.size()));
}

// EXPERT_SLAB: zones of one height; what an expert does not fill is zero with pad_to_capacity, else
// untouched. Rows that find no room make the layout overflow.
void slab_rows(const Problem& p, const Routing& routing, RankLayout& out) {
  const int64_t zone = zone_capacity(p);
  for (int32_t expert : out.experts) {
    out.expert_offset.push_back(static_cast<int64_t>(out.row.size()));
    std::vector<Row> rows = rows_of(p, routing, expert);
    if (static_cast<int64_t>(rows.size()) > zone) {
      out.overflow = true;
      rows.resize(zone);
    }
    out.row.insert(out.row.end(), rows.begin(), rows.end());
    append(out, zone - static_cast<int64_t>(rows.size()),
           {p.pad_to_capacity ? Fill::kZero : Fill::kUntouched});
  }
  out.expert_offset.push_back(static_cast<int64_t>(out.row.size()));
}

void describe_rows(const Problem& p, const Routing& routing, RankLayout& out) {
  out.rows = static_cast<int64_t>(out.row.size());
  for (const Row& row : out.row) {
    const bool token = row.fill == Fill::kToken;
    out.row_src.push_back(token ? row.src * p.max_tokens + row.token : -1);
    if (p.has_expert_rows()) {
      out.row_slot.push_back(row.k);
      continue;
    }
    const std::vector<int32_t> slots =
        token ? local_slots(p, routing, out, row.src, row.token) : std::vector<int32_t>(p.topk, -1);
    out.row_slot.insert(out.row_slot.end(), slots.begin(), slots.end());
  }
}

}  // namespace

int64_t zone_capacity(const Problem& p) {
  if (p.slab_rows >= 0) return p.slab_rows;
  if (p.capacity_mode == CapacityMode::kExpertGlobal) return p.capacity;
  if (p.capacity_mode == CapacityMode::kExpertPerSource) return p.nranks() * p.capacity;
  return p.capacity > 0 ? p.capacity : p.nranks() * p.max_tokens;
}

RankLayout lay_out(const Problem& p, const Routing& routing, int rank) {
  RankLayout out;
  out.experts = p.experts_of(rank);
  count(p, routing, out);
  out.src_count.assign(p.nranks(), 0);
  if (p.is_masked(rank)) {
    if (p.has_expert_rows()) out.expert_offset.assign(out.experts.size() + 1, 0);
    return out;
  }
  const std::vector<std::vector<int64_t>> tokens = tokens_from(p, routing, out);
  for (int src = 0; src < p.nranks(); ++src) {
    out.src_count[src] = static_cast<int64_t>(tokens[src].size());
    out.recv_tokens += out.src_count[src];
  }
  if (p.layout == Layout::kFlat) flat_rows(tokens, out);
  if (p.layout == Layout::kRankMajor) rank_major_rows(p, tokens, out);
  if (p.layout == Layout::kExpertMajor) expert_major_rows(p, routing, out);
  if (p.layout == Layout::kExpertSlab) slab_rows(p, routing, out);
  describe_rows(p, routing, out);
  // Reading: the bound is for what Prepare decides, FLAT and EXPERT_MAJOR; it counts padding, and
  // what is left after dropping where a capacity is set.
  const bool bounded = p.layout == Layout::kFlat || p.layout == Layout::kExpertMajor;
  if (bounded && p.max_recv_rows > 0 && out.rows > p.max_recv_rows) out.overflow = true;
  return out;
}

Prepared prepare(const Problem& p) {
  Prepared prepared;
  prepared.routing = route(p);
  prepared.verdict = prepared.routing.verdict;
  bool overflow = false;
  for (int r = 0; r < p.nranks(); ++r) {
    prepared.layouts.push_back(lay_out(p, prepared.routing, r));
    overflow = overflow || prepared.layouts[r].overflow;
  }
  for (int r = 0; r < p.nranks() && overflow; ++r) {
    if (p.is_masked(r)) continue;
    prepared.verdict[r] = prepared.layouts[r].overflow ? tuttiInvalidArgument : tuttiRemoteError;
  }
  return prepared;
}

void write_rows(const RankLayout& layout, const std::vector<std::vector<uint8_t>>& x,
                size_t row_bytes, std::vector<uint8_t>& out) {
  require(out.size() >= layout.row.size() * row_bytes, "the output is shorter than N rows");
  for (size_t n = 0; n < layout.row.size() && row_bytes > 0; ++n) {
    const Row& row = layout.row[n];
    uint8_t* to = out.data() + n * row_bytes;
    if (row.fill == Fill::kZero) std::memset(to, 0, row_bytes);
    if (row.fill == Fill::kToken) {
      std::memcpy(to, x[row.src].data() + static_cast<size_t>(row.token) * row_bytes, row_bytes);
    }
  }
}

void write_row_weights(const Problem& p, const RankLayout& layout,
                       const std::vector<std::vector<float>>& weights, std::vector<float>& out) {
  const int columns = p.has_expert_rows() ? 1 : p.topk;
  require(out.size() >= layout.row.size() * columns, "row_weight is shorter than N rows");
  for (size_t n = 0; n < layout.row.size(); ++n) {
    const Row& row = layout.row[n];
    if (row.fill == Fill::kUntouched) continue;
    for (int c = 0; c < columns; ++c) {
      const int k = p.has_expert_rows() ? row.k : c;
      const bool local = row.fill == Fill::kToken && layout.row_slot[n * columns + c] >= 0;
      out[n * columns + c] = local ? weights[row.src][row.token * p.topk + k] : 0.0f;
    }
  }
}

void write_weighted_rows(const Problem& p, const RankLayout& layout,
                         const std::vector<std::vector<uint8_t>>& x, tuttiDataType_t dtype,
                         int64_t hidden, const std::vector<std::vector<float>>& weights,
                         std::vector<uint8_t>& out) {
  require(p.has_expert_rows(), "weights are applied to rows of one assignment each");
  const size_t bytes = bytes_of(dtype);
  write_rows(layout, x, hidden * bytes, out);
  for (size_t n = 0; n < layout.row.size(); ++n) {
    const Row& row = layout.row[n];
    if (row.fill != Fill::kToken) continue;
    const float weight = weights[row.src][row.token * p.topk + row.k];
    for (int64_t h = 0; h < hidden; ++h) {
      uint8_t* at = out.data() + (n * hidden + h) * bytes;
      store(dtype, at, weight * load(dtype, at));
    }
  }
}

}  // namespace tutti::oracle
