// Buffers that overlap without being in place are refused, on either side and for every collective;
// what the API calls in place is not.
#include <cstring>

#include "tests/api/calls.h"
#include "tests/api/team.h"

namespace tutti {
namespace {

using OverlapTest = ApiTest;

constexpr size_t kCount = 8;
constexpr int kRanks = 3;

// A place in the middle of enough memory on both sides.
struct Arena {
  float memory[6 * kRanks * kCount] = {};
  float* middle() { return memory + 2 * kRanks * kCount; }
};

// Elements from the start of the large buffer to what is in place with the small one.
ptrdiff_t own_block(const Function& f, int rank) {
  return f.many_in != f.many_out ? static_cast<ptrdiff_t>(kCount) * rank : 0;
}

TEST_F(OverlapTest, UnequalOverlapsAreRefused) {
  Team team(kRanks);
  Arena arena;
  for (const Function& f : kFunctions) {
    for (int rank = 0; rank < kRanks; ++rank) {
      const auto many = static_cast<ptrdiff_t>(kCount) * kRanks;
      const ptrdiff_t in = f.many_in ? many : static_cast<ptrdiff_t>(kCount);
      const ptrdiff_t out = f.many_out ? many : static_cast<ptrdiff_t>(kCount);
      // recv starts `shift` elements after send.
      for (ptrdiff_t shift = -out + 1; shift < in; ++shift) {
        const ptrdiff_t in_place = f.many_in ? own_block(f, rank) : -own_block(f, rank);
        if (shift == in_place) continue;
        Arguments a;
        a.send = arena.middle();
        a.recv = arena.middle() + shift;
        a.count = kCount;
        a.root = rank;
        a.comm = team[rank];
        EXPECT_TRUE(returns(tuttiInvalidArgument, f.call(a)))
            << f.name << " rank " << rank << " shift " << shift;
        EXPECT_TRUE(names(last_error(), {f.name, "rank " + std::to_string(rank), "overlap"}));
      }
    }
  }
  team.expect_usable();
}

// One byte is enough, at either end.
TEST_F(OverlapTest, OneByte) {
  Team team(2);
  char memory[64] = {};
  const auto call = [&](ptrdiff_t shift) {
    return tuttiAllReduce(memory + 20, memory + 20 + shift, 16, tuttiInt8, tuttiSum, team[0],
                          nullptr);
  };
  EXPECT_TRUE(returns(tuttiInvalidArgument, call(15)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, call(-15)));
  EXPECT_TRUE(names(last_error(), {"sendbuff (16 bytes)", "recvbuff (16 bytes)"}));
  team.expect_usable();
}

// Neighbours do not overlap, and each rank may be in place or not on its own.
TEST_F(OverlapTest, InPlaceAndNeighboursWork) {
  for (int n : {1, 2, 3}) {
    Team team(n);
    for (const Function& f : kFunctions) {
      for (int root = 0; root < (f.rooted ? n : 1); ++root) {
        for (int mode = 0; mode < 3; ++mode) {  // all in place, neighbours, mixed
          SCOPED_TRACE(testing::Message() << f.name << " n " << n << " mode " << mode);
          team.run([&](int rank, tuttiComm_t comm) {
            Arena arena;
            const bool in_place = mode == 0 || (mode == 2 && rank % 2 == 0);
            const auto blocks = static_cast<ptrdiff_t>(kCount) * n;
            const ptrdiff_t in = f.many_in ? blocks : static_cast<ptrdiff_t>(kCount);
            const ptrdiff_t own = own_block(f, rank);
            Arguments a;
            a.send = arena.middle();
            a.recv = arena.middle() + (!in_place ? in : f.many_in ? own : -own);
            a.count = kCount;
            a.root = root;
            a.comm = comm;
            EXPECT_TRUE(returns(tuttiSuccess, f.call(a)));
          });
        }
      }
    }
  }
}

// Where a rank has no such buffer it is ignored, whatever it points to.
TEST_F(OverlapTest, IgnoredBuffersMayBeAnything) {
  Team team(2);
  for (const Function& f : kFunctions) {
    if (!f.rooted) continue;
    for (void* ignored : {static_cast<void*>(nullptr), reinterpret_cast<void*>(UINTPTR_MAX)}) {
      team.run([&](int rank, tuttiComm_t comm) {
        Arena arena;
        Arguments a;
        a.send = arena.middle();
        a.recv = arena.middle() + kRanks * kCount;
        a.count = kCount;
        a.comm = comm;
        const bool root_sends = f.many_in || std::strcmp(f.name, "tuttiBroadcast") == 0;
        if (rank != 0 && root_sends) a.send = ignored;
        if (rank != 0 && !root_sends) a.recv = ignored;
        EXPECT_TRUE(returns(tuttiSuccess, f.call(a))) << f.name;
      });
    }
  }
}

TEST_F(OverlapTest, ReceivedBlocksMustNotOverlap) {
  Team team(2);
  float send[32] = {};
  float recv[32] = {};
  const size_t counts[] = {4, 4};
  const size_t apart[] = {0, 4};
  const size_t crossing[] = {3, 0};
  const tuttiDataType_t t = tuttiFloat32;
  const tuttiComm_t c = team[1];
  EXPECT_TRUE(returns(tuttiInvalidArgument,
                      tuttiAllGatherV(send, 4, recv, counts, crossing, t, c, nullptr)));
  EXPECT_TRUE(names(last_error(), {"tuttiAllGatherV", "rank 1 of 2", "recvbuff", "overlap"}));
  EXPECT_TRUE(returns(tuttiInvalidArgument,
                      tuttiGatherV(send, 4, recv, counts, crossing, t, 1, c, nullptr)));
  EXPECT_TRUE(returns(tuttiInvalidArgument,
                      tuttiAlltoAllV(send, counts, apart, recv, counts, crossing, t, c, nullptr)));
  // Blocks that are only read may overlap...
  team.run([&](int, tuttiComm_t comm) {
    float in[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    float out[8] = {};
    const size_t same[] = {0, 0};
    EXPECT_TRUE(returns(tuttiSuccess,
                        tuttiAlltoAllV(in, counts, same, out, counts, apart, t, comm, nullptr)));
    EXPECT_EQ(out[7], 4);
    EXPECT_TRUE(returns(tuttiSuccess,
                        tuttiReduceScatterV(in, counts, same, out, 4, t, tuttiSum, comm, nullptr)));
    EXPECT_EQ(out[3], 8);
  });
  // ...but not where the result is written over one of them.
  const size_t same[] = {0, 0};
  EXPECT_TRUE(returns(tuttiInvalidArgument,
                      tuttiReduceScatterV(send, counts, same, send, 4, t, tuttiSum, c, nullptr)));
  team.expect_usable();
}

TEST_F(OverlapTest, AllToAllInPlaceNeedsEqualBothWays) {
  Team team(2);
  float buffer[32] = {};
  const size_t counts[] = {2, 2};
  const size_t more[] = {3, 2};
  const size_t at[] = {0, 4};
  const size_t elsewhere[] = {4, 0};
  const tuttiDataType_t t = tuttiFloat32;
  const tuttiComm_t c = team[1];
  EXPECT_TRUE(returns(tuttiInvalidArgument,
                      tuttiAlltoAllV(buffer, counts, at, buffer, more, at, t, c, nullptr)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiAlltoAllV(buffer, counts, at, buffer, counts,
                                                           elsewhere, t, c, nullptr)));
  const size_t lopsided[] = {1, 2, 3, 1};
  EXPECT_TRUE(
      returns(tuttiInvalidArgument, tuttiAlltoAllVC(buffer, buffer, lopsided, t, c, nullptr)));
  EXPECT_TRUE(names(last_error(), {"tuttiAlltoAllVC", "overlap"}));
  team.expect_usable();
}

}  // namespace
}  // namespace tutti
