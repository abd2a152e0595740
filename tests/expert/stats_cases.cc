#include "tests/expert/stats_cases.h"

#include <gtest/gtest.h>

#include "tests/api/team.h"

namespace tutti {

using oracle::Prepared;
using oracle::Problem;

namespace {

using Tiers = std::array<int64_t, 3>;

Tiers tiers(const uint64_t (&counts)[3]) {
  return {static_cast<int64_t>(counts[0]), static_cast<int64_t>(counts[1]),
          static_cast<int64_t>(counts[2])};
}

Tiers times(Tiers counts, int64_t factor) {
  for (int64_t& count : counts) count *= factor;
  return counts;
}

// A way in which rows travel, and the bytes of one.
struct Packing {
  tuttiEpQuant_t quant;
  tuttiDataType_t in, out;
  int64_t hidden, scales;
  int64_t row_bytes() const {
    const int64_t element = out == tuttiBfloat16 ? 2 : 1;
    return hidden * element + scales * static_cast<int64_t>(sizeof(float));
  }
};

Packing packing_of(uint64_t seed) {
  switch (seed % 4) {
    case 0:
      return {TUTTI_EP_QUANT_NONE, tuttiBfloat16, tuttiBfloat16, 33, 0};
    case 1:
      return {TUTTI_EP_QUANT_FORWARD, tuttiUint8, tuttiUint8, 70, 3};
    case 2:
      return {TUTTI_EP_QUANT_FP8E4M3_B128, tuttiBfloat16, tuttiFloat8e4m3, 300, 3};
    default:
      return {TUTTI_EP_QUANT_INT8_TOKEN, tuttiBfloat16, tuttiInt8, 5000, 1};
  }
}

// One rank with its routing, and what the calls need.
struct Party {
  const Problem& p;
  const Prepared& want;
  const EpRank& r;
  bool values;  // numbers for each assignment go along
  const oracle::RankLayout& layout() const { return want.layouts[r.rank]; }
  int64_t local() const { return static_cast<int64_t>(layout().expert_count.size()); }
  int64_t tokens() const { return r.input().tokens; }
  EpStats stats() const { return {static_cast<size_t>(p.nranks()), static_cast<size_t>(local())}; }
};

std::vector<uint8_t> bytes_for(int64_t rows, int64_t row_bytes) {
  return std::vector<uint8_t>(static_cast<size_t>(rows * row_bytes));
}
std::vector<float> floats_for(int64_t rows, int64_t each) {
  return std::vector<float>(static_cast<size_t>(rows * each));
}

// Bytes of the numbers for each assignment that this rank sends, or that come back to others.
Tiers value_bytes(const Party& a, bool back) {
  const Problem one_by_one = [&] {
    Problem p = a.p;
    p.layout = oracle::Layout::kExpertMajor;  // where SLOT sends every assignment
    return p;
  }();
  const auto all = oracle::combine_traffic(one_by_one, a.want.routing, oracle::Reduce::kSlot, 4);
  if (back) return all[a.r.rank].bytes;
  Tiers out = {};
  for (size_t i = 0; i < a.want.routing.kept[a.r.rank].size(); ++i) {
    const int32_t expert = a.want.routing.kept[a.r.rank][i];
    if (expert < 0) continue;
    const int to = a.p.owner_of(expert);
    const int me = static_cast<int>(a.r.rank);
    const size_t tier = to == me ? 0 : a.p.node_of(to) == a.p.node_of(me) ? 1 : 2;
    out[tier] += 4;
  }
  return out;
}

void expect_dispatch_traffic(const Party& a, const Packing& packing) {
  const int64_t rows = a.layout().rows;
  const auto x = bytes_for(a.tokens(), packing.hidden * 2);
  const auto in_scale = floats_for(a.tokens(), packing.scales);
  const auto weight = floats_for(a.tokens(), a.p.topk);
  const auto out = bytes_for(rows, packing.hidden * 2);
  const auto out_scale = floats_for(rows, packing.scales);
  const auto row_weight = floats_for(rows, a.p.topk);
  EpDispatch op;
  op.config.quant = packing.quant;
  op.in.x = ep_tensor(x.data(), packing.in, {a.tokens(), packing.hidden});
  op.out.x = ep_rows(a.p, a.local(), out.data(), packing.out, rows, packing.hidden);
  if (packing.quant == TUTTI_EP_QUANT_FORWARD) {
    op.in.scale = ep_tensor(in_scale, {a.tokens(), packing.scales});
  }
  if (packing.scales > 0) {
    op.out.scale = ep_rows(a.p, a.local(), out_scale.data(), tuttiFloat32, rows, packing.scales);
  }
  if (a.values) {
    op.in.weight = ep_tensor(weight, {a.tokens(), a.p.topk});
    op.out.row_weight = ep_values(a.p, a.local(), row_weight, rows);
  }
  ASSERT_TRUE(returns(tuttiSuccess, op.run(a.r.handle)));
  EpStats got = a.stats();
  ASSERT_TRUE(returns(tuttiSuccess, got.read(a.r.group, true)));
  const oracle::Traffic expected = oracle::dispatch_traffic(
      a.p, a.want.routing, oracle::Algorithm::kDirect, packing.row_bytes())[a.r.rank];
  EXPECT_EQ(tiers(got.counts.rows), expected.rows);
  EXPECT_EQ(tiers(got.counts.payload_bytes), expected.bytes);
  EXPECT_EQ(tiers(got.counts.payload_bytes), times(expected.rows, packing.row_bytes()));
  EXPECT_EQ(tiers(got.counts.meta_bytes), a.values ? value_bytes(a, false) : Tiers{});
  EXPECT_EQ(got.expert_rows, a.layout().expert_count);
  EXPECT_EQ(got.counts.ops[TUTTI_EP_OP_DISPATCH], 1u);
  EXPECT_EQ(got.counts.ops[TUTTI_EP_OP_COMBINE], 0u);
}

void expect_combine_traffic(const Party& a, oracle::Reduce reduce, tuttiDataType_t partial) {
  constexpr int64_t kHidden = 40;
  const int64_t rows = a.layout().rows;
  const auto x = bytes_for(rows, kHidden * 2);
  const auto row_value = floats_for(rows, a.p.topk);
  const auto y = floats_for(a.tokens(), kHidden);
  const auto slot_value = floats_for(a.tokens(), a.p.topk);
  EpCombine op;
  op.config.reduce = reduce == oracle::Reduce::kSlot ? TUTTI_EP_REDUCE_SLOT : TUTTI_EP_REDUCE_RANK;
  op.config.partial = partial;
  op.in.x = ep_rows(a.p, a.local(), x.data(), tuttiBfloat16, rows, kHidden);
  op.out.x = ep_tensor(y, {a.tokens(), kHidden});
  if (a.values) {
    op.in.row_value = ep_values(a.p, a.local(), row_value, rows);
    op.out.slot_value = ep_tensor(slot_value, {a.tokens(), a.p.topk});
  }
  ASSERT_TRUE(returns(tuttiSuccess, op.run(a.r.handle)));
  EpStats got = a.stats();
  ASSERT_TRUE(returns(tuttiSuccess, got.read(a.r.group, true)));
  const bool wide = reduce == oracle::Reduce::kRank && partial == tuttiFloat32;
  const int64_t row_bytes = kHidden * (wide ? 4 : 2);
  const oracle::Traffic expected =
      oracle::combine_traffic(a.p, a.want.routing, reduce, row_bytes)[a.r.rank];
  EXPECT_EQ(tiers(got.counts.rows), expected.rows);
  EXPECT_EQ(tiers(got.counts.payload_bytes), expected.bytes);
  EXPECT_EQ(tiers(got.counts.meta_bytes), a.values ? value_bytes(a, true) : Tiers{});
  EXPECT_EQ(got.expert_rows, std::vector<int64_t>(got.expert_rows.size(), 0));
  EXPECT_EQ(got.counts.ops[TUTTI_EP_OP_COMBINE], 1u);
  EXPECT_EQ(got.counts.ops[TUTTI_EP_OP_DISPATCH], 0u);
}

}  // namespace

void expect_traffic(const RunRanks& run, const Problem& p, uint64_t seed) {
  const Prepared want = oracle::prepare(p);
  run(p.nranks(), [&](int rank, tuttiComm_t comm) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    const auto i = static_cast<size_t>(rank);
    const EpRank r(comm, p, TUTTI_EP_ALGO_DIRECT);
    ASSERT_TRUE(returns(tuttiSuccess, r.created));
    ASSERT_TRUE(returns(want.verdict[i], r.prepare()));
    const Party party{p, want, r, seed % 2 == 0};
    EpStats got = party.stats();
    ASSERT_TRUE(returns(tuttiSuccess, got.read(r.group, true)));
    EXPECT_EQ(tiers(got.counts.rows), Tiers{});
    EXPECT_EQ(tiers(got.counts.payload_bytes), Tiers{});
    EXPECT_EQ(got.peer_wait_ns[i], 0u);
    if (want.verdict[i] != tuttiSuccess) return;
    EXPECT_EQ(static_cast<int64_t>(got.counts.dropped), want.routing.dropped[i]);
    expect_dispatch_traffic(party, packing_of(seed));
    if (testing::Test::HasFatalFailure()) return;
    const bool slot = seed / 4 % 2 == 0;
    expect_combine_traffic(party, slot ? oracle::Reduce::kSlot : oracle::Reduce::kRank,
                           seed / 8 % 2 == 0 ? tuttiFloat32 : tuttiBfloat16);
    ASSERT_TRUE(returns(tuttiSuccess, got.read(r.group, false)));
    EXPECT_EQ(tiers(got.counts.rows), Tiers{}) << "the last call has reset them";
  });
}

}  // namespace tutti
