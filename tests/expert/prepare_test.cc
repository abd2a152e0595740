// tuttiEpPrepare through the C API: what it tells, against the oracle, and what it refuses.
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/ep_calls.h"
#include "tests/expert/oracle_cases.h"

namespace tutti {
namespace {

using oracle::Prepared;
using oracle::Problem;
using oracle::RankLayout;

class ExpertPrepare : public ApiTest {};

// Of layouts that fix them more than a masked rank gets.
int64_t rows_of(const Problem& p, const RankLayout& layout) {
  if (p.layout == oracle::Layout::kRankMajor) return p.nranks() * p.max_tokens;
  if (p.layout != oracle::Layout::kExpertSlab) return layout.rows;
  return static_cast<int64_t>(layout.experts.size()) * oracle::zone_capacity(p);
}

// What Prepare writes on one rank.
struct Told {
  explicit Told(const EpRank& r, const RankLayout& layout)
      : count(layout.expert_count.size(), -7),
        want(layout.want_count.size(), -7),
        offset(layout.expert_count.size() + 1, -7),
        src(r.problem.ranks.size(), -7),
        keep(r.input().ids.size(), 7),
        row_src(static_cast<size_t>(rows_of(r.problem, layout)) + 3, -7),
        row_slot(row_src.size() * (r.problem.has_expert_rows() ? 1 : r.problem.topk), -7) {
    const auto local = static_cast<int64_t>(count.size());
    const auto rows = static_cast<int64_t>(row_src.size());
    info.hdr = TUTTI_EP_HDR(tuttiEpLayoutInfo_t);
    info.expert_count = ep_tensor(count, {local});
    info.want_count = ep_tensor(want, {local});
    info.expert_offset = ep_tensor(offset, {local + 1});
    info.src_count = ep_tensor(src, {r.problem.nranks()});
    info.keep = ep_tensor(keep, {r.input().tokens, r.problem.topk});
    info.row_src = ep_tensor(row_src, {rows});
    info.row_slot = r.problem.has_expert_rows() ? ep_tensor(row_slot, {rows})
                                                : ep_tensor(row_slot, {rows, r.problem.topk});
  }
  std::vector<int32_t> count;
  std::vector<int64_t> want, offset, src;
  std::vector<uint8_t> keep;
  std::vector<int64_t> row_src;
  std::vector<int32_t> row_slot;
  tuttiEpLayoutInfo_t info = {};
};

// Everything that was to be written is right, and nothing beyond it was touched.
void expect_told(const Told& told, const RankLayout& want, const std::vector<uint8_t>& keep) {
  for (size_t i = 0; i < want.expert_count.size(); ++i) {
    EXPECT_EQ(told.count[i], want.expert_count[i]);
    EXPECT_EQ(told.want[i], want.want_count[i]);
  }
  for (size_t i = 0; i < want.expert_offset.size(); ++i) {
    EXPECT_EQ(told.offset[i], want.expert_offset[i]);
  }
  EXPECT_EQ(told.src, want.src_count);
  EXPECT_EQ(told.keep, keep);
  std::vector<int64_t> row_src = want.row_src;
  std::vector<int32_t> row_slot = want.row_slot;
  row_src.resize(told.row_src.size(), -7);
  row_slot.resize(told.row_slot.size(), -7);
  EXPECT_EQ(told.row_src, row_src);
  EXPECT_EQ(told.row_slot, row_slot);
}

void expect_as_oracle(const Team& team, const Problem& p) {
  const Prepared want = oracle::prepare(p);
  team.run([&](int rank, tuttiComm_t comm) {
    const auto i = static_cast<size_t>(rank);
    const EpRank r(comm, p);
    ASSERT_TRUE(returns(tuttiSuccess, r.created));
    Told told(r, want.layouts[i]);
    ASSERT_TRUE(returns(want.verdict[i], r.prepare(&told.info)));
    if (want.verdict[i] != tuttiSuccess) return;
    SCOPED_TRACE("rank " + std::to_string(rank));
    expect_told(told, want.layouts[i], want.routing.keep[i]);
    const tuttiEpHandleInfo_t info = r.info();
    EXPECT_EQ(info.recv_rows, want.layouts[i].rows);
    EXPECT_EQ(info.recv_tokens, want.layouts[i].recv_tokens);
    EXPECT_EQ(info.num_tokens, r.input().tokens);
    EXPECT_EQ(info.dropped, want.routing.dropped[i]);
    EXPECT_EQ(info.algo, p.nodes() > 1 ? TUTTI_EP_ALGO_HIER : TUTTI_EP_ALGO_DIRECT);
    EXPECT_EQ(info.reduce_auto, p.nodes() > 1 ? TUTTI_EP_REDUCE_NODE : TUTTI_EP_REDUCE_RANK);
  });
}

TEST_F(ExpertPrepare, AsTheOracleSays) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Problem p = oracle::random_problem(seed, oracle::small_limits());
    const Team team(p.nranks());
    expect_as_oracle(team, p);
    if (HasFailure()) return;
  }
}

