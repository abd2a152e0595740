#include "tests/expert/zero_copy_cases.h"

#include <cstdlib>
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/area.h"
#include "tests/expert/stats_cases.h"

namespace tutti {

using oracle::Prepared;
using oracle::Problem;

namespace {

using Bytes = std::vector<uint8_t>;

constexpr int32_t kAuto = 0;
constexpr int32_t kRequire = 1;
constexpr int32_t kForbid = 2;

// What a call has done.
struct Outcome {
  tuttiResult_t result = tuttiSuccess;
  std::string error;
  Bytes out;
  uint64_t staged = 0;
};

// A call of one rank, made in several ways on the same rows.
class Calls {
 public:
  Calls(const Problem& p, const Prepared& want, const EpRank& r, uint64_t seed)
      : p_(p), layout_(want.layouts[r.rank]), r_(r), random_{seed + r.rank} {}

  // Rows of bf16 as they are, or of fp8 with scales.
  Outcome dispatch(bool quantised, int32_t zero_copy, bool shared) {
    const Bytes x = rows(r_.input().tokens);
    const Area in(x, shared);
    const int64_t scales = (kHidden + 127) / 128;
    const auto num = static_cast<size_t>(layout_.rows);
    const Area out(Bytes(num * kHidden * 2, 0xa5), shared);
    const Area out_scale(Bytes(num * static_cast<size_t>(scales) * 4, 0xa5), shared);
    EpDispatch op;
    op.config.zero_copy = zero_copy;
    op.in.x = ep_tensor(in.data(), tuttiBfloat16, {r_.input().tokens, kHidden});
    op.out.x = ep_rows(p_, local(), out.data(), quantised ? tuttiFloat8e4m3 : tuttiBfloat16,
                       layout_.rows, kHidden);
    if (quantised) {
      op.config.quant = TUTTI_EP_QUANT_FP8E4M3_B128;
      op.out.scale = ep_rows(p_, local(), out_scale.data(), tuttiFloat32, layout_.rows, scales);
    }
    return outcome_of(op.run(r_.handle), out, num * kHidden * 2);
  }

  // Rows one by one, or sums of them.
  Outcome combine(bool slot, int32_t zero_copy, bool shared) {
    const Area in(rows(layout_.rows), shared);
    const size_t bytes = static_cast<size_t>(r_.input().tokens) * kHidden * 4;
    const Area out(Bytes(bytes, 0xa5), shared);
    EpCombine op;
    op.config.zero_copy = zero_copy;
    op.config.reduce = slot ? TUTTI_EP_REDUCE_SLOT : TUTTI_EP_REDUCE_RANK;
    op.config.partial = slot ? tuttiBfloat16 : tuttiFloat32;
    op.in.x = ep_rows(p_, local(), in.data(), tuttiBfloat16, layout_.rows, kHidden);
    op.out.x = ep_tensor(out.data(), tuttiFloat32, {r_.input().tokens, kHidden});
    return outcome_of(op.run(r_.handle), out, bytes);
  }

  int64_t row_bytes() const { return kHidden * 2; }

 private:
  static constexpr int64_t kHidden = 150;

  int64_t local() const { return static_cast<int64_t>(layout_.expert_count.size()); }
  // The same at each call.
  Bytes rows(int64_t count) const {
    oracle::Random random = random_;
    std::vector<float> values;
    for (int64_t i = 0; i < count * kHidden; ++i) values.push_back(random.normal());
    return oracle::pack(tuttiBfloat16, values);
  }
  Outcome outcome_of(tuttiResult_t result, const Area& out, size_t bytes) const {
    Outcome o{result, result == tuttiSuccess ? "" : last_error(), {}, 0};
    o.out.assign(out.data(), out.data() + bytes);
    EpStats stats(static_cast<size_t>(p_.nranks()), static_cast<size_t>(local()));
    EXPECT_TRUE(returns(tuttiSuccess, stats.read(r_.group, true)));
    o.staged = stats.counts.staged_bytes;
    return o;
  }

