// Experts that move between steps: everything as the oracle says of each placement by itself.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <memory>

#include "tests/api/team.h"
#include "tests/expert/oracle_cases.h"
#include "tests/expert/rows_cases.h"

namespace tutti {

using oracle::Prepared;
using oracle::Problem;

namespace {

using Bytes = std::vector<uint8_t>;

constexpr int64_t kHidden = 5;
constexpr size_t kRowBytes = kHidden * sizeof(float);
constexpr size_t kGuard = 64;  // behind the memory of a handle

// The same tokens with the experts elsewhere: anywhere, all on one rank, or in blocks.
Problem moved(const Problem& p, uint64_t seed) {
  oracle::Random random{seed};
  Problem to = p;
  to.expert_rank.clear();
  const auto one = static_cast<int32_t>(random.below(p.nranks()));
  for (int32_t e = 0; e < p.num_experts && seed % 4 != 3; ++e) {
    to.expert_rank.push_back(seed % 4 == 2 ? one : static_cast<int32_t>(random.below(p.nranks())));
  }
  for (size_t i = to.phys_to_log.size(); i > 1; --i) {
    std::swap(to.phys_to_log[i - 1], to.phys_to_log[static_cast<size_t>(random.below(i))]);
  }
  return to;
}

// What all ranks have of one step.
struct Step {
  explicit Step(const Problem& problem, const std::vector<Bytes>& x)
      : p(problem), want(oracle::prepare(p)) {
    for (const oracle::RankLayout& layout : want.layouts) {
      rows.emplace_back(layout.row.size() * kRowBytes);
      oracle::write_rows(layout, x, kRowBytes, rows.back());
    }
    oracle::CombineCase c;
    c.hidden = kHidden;
    c.rows = rows;
    sums = oracle::combine(p, want, c);
  }
  Problem p;
  Prepared want;
  std::vector<Bytes> rows;  // that Dispatch leaves
  std::vector<Bytes> sums;  // of these by Combine
};

// A handle in memory of exactly the size announced.
class GuardedHandle {
 public:
  GuardedHandle(tuttiEpGroup_t group, const Problem& p) {
    const tuttiEpHandleConfig_t config = ep_handle_config(p);
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpHandleMemSize(group, &config, &bytes_)));
    memory_.reset(static_cast<uint8_t*>(aligned_alloc(64, (bytes_ + kGuard + 63) / 64 * 64)));
    std::memset(memory_.get() + bytes_, 0x5a, kGuard);
    EXPECT_TRUE(
        returns(tuttiSuccess, tuttiEpHandleCreate(&handle_, group, &config, memory_.get())));
  }
  ~GuardedHandle() {
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpHandleDestroy(handle_)));
    EXPECT_EQ(std::count(memory_.get() + bytes_, memory_.get() + bytes_ + kGuard, 0x5a), kGuard);
  }
  GuardedHandle(const GuardedHandle&) = delete;
  GuardedHandle& operator=(const GuardedHandle&) = delete;
  tuttiEpHandle_t get() const { return handle_; }

 private:
  struct Free {
    void operator()(uint8_t* memory) const { free(memory); }
  };
  size_t bytes_ = 0;
  std::unique_ptr<uint8_t, Free> memory_;
  tuttiEpHandle_t handle_ = nullptr;
};

tuttiResult_t set_placement(const EpRank& r, const Problem& p) {
  return tuttiEpSetPlacement(r.group, p.expert_rank.empty() ? nullptr : p.expert_rank.data(),
                             p.num_logical > 0 ? p.phys_to_log.data() : nullptr, nullptr);
}