TEST_F(ExpertPrepare, AgainOnTheSameHandleIsANewRouting) {
  Problem p = oracle::two_ranks(oracle::Layout::kExpertMajor);
  const Problem first = p;
  p.ranks[0].ids = {3, -1, 1, 1, 0, 2};
  const Prepared want = oracle::prepare(p);
  const Team team(2);
  team.run([&](int rank, tuttiComm_t comm) {
    const auto i = static_cast<size_t>(rank);
    const EpRank r(comm, p);
    const auto ids = [&](const Problem& of) {
      return ep_tensor(of.ranks[i].ids, {of.ranks[i].tokens, of.topk});
    };
    for (int round = 0; round < 20; ++round) {
      const tuttiEpTensor_t before = ids(first);
      ASSERT_TRUE(
          returns(tuttiSuccess, tuttiEpPrepare(r.handle, &before, nullptr, nullptr, nullptr)));
      Told told(r, want.layouts[i]);
      ASSERT_TRUE(returns(tuttiSuccess, r.prepare(&told.info)));
      expect_told(told, want.layouts[i], want.routing.keep[i]);
    }
  });
}

TEST_F(ExpertPrepare, OneRanksFaultIsKnownToAllAndTheGroupGoesOn) {
  const Problem good = oracle::two_ranks(oracle::Layout::kFlat);
  Problem bad = good;
  bad.ranks[1].ids[0] = 4;
  const Team team(2);
  team.run([&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, good);
    const auto i = static_cast<size_t>(rank);
    const auto prepare = [&](tuttiEpTensor_t ids) {
      return tuttiEpPrepare(r.handle, &ids, nullptr, nullptr, nullptr);
    };
    const tuttiEpTensor_t ids = ep_tensor(bad.ranks[i].ids, {bad.ranks[i].tokens, 2});
    const auto expected = rank == 1 ? tuttiInvalidArgument : tuttiRemoteError;
    EXPECT_TRUE(returns(expected, prepare(ids)));
    EXPECT_TRUE(names(last_error(), rank == 1 ? std::vector<std::string>{"topk_idx[0][0]", "4"}
                                              : std::vector<std::string>{"rank 1"}));
    // Wrong before anything is looked at: a type, a shape, a null pointer.
    tuttiEpTensor_t wrong = ids;
    if (rank == 1) wrong.dtype = tuttiFloat32;
    EXPECT_TRUE(returns(expected, prepare(wrong)));
    wrong = ids;
    if (rank == 1) wrong.dim[1] = 3;
    EXPECT_TRUE(returns(expected, prepare(wrong)));
    wrong = ids;
    if (rank == 1) wrong.data = nullptr;
    EXPECT_TRUE(returns(expected, prepare(wrong)));
    wrong = ids;
    if (rank == 1) wrong.dim[0] = 4;
    EXPECT_TRUE(returns(expected, prepare(wrong)));
    EXPECT_TRUE(returns(tuttiSuccess, r.prepare()));
    EXPECT_EQ(r.info().recv_rows, 3);
  });
}

// Where the others have weights, too: those of the rank at fault have not been looked at.
TEST_F(ExpertPrepare, OneRanksFaultIsToldBesideWeights) {
  const Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  const Team team(2);
  team.run([&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    tuttiEpTensor_t ids = ep_tensor(r.input().ids, {r.input().tokens, p.topk});
    const tuttiEpTensor_t weights = ep_tensor(r.input().weights, {r.input().tokens, p.topk});
    if (rank == 1) ids.dtype = tuttiFloat32;
    EXPECT_TRUE(returns(rank == 1 ? tuttiInvalidArgument : tuttiRemoteError,
                        tuttiEpPrepare(r.handle, &ids, &weights, nullptr, nullptr)));
    EXPECT_TRUE(names(last_error(), {rank == 1 ? "topk_idx" : "rank 1"}));
    EXPECT_TRUE(returns(tuttiSuccess, r.prepare()));
  });
}

TEST_F(ExpertPrepare, HandlesThatDifferAreRefusedOnAllRanks) {
  const Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  const Team team(2);
  team.run([&](int rank, tuttiComm_t comm) {
    Problem mine = p;
    if (rank == 1) mine.layout = oracle::Layout::kRankMajor;
    const EpRank r(comm, mine);
    EXPECT_TRUE(returns(tuttiInvalidArgument, r.prepare()));
    EXPECT_TRUE(names(last_error(), {"layout", "same on all ranks"}));
  });
}

