#include "bench/perf/expert_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "comm/base/hash.h"

namespace perf {

namespace {

// Uniform in (0, 1), a function of its arguments.
double uniform(uint64_t a, uint64_t b, uint64_t c) {
  const uint64_t bits = tutti::hash_combine(tutti::hash_combine(a + 1, b), c);
  return (static_cast<double>(bits >> 11) + 0.5) * 0x1p-53;
}

// How often each expert is chosen, in proportion. Which are popular has nothing to do with where
// they live.
std::vector<double> weights_of(const ExpertShape& shape) {
  std::vector<double> weights(static_cast<size_t>(shape.experts), 1);
  if (shape.routing != RoutingKind::kZipf) return weights;
  std::vector<size_t> order(weights.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto key = [](size_t expert) { return uniform(7, expert, 0); };
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return key(a) < key(b); });
  for (size_t i = 0; i < order.size(); ++i) {
    weights[order[i]] = std::pow(static_cast<double>(i + 1), -shape.zipf);
  }
  return weights;
}

// K distinct experts for each token of each rank: those whose exponential clocks ring first.
std::vector<int32_t> route(const ExpertShape& shape, int nranks) {
  const auto topk = static_cast<size_t>(shape.topk);
  const auto tokens = static_cast<size_t>(shape.tokens) * static_cast<size_t>(nranks);
  const std::vector<double> weights = weights_of(shape);
  std::vector<std::pair<double, int32_t>> clocks(weights.size());
  std::vector<int32_t> ids;
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t e = 0; e < clocks.size(); ++e) {
      const bool first = shape.routing == RoutingKind::kOne && e < topk;
      const double rings = first ? 0 : -std::log(uniform(11, t, e)) / weights[e];
      clocks[e] = {rings, static_cast<int32_t>(e)};
    }
    std::partial_sort(clocks.begin(), clocks.begin() + static_cast<long>(topk), clocks.end());
    for (size_t k = 0; k < topk; ++k) ids.push_back(clocks[k].second);
  }
  return ids;
}

size_t in_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

ExpertPlan::ExpertPlan(const Case& c, int rank, int nranks)
    : shape_(c.expert),
      rank_(rank),
      nranks_(nranks),
      per_rank_((c.expert.experts + nranks - 1) / nranks),
      ids_(route(c.expert, nranks)) {
  lay_out();
  place(c.collective);
}

const int32_t* ExpertPlan::ids_of(int source) const {
  return ids_.data() + static_cast<size_t>(source) * static_cast<size_t>(shape_.tokens) *
                           static_cast<size_t>(shape_.topk);
}

int ExpertPlan::expert_of(int source, int token, int k) const {
  return ids_of(source)[static_cast<size_t>(token) * static_cast<size_t>(shape_.topk) +
                        static_cast<size_t>(k)];
}

int ExpertPlan::local_experts() const {
  return std::clamp(shape_.experts - rank_ * per_rank_, 0, per_rank_);
}

bool ExpertPlan::goes_to(int source, int token, int rank) const {
  for (int k = 0; k < shape_.topk; ++k) {
    if (rank_of(expert_of(source, token, k)) == rank) return true;
  }
  return false;
}

void ExpertPlan::lay_out() {
  if (is_by_expert(shape_.layout)) {
    lay_out_by_expert();
  } else {
    lay_out_by_rank();
  }
}

void ExpertPlan::lay_out_by_expert() {
  std::vector<size_t> counts(static_cast<size_t>(shape_.experts));
  for (const int32_t id : ids_) ++counts[static_cast<size_t>(id)];
  slab_rows_ = *std::max_element(counts.begin(), counts.end());
  const auto first = static_cast<size_t>(rank_) * static_cast<size_t>(per_rank_);
  const auto local = static_cast<size_t>(local_experts());
  std::vector<size_t> next(local);  // row of each zone
  for (size_t i = 0; i < local; ++i) {
    const bool slabs = shape_.layout == ExpertLayout::kExpertSlab;
    next[i] = slabs ? i * slab_rows_ : room_;
    room_ += slabs ? slab_rows_ : counts[first + i];
  }
  for (int source = 0; source < nranks_; ++source) {
    for (int token = 0; token < shape_.tokens; ++token) {
      for (int k = 0; k < shape_.topk; ++k) {
        const int expert = expert_of(source, token, k);
        if (rank_of(expert) != rank_) continue;
        rows_.push_back({source, token, k, next[static_cast<size_t>(expert) - first]++});
      }
    }
  }
  std::sort(rows_.begin(), rows_.end(),
            [](const ExpertRow& a, const ExpertRow& b) { return a.at < b.at; });
}