  const Problem& p_;
  const oracle::RankLayout& layout_;
  const EpRank& r_;
  const oracle::Random random_;
};

using Call = std::function<Outcome(int32_t zero_copy, bool shared)>;

// `arrives`: bytes that come from other ranks.
void expect_possible(const Call& call, bool shared, int64_t arrives) {
  const Outcome plain = call(kAuto, shared);
  const Outcome direct = call(kRequire, shared);
  const Outcome copied = call(kForbid, shared);
  EXPECT_TRUE(returns(tuttiSuccess, plain.result));
  EXPECT_TRUE(returns(tuttiSuccess, direct.result)) << direct.error;
  EXPECT_TRUE(returns(tuttiSuccess, copied.result));
  EXPECT_EQ(direct.staged, 0u);
  EXPECT_GE(copied.staged, static_cast<uint64_t>(arrives));
  EXPECT_EQ(direct.out, plain.out);
  EXPECT_EQ(copied.out, plain.out);
}

// `here`: this rank would have to copy; `copies`: so many bytes, where the sender does that.
void expect_refused(const Call& call, bool shared, bool here, int64_t copies = 0) {
  const Outcome refused = call(kRequire, shared);
  if (here) {
    EXPECT_TRUE(returns(tuttiInvalidUsage, refused.result));
    EXPECT_TRUE(names(refused.error, {"zero_copy", "expected", "got"}));
  } else {
    EXPECT_TRUE(refused.result == tuttiSuccess || refused.result == tuttiRemoteError);
  }
  EXPECT_EQ(refused.staged, 0u);
  const Outcome plain = call(kAuto, shared);
  EXPECT_TRUE(returns(tuttiSuccess, plain.result)) << "the group works on";
  EXPECT_GE(plain.staged, static_cast<uint64_t>(copies));
  if (shared) {
    EXPECT_EQ(call(kForbid, shared).out, plain.out);
  }
}

int64_t remote(const oracle::Traffic& traffic) { return traffic.rows[1] + traffic.rows[2]; }

}  // namespace

void expect_zero_copy(const RunRanks& run, const Problem& p, uint64_t seed, Reach reach) {
  const Prepared want = oracle::prepare(p);
  run(p.nranks(), [&](int rank, tuttiComm_t comm) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    const auto i = static_cast<size_t>(rank);
    const EpRank r(comm, p, TUTTI_EP_ALGO_DIRECT);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    Calls calls(p, want, r, seed);
    const Call dispatch = [&](int32_t zero_copy, bool shared) {
      return calls.dispatch(false, zero_copy, shared);
    };
    const Call quantised = [&](int32_t zero_copy, bool shared) {
      return calls.dispatch(true, zero_copy, shared);
    };
    const Call sums = [&](int32_t zero_copy, bool shared) {
      return calls.combine(false, zero_copy, shared);
    };
    const Call slots = [&](int32_t zero_copy, bool shared) {
      return calls.combine(true, zero_copy, shared);
    };
    const auto out = oracle::dispatch_traffic(p, want.routing, oracle::Algorithm::kDirect, 1)[i];
    const auto back = oracle::combine_traffic(p, want.routing, oracle::Reduce::kSlot, 1)[i];
    int64_t arrives = 0;
    for (int s = 0; s < p.nranks(); ++s) {
      if (s != rank) arrives += want.layouts[i].src_count[static_cast<size_t>(s)];
    }
    const bool alone = p.nranks() == 1;
    for (const bool shared : {true, false}) {
      SCOPED_TRACE(shared ? "memory of the library" : "ordinary memory");
      if (reach == Reach::kNone && !alone) {
        for (const Call& call : {dispatch, quantised, sums, slots}) {
          expect_refused(call, shared, true);
        }
      } else {
        const bool readable = shared || reach != Reach::kShared;
        if (readable) {
          expect_possible(dispatch, shared, arrives * calls.row_bytes());
          expect_possible(slots, shared, remote(out) * calls.row_bytes());
        } else {
          expect_refused(dispatch, shared, remote(out) > 0, remote(out) * calls.row_bytes());
          expect_refused(slots, shared, remote(back) > 0, remote(back) * calls.row_bytes());
        }
        expect_possible(quantised, shared, arrives);
        expect_possible(sums, shared, remote(out) * calls.row_bytes());
      }
      if (testing::Test::HasFailure()) return;
    }
  });
}

void expect_zero_copy_needs_the_groups_memory(const RunRanks& run, Reach reach) {
  const Problem p = refusal_problem();
  constexpr int64_t kHidden = 6;
  run(3, [&](int, tuttiComm_t comm) {
    tuttiEpGroupConfig_t config = ep_group_config(p);
    config.algo = TUTTI_EP_ALGO_DIRECT;
    config.alloc = [](size_t bytes, void*) {
      return std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    };
    config.release = [](void* memory, void*) { std::free(memory); };
    const tuttiEpHandleConfig_t shape = ep_handle_config(p);
    tuttiEpGroup_t group = nullptr;
    tuttiEpHandle_t handle = nullptr;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiEpGroupCreate(&group, comm, &config)));
    ASSERT_TRUE(returns(tuttiSuccess, tuttiEpHandleCreate(&handle, group, &shape, nullptr)));
    const tuttiEpTensor_t ids = ep_tensor(p.ranks[0].ids, {p.max_tokens, p.topk});
    ASSERT_TRUE(returns(tuttiSuccess, tuttiEpPrepare(handle, &ids, nullptr, nullptr, nullptr)));
    const std::vector<float> x(static_cast<size_t>(p.max_tokens * kHidden), 1);
    const Bytes out(static_cast<size_t>(3 * p.max_tokens * kHidden));
    const std::vector<float> scale(static_cast<size_t>(3 * p.max_tokens));
    EpDispatch op;
    op.config.quant = TUTTI_EP_QUANT_INT8_TOKEN;
    op.config.zero_copy = kRequire;
    op.in.x = ep_tensor(x, {p.max_tokens, kHidden});
    op.out.x = ep_tensor(out.data(), tuttiInt8, {3 * p.max_tokens, kHidden});
    op.out.scale = ep_tensor(scale, {3 * p.max_tokens, 1});
    const bool possible = reach == Reach::kAll;
    EXPECT_TRUE(returns(possible ? tuttiSuccess : tuttiInvalidUsage, op.run(handle)));
    if (reach == Reach::kShared) {
      EXPECT_TRUE(names(last_error(), {"expert dispatch", "zero_copy", "the group's memory"}));
    }
    op.config.zero_copy = kAuto;
    EXPECT_TRUE(returns(tuttiSuccess, op.run(handle)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpHandleDestroy(handle)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpGroupDestroy(group)));
  });
}

}  // namespace tutti