// Each would judge by its own whether the others have room.
TEST_F(ExpertPrepare, SlabsThatDifferAreRefusedOnAllRanks) {
  for (const bool slab : {true, false}) {
    Problem p =
        oracle::two_ranks(slab ? oracle::Layout::kExpertSlab : oracle::Layout::kExpertMajor);
    if (!slab) {
      p.capacity_mode = oracle::CapacityMode::kExpertGlobal;
      p.capacity = 3;
      p.pad_to_capacity = true;
    }
    const Team team(2, 5);
    team.run([&](int rank, tuttiComm_t comm) {
      Problem mine = p;
      mine.slab_rows = rank == 0 ? 1 : 20;
      const EpRank r(comm, mine);
      EXPECT_TRUE(returns(tuttiInvalidArgument, r.prepare()));
      EXPECT_TRUE(names(last_error(), {"slab_rows", "same on all ranks", "1", "20"}));
    });
  }
}

TEST_F(ExpertPrepare, TooLittleRoomIsToldWithWhatWasNeeded) {
  Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  const Team team(2);
  team.run([&](int rank, tuttiComm_t comm) {
    Problem mine = p;
    if (rank == 0) mine.max_recv_rows = 2;
    const EpRank r(comm, mine);
    EXPECT_TRUE(returns(rank == 0 ? tuttiInvalidArgument : tuttiRemoteError, r.prepare()));
    EXPECT_TRUE(names(last_error(), {"rank 0", "at most 2 rows", "got 3"}));
    EXPECT_EQ(r.info().recv_rows, 3);
  });
}

TEST_F(ExpertPrepare, GroupsThatDifferAreRefusedOnAllRanks) {
  const Team team(3);
  team.run([&](int rank, tuttiComm_t comm) {
    tuttiEpGroupConfig_t c = {};
    c.hdr = TUTTI_EP_HDR(tuttiEpGroupConfig_t);
    c.num_experts = 4;
    c.max_topk = 2;
    c.max_tokens_per_rank = rank == 2 ? 9 : 8;
    tuttiEpGroup_t group = nullptr;
    EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiEpGroupCreate(&group, comm, &c)));
    EXPECT_TRUE(names(last_error(), {"max_tokens_per_rank", "8", "9"}));
    c.max_tokens_per_rank = 8;
    c.num_experts = rank == 1 ? 0 : 4;
    EXPECT_TRUE(returns(rank == 1 ? tuttiInvalidArgument : tuttiRemoteError,
                        tuttiEpGroupCreate(&group, comm, &c)));
    EXPECT_EQ(group, nullptr);
    c.num_experts = 4;
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpGroupCreate(&group, comm, &c)));
    EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiCommDestroy(comm)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpGroupDestroy(group)));
  });
}

// All of a group's memory comes through its own functions, as much as was announced.
TEST_F(ExpertPrepare, MemoryIsWhatWasAnnounced) {
  const Team team(2);
  team.run([&](int, tuttiComm_t comm) {
    const Problem p = oracle::two_ranks(oracle::Layout::kExpertMajor);
    struct Counted {
      size_t taken = 0;
      int alive = 0;
    } counted;
    tuttiEpGroupConfig_t c = ep_group_config(p);
    c.alloc_ctx = &counted;
    c.alloc = [](size_t bytes, void* context) {
      static_cast<Counted*>(context)->taken += bytes;
      ++static_cast<Counted*>(context)->alive;
      return aligned_alloc(64, (bytes + 63) / 64 * 64);
    };
    c.release = [](void* memory, void* context) {
      --static_cast<Counted*>(context)->alive;
      free(memory);
    };
    size_t announced = 0;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiEpGroupMemory(&c, 2, &announced)));
    tuttiEpGroup_t group = nullptr;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiEpGroupCreate(&group, comm, &c)));
    EXPECT_EQ(counted.taken, announced);
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpGroupDestroy(group)));
    EXPECT_EQ(counted.alive, 0);
  });
}

TEST_F(ExpertPrepare, OnAStream) {
  const Problem p = oracle::two_ranks(oracle::Layout::kExpertMajor);
  const Prepared want = oracle::prepare(p);
  const Team team(2);
  team.run([&](int rank, tuttiComm_t comm) {
    const auto i = static_cast<size_t>(rank);
    const EpRank r(comm, p);
    tuttiStream_t stream = nullptr;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiStreamCreate(&stream)));
    Told told(r, want.layouts[i]);
    const tuttiEpTensor_t ids = ep_tensor(r.input().ids, {r.input().tokens, p.topk});
    ASSERT_TRUE(returns(tuttiSuccess, tuttiEpPrepare(r.handle, &ids, nullptr, &told.info, stream)));
    EXPECT_EQ(r.info().recv_rows, want.layouts[i].rows) << "waits until it is done";
    expect_told(told, want.layouts[i], want.routing.keep[i]);
    EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(stream)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamDestroy(stream)));
  });
}