void ExpertPlan::lay_out_by_rank() {
  const bool blocks = shape_.layout == ExpertLayout::kRankMajor;
  const auto tokens = static_cast<size_t>(shape_.tokens);
  for (int source = 0; source < nranks_; ++source) {
    size_t at = blocks ? static_cast<size_t>(source) * tokens : rows_.size();
    for (int token = 0; token < shape_.tokens; ++token) {
      if (goes_to(source, token, rank_)) rows_.push_back({source, token, -1, at++});
    }
  }
  room_ = blocks ? static_cast<size_t>(nranks_) * tokens : rows_.size();
}

void ExpertPlan::place(Collective collective) {
  const auto tokens = static_cast<size_t>(shape_.tokens);
  const size_t wide = static_cast<size_t>(shape_.hidden) * 2;
  const bool forwards = shape_.quant == ExpertQuant::kForward;
  Places& p = places_;
  if (collective != Collective::kExpertCombine) {
    p.x_scale = in_lines(tokens * (forwards ? delivered_bytes(shape_) : wide));
    p.expert_rows = p.x_scale + in_lines(forwards ? tokens * scale_bytes(shape_) : 0);
    p.row_scale = in_lines(room_ * delivered_bytes(shape_));
    p.y = p.row_scale + in_lines(room_ * scale_bytes(shape_));
  }
  const bool combines = collective != Collective::kExpertDispatch;
  p.send_bytes = p.expert_rows + (combines ? in_lines(room_ * wide) : 0);
  p.recv_bytes = p.y + (combines ? in_lines(tokens * wide) : 0);
}

Tiers least_bytes(const Case& c, int nranks) {
  const ExpertShape& shape = c.expert;
  const ExpertPlan plan(c, 0, nranks);
  const uint64_t wide = static_cast<uint64_t>(shape.hidden) * 2;
  const uint64_t out = delivered_bytes(shape) + scale_bytes(shape);
  const bool slots = shape.reduce == ExpertReduce::kSlot && is_by_expert(shape.layout);
  const bool once_out = shape.algo == ExpertAlgo::kAuto || shape.algo == ExpertAlgo::kHier;
  const bool once_back = shape.reduce == ExpertReduce::kNode;
  const bool dispatches = c.collective != Collective::kExpertCombine;
  const bool combines = c.collective != Collective::kExpertDispatch;
  Tiers least;
  // The last token that each rank and each node was seen to get.
  std::vector<int> of_rank(static_cast<size_t>(nranks), -1);
  std::vector<int> of_node(static_cast<size_t>(nranks), -1);
  for (int source = 0; source < nranks; ++source) {
    for (int token = 0; token < shape.tokens; ++token) {
      for (int k = 0; k < shape.topk; ++k) {
        const int rank = plan.rank_of(plan.expert_of(source, token, k));
        if (rank == source) continue;
        const int node = node_of(shape, rank);
        const int id = source * shape.tokens + token;
        const bool near = node == node_of(shape, source);
        const bool first = std::exchange(of_rank[static_cast<size_t>(rank)], id) != id;
        // Handed on by a rank of its node that has it already.
        const bool handed_on = std::exchange(of_node[static_cast<size_t>(node)], id) == id;
        if (dispatches && first) least.add(near || (once_out && handed_on), out);
        if (combines && (first || slots)) least.add(near || (once_back && handed_on), wide);
      }
    }
  }
  return least;
}

}  // namespace perf
