#include "tests/expert/simulated.h"

#include <gtest/gtest.h>

#include "comm/expert/entries.h"

namespace tutti {

namespace {

PlacementConfig config_of(const oracle::Problem& p) {
  PlacementConfig c;
  c.nranks = p.nranks();
  c.ranks_per_node = p.ranks_per_node > 0 ? p.ranks_per_node : p.nranks();
  c.num_experts = static_cast<uint32_t>(p.num_experts);
  c.expert_rank = p.expert_rank.empty() ? nullptr : p.expert_rank.data();
  c.num_logical = static_cast<uint32_t>(p.num_logical);
  c.phys_to_log = p.num_logical > 0 ? p.phys_to_log.data() : nullptr;
  c.replica = static_cast<ExpertReplica>(p.replica);
  return c;
}

ExpertShape shape_of(const oracle::Problem& p) {
  ExpertShape s;
  s.layout = static_cast<ExpertLayout>(p.layout);
  s.cap = static_cast<ExpertCap>(p.capacity_mode);
  s.keep = static_cast<ExpertKeep>(p.keep);
  s.pad_to_capacity = p.pad_to_capacity;
  s.topk = static_cast<uint32_t>(p.topk);
  s.alignment = static_cast<uint32_t>(std::max(p.alignment, 1));
  s.capacity = static_cast<uint32_t>(p.capacity);
  s.zone_rows = static_cast<uint32_t>(oracle::zone_capacity(p));
  s.max_tokens = static_cast<uint32_t>(p.max_tokens);
  s.max_recv_rows = static_cast<uint64_t>(p.max_recv_rows);
  return s;
}

}  // namespace

Simulated::Simulated(const oracle::Problem& problem)
    : problem_(problem),
      placement_(Placement::make(config_of(problem)).value()),
      shape_(shape_of(problem)) {
  const int nranks = problem.nranks();
  ranks.resize(static_cast<size_t>(nranks));
  counts_.resize(ExpertCounts::bytes(placement_.num_experts(), nranks) *
                 static_cast<size_t>(nranks));
  for (int r = 0; r < nranks; ++r) route(r);
  bool well = true;
  for (int r = 0; r < nranks; ++r) {
    SimulatedRank& me = ranks[static_cast<size_t>(r)];
    me.verdict = check_headers(counts(), problem_.masked, r, me.own, &me.culprit);
    well = well && me.verdict.ok();
  }
  if (!well) return;
  drop_globally();
  for (int r = 0; r < nranks; ++r) {
    SimulatedRank& me = ranks[static_cast<size_t>(r)];
    if (problem_.is_masked(r)) continue;
    me.verdict = check_room(shape_, placement_, counts(), problem_.masked, r, &me.culprit);
  }
  for (int r = 0; r < nranks; ++r) exchange(r);
  for (int r = 0; r < nranks; ++r) depart(r);
  for (int r = 0; r < nranks; ++r) find_entries(r);
}

void Simulated::route(int rank) {
  SimulatedRank& me = ranks[static_cast<size_t>(rank)];
  const oracle::RankInput& input = problem_.ranks[static_cast<size_t>(rank)];
  RoutingIds ids;
  ids.data = input.ids.data();
  ids.wide = true;
  ids.topk = shape_.topk;
  ids.row_stride = shape_.topk * sizeof(int64_t);
  ids.tokens = problem_.is_masked(rank) ? 0 : static_cast<uint32_t>(input.tokens);
  me.experts.resize(size_t{ids.tokens} * ids.topk);
  me.own = resolve_experts(ids, placement_, rank, problem_.masked, me.experts);
  if (me.own.ok() && shape_.cap == ExpertCap::kExpertPerSource) {
    std::vector<uint32_t> order(me.experts.size());
    std::vector<uint32_t> used(placement_.num_experts());
    me.dropped =
        drop_per_source(shape_.capacity, shape_.keep, input.weights, order, used, me.experts);
  }
  counts().of(rank).header() = header_of(shape_, ids.tokens, true, me.own.code());
  count(rank);
}

void Simulated::count(int rank) {
  const ExpertCounts mine = counts().of(rank);
  count_routing(placement_, shape_.topk, ranks[static_cast<size_t>(rank)].experts,
                mine.assignments(), mine.tokens());
}

// Each rank by what lower ranks have wanted, as all of them know it.
void Simulated::drop_globally() {
  const bool by_rank = shape_.cap == ExpertCap::kRank;
  if (!by_rank && shape_.cap != ExpertCap::kExpertGlobal) return;
  std::vector<uint32_t> used(by_rank ? ranks.size() : placement_.num_experts());
  for (int r = 0; r < problem_.nranks(); ++r) {
    SimulatedRank& me = ranks[static_cast<size_t>(r)];
    me.dropped = by_rank
                     ? drop_tokens_after(shape_.capacity, placement_, shape_.topk, used, me.experts)
                     : drop_after(shape_.capacity, used, me.experts);
    count(r);
  }
}

void Simulated::exchange(int rank) {
  SimulatedRank& me = ranks[static_cast<size_t>(rank)];
  size_t room = 0;
  for (const SimulatedRank& other : ranks) room += other.experts.size();
  me.source_rows.resize(ranks.size() + 1);
  me.token.resize(room);
  me.first.resize(room + 1);
  me.expert.resize(room);
  me.k.resize(room);
  me.weight.resize(room);
  me.arrivals = {me.source_rows, me.token, me.first, me.k, me.expert, me.weight};
  me.arrivals.clear();
  const auto num_local = static_cast<uint32_t>(placement_.experts_of(rank).size());
  for (int s = 0; s < problem_.nranks(); ++s) {
    const SimulatedRank& source = ranks[static_cast<size_t>(s)];
    const size_t assignments = counts().assignments(placement_, s, rank);
    std::vector<std::byte> wire(routed_bytes(assignments, true));
    const std::vector<float>& weights = problem_.ranks[static_cast<size_t>(s)].weights;
    write_routed(placement_, rank, shape_.topk, source.experts,
                 std::span(weights).first(source.experts.size()), assignments, wire.data());
    const Status taken =
        me.arrivals.add(static_cast<uint32_t>(s), static_cast<uint32_t>(shape_.max_tokens),
                        shape_.topk, num_local, wire.data(), assignments);
    ASSERT_TRUE(taken.ok()) << taken.text();
  }
  me.row.resize(room);
  me.count.resize(num_local);
  me.offset.resize(num_local + 1);
  me.rows = {me.row, me.count, me.offset};
  lay_out(shape_, problem_.nranks(), me.arrivals, &me.rows);
}

void Simulated::depart(int rank) {
  SimulatedRank& me = ranks[static_cast<size_t>(rank)];
  const ExpertCounts mine = counts().of(rank);
  std::vector<uint32_t> sent_to;
  for (int r = 0; r < problem_.nranks(); ++r) {
    sent_to.push_back(static_cast<uint32_t>(counts().assignments(placement_, rank, r)));
  }
  me.rank_rows.resize(ranks.size() + 1);
  me.out_token.resize(me.experts.size());
  me.out_first.resize(me.experts.size() + 1);
  me.out_k.resize(me.experts.size());
  me.departures = {me.rank_rows, me.out_token, me.out_first, me.out_k};
  me.departures.fill(placement_, shape_.topk, me.experts, mine.tokens(), sent_to);
  const uint32_t words = mate_words(placement_);
  me.out_mates.resize(me.experts.size() * words);
  me.out_entry.resize(me.experts.size());
  me.departure_entries = {me.out_mates, me.out_entry, words};
  fill_entries(placement_, rank, static_cast<uint32_t>(me.experts.size() / shape_.topk),
               me.departures, &me.departure_entries);
}

void Simulated::find_entries(int rank) {
  SimulatedRank& me = ranks[static_cast<size_t>(rank)];
  const uint32_t words = mate_words(placement_);
  me.in_mates.resize(size_t{me.arrivals.rows} * words);
  me.in_entry.resize(me.arrivals.rows);
  me.arrival_entries = {me.in_mates, me.in_entry, words};
  for (int s = 0; s < problem_.nranks(); ++s) {
    const SimulatedRank& source = ranks[static_cast<size_t>(s)];
    const auto i = static_cast<size_t>(s);
    const size_t rows = me.source_rows[i + 1] - me.source_rows[i];
    std::vector<std::byte> wire(mate_bytes(placement_, s, rank, rows));
    write_mates(placement_, s, rank, source.departures, source.departure_entries, wire.data());
    const Status taken =
        take_entries(placement_, rank, s, me.arrivals, wire.data(), &me.arrival_entries);
    ASSERT_TRUE(taken.ok()) << taken.text();
  }
}

Routed Simulated::routed(int rank) const {
  const SimulatedRank& me = ranks[static_cast<size_t>(rank)];
  Routed r;
  r.rank = rank;
  r.nranks = problem_.nranks();
  r.shape = &shape_;
  r.tokens = static_cast<uint32_t>(me.experts.size() / shape_.topk);
  r.weights = problem_.ranks[static_cast<size_t>(rank)].weights;
  r.departures = &me.departures;
  r.arrivals = &me.arrivals;
  r.rows = &me.rows;
  r.ranks_per_node = placement_.ranks_per_node();
  r.departure_entries = &me.departure_entries;
  r.arrival_entries = &me.arrival_entries;
  return r;
}

}  // namespace tutti