// Once the stream has been waited for nothing holds the handle or the group.
TEST_F(ExpertPrepare, DestroyedOnceTheStreamIsThrough) {
  const Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  const Team team(2);
  team.run([&](int rank, tuttiComm_t comm) {
    const oracle::RankInput& input = p.ranks[static_cast<size_t>(rank)];
    const tuttiEpGroupConfig_t config = ep_group_config(p);
    const tuttiEpHandleConfig_t shape = ep_handle_config(p);
    const tuttiEpTensor_t ids = ep_tensor(input.ids, {input.tokens, p.topk});
    tuttiStream_t stream = nullptr;
    ASSERT_TRUE(returns(tuttiSuccess, tuttiStreamCreate(&stream)));
    for (int round = 0; round < 300; ++round) {
      tuttiEpGroup_t group = nullptr;
      tuttiEpHandle_t handle = nullptr;
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpGroupCreate(&group, comm, &config)));
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpHandleCreate(&handle, group, &shape, nullptr)));
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpPrepare(handle, &ids, nullptr, nullptr, stream)));
      ASSERT_TRUE(returns(tuttiSuccess, tuttiStreamSynchronize(stream)));
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpHandleDestroy(handle)));
      ASSERT_TRUE(returns(tuttiSuccess, tuttiEpGroupDestroy(group)));
    }
    EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamDestroy(stream)));
  });
}

// Other operations of the communicator go on beside it.
TEST_F(ExpertPrepare, BesideCollectives) {
  const Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  const Team team(2);
  team.run([&](int rank, tuttiComm_t comm) {
    const EpRank r(comm, p);
    for (int round = 0; round < 50; ++round) {
      float value = static_cast<float>(rank);
      if ((round + rank) % 2 == 0) {
        ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
        EXPECT_TRUE(returns(tuttiSuccess, r.prepare()));
        EXPECT_TRUE(returns(tuttiSuccess, tuttiAllReduce(&value, &value, 1, tuttiFloat32, tuttiSum,
                                                         comm, nullptr)));
      } else {
        ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
        EXPECT_TRUE(returns(tuttiSuccess, tuttiAllReduce(&value, &value, 1, tuttiFloat32, tuttiSum,
                                                         comm, nullptr)));
        EXPECT_TRUE(returns(tuttiSuccess, r.prepare()));
      }
      ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
      EXPECT_EQ(value, 1.0f);
      EXPECT_EQ(r.info().recv_rows, 3);
    }
  });
}

// It would wait for what begins only when the group ends.
TEST_F(ExpertPrepare, InfoInsideAGroupIsRefused) {
  const Problem p = oracle::two_ranks(oracle::Layout::kFlat);
  const Team team(2);
  team.run([&](int, tuttiComm_t comm) {
    const EpRank r(comm, p);
    tuttiEpHandleInfo_t info = {};
    info.hdr = TUTTI_EP_HDR(tuttiEpHandleInfo_t);
    ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
    ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiEpHandleGetInfo(r.handle, &info)))
        << "nothing to wait for";
    EXPECT_TRUE(returns(tuttiSuccess, tuttiGroupEnd()));
    ASSERT_TRUE(returns(tuttiSuccess, tuttiGroupStart()));
    EXPECT_TRUE(returns(tuttiSuccess, r.prepare()));
    EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiEpHandleGetInfo(r.handle, &info)));
    EXPECT_TRUE(names(last_error(), {"tuttiEpHandleGetInfo", "tuttiGroupEnd"}));
    EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiGroupEnd())) << "nothing of the group has happened";
    EXPECT_TRUE(returns(tuttiSuccess, r.prepare()));
  });
}

TEST_F(ExpertPrepare, RefusesWhatIsNoGroupOrHandle) {
  tuttiEpGroup_t group = nullptr;
  tuttiEpHandle_t handle = nullptr;
  tuttiEpHandleConfig_t c = {};
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiEpHandleCreate(&handle, group, &c, nullptr)));
  EXPECT_TRUE(
      returns(tuttiInvalidArgument, tuttiEpPrepare(handle, nullptr, nullptr, nullptr, nullptr)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiEpHandleDestroy(nullptr)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiEpGroupDestroy(nullptr)));
  size_t bytes = 0;
  tuttiEpGroupConfig_t g = {};
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiEpGroupMemory(&g, 2, &bytes)));
  EXPECT_TRUE(names(last_error(), {"TUTTI_EP_HDR"}));
}

}  // namespace
}  // namespace tutti