void expect_step(const EpRank& r, tuttiEpHandle_t handle, const Step& step, const Bytes& x) {
  const oracle::RankLayout& layout = step.want.layouts[r.rank];
  const auto local = static_cast<int64_t>(layout.expert_count.size());
  const int64_t tokens = r.input().tokens;
  Bytes out(layout.row.size() * kRowBytes, 0);
  Bytes sums(static_cast<size_t>(tokens) * kRowBytes, 0x5a);
  EpDispatch there;
  there.in.x = ep_tensor(x.data(), tuttiFloat32, {tokens, kHidden});
  there.out.x = ep_rows(step.p, local, out.data(), tuttiFloat32, layout.rows, kHidden);
  EpCombine back;
  back.config.reduce = TUTTI_EP_REDUCE_SLOT;
  back.in.x = there.out.x;
  back.out.x = ep_tensor(sums.data(), tuttiFloat32, {tokens, kHidden});
  const tuttiEpTensor_t ids = ep_tensor(r.input().ids, {tokens, step.p.topk});
  const tuttiEpTensor_t weights = ep_tensor(r.input().weights, {tokens, step.p.topk});
  EXPECT_TRUE(returns(tuttiInvalidUsage, there.run(handle))) << "prepared for another placement";
  EXPECT_TRUE(returns(tuttiInvalidUsage, back.run(handle)));
  ASSERT_TRUE(
      returns(step.want.verdict[r.rank], tuttiEpPrepare(handle, &ids, &weights, nullptr, nullptr)));
  if (step.want.verdict[r.rank] != tuttiSuccess) return;
  ASSERT_TRUE(returns(tuttiSuccess, there.run(handle)));
  EXPECT_EQ(out, step.rows[r.rank]);
  ASSERT_TRUE(returns(tuttiSuccess, back.run(handle)));
  EXPECT_EQ(sums, step.sums[r.rank]);
}

}  // namespace

void expect_placements(const RunRanks& run, const Problem& p, uint64_t seed) {
  oracle::Random random{seed};
  std::vector<Bytes> x;
  for (const oracle::RankInput& rank : p.ranks) {
    std::vector<float> values(static_cast<size_t>(rank.tokens * kHidden));
    for (float& value : values) value = random.normal();
    x.push_back(oracle::pack(tuttiFloat32, values));
  }
  std::vector<Step> steps;
  for (uint64_t s = 0; s < 4; ++s) steps.emplace_back(moved(p, 4 * seed + s), x);
  run(p.nranks(), [&](int rank, tuttiComm_t comm) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    const EpRank r(comm, p);
    ASSERT_TRUE(returns(tuttiSuccess, r.created));
    const GuardedHandle handle(r.group, p);
    for (const Step& step : steps) {
      ASSERT_TRUE(returns(tuttiSuccess, set_placement(r, step.p)));
      expect_step(r, handle.get(), step, x[r.rank]);
      if (testing::Test::HasFailure()) return;
    }
  });
}

void expect_placement_refused(const RunRanks& run) {
  Problem p = oracle::two_ranks(oracle::Layout::kExpertMajor);
  run(2, [&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    const int64_t rows = r.info().recv_rows;
    const auto set = [&](std::vector<int32_t> owners) {
      return tuttiEpSetPlacement(r.group, owners.data(), nullptr, nullptr);
    };
    EXPECT_TRUE(returns(tuttiInvalidArgument, set({0, rank, 0, 0})));
    EXPECT_TRUE(names(last_error(), {"placement of experts", "same on all ranks", "rank"}));
    EXPECT_TRUE(returns(rank == 1 ? tuttiInvalidArgument : tuttiRemoteError,
                        set({0, 0, 0, rank == 1 ? 2 : 1})));
    EXPECT_TRUE(names(last_error(), rank == 1 ? std::vector<std::string>{"expert_rank[3]", "got 2"}
                                              : std::vector<std::string>{"rank 1", "placement"}));
    EXPECT_EQ(r.info().recv_rows, rows) << "nothing has changed";
    EXPECT_TRUE(returns(tuttiSuccess, r.prepare()));
    EXPECT_EQ(r.info().recv_rows, rows);
    EXPECT_TRUE(returns(tuttiSuccess, set({1, 1, 1, 1})));
    EXPECT_TRUE(returns(tuttiSuccess, r.prepare()));
    EXPECT_EQ(r.info().recv_rows, rank == 1 ? 7 : 0);
  });
}

}  // namespace tutti
