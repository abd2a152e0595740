// Bad arguments: found before a byte moves, each with its own code and a text that says what was
// expected and what was got, and the communicator goes on as if nothing had happened.
#include <climits>
#include <cmath>
#include <cstring>

#include "tests/api/calls.h"
#include "tests/api/team.h"

namespace tutti {
namespace {

class ArgumentsTest : public ApiTest {
 protected:
  // Good arguments of `f` on `comm`.
  Arguments good(tuttiComm_t comm) {
    Arguments a;
    a.send = send_;
    a.recv = recv_;
    a.count = 4;
    a.comm = comm;
    return a;
  }
  static tuttiDataType_t dtype_of(int value) { return enum_of<tuttiDataType_t>(value); }
  static tuttiRedOp_t op_of(int value) { return enum_of<tuttiRedOp_t>(value); }
  // As a C caller can pass it: any bits.
  template <typename Enum>
  static Enum enum_of(int value) {
    Enum e;
    static_assert(sizeof e == sizeof value);
    std::memcpy(&e, &value, sizeof e);
    return e;
  }

  float send_[64] = {};
  float recv_[64] = {};
};

TEST_F(ArgumentsTest, NoCommunicator) {
  for (const Function& f : kFunctions) {
    EXPECT_TRUE(returns(tuttiInvalidArgument, f.call(good(nullptr)))) << f.name;
    EXPECT_TRUE(names(last_error(), {f.name, "comm is NULL"}));
  }
  for (const CommCall& c : kCommCalls) {
    EXPECT_TRUE(returns(tuttiInvalidArgument, c.call(nullptr))) << c.name;
    EXPECT_TRUE(names(last_error(), {"comm is NULL"})) << c.name;
  }
  int value = 0;
  tuttiResult_t async;
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommCount(nullptr, &value)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommUserRank(nullptr, &value)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommAbort(nullptr)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommGetAsyncError(nullptr, &async)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(nullptr)));
}

TEST_F(ArgumentsTest, NullResults) {
  Team team(2);
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiGetVersion(nullptr)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommCount(team[0], nullptr)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommUserRank(team[0], nullptr)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommGetAsyncError(team[0], nullptr)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiMemAlloc(nullptr, 64)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiStreamCreate(nullptr)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommSplit(team[0], 0, 0, nullptr, nullptr)));
  const int ranks[] = {0};
  EXPECT_TRUE(
      returns(tuttiInvalidArgument, tuttiCommCreateGroup(team[0], ranks, 1, 0, nullptr, nullptr)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommInitAll(nullptr, 2, nullptr)));
  team.expect_usable();
}

TEST_F(ArgumentsTest, NullBuffers) {
  Team team(2);
  for (const Function& f : kFunctions) {
    Arguments a = good(team[0]);
    a.send = nullptr;
    EXPECT_TRUE(returns(tuttiInvalidArgument, f.call(a))) << f.name;
    EXPECT_TRUE(names(last_error(), {f.name, "rank 0 of 2", "sendbuff: expected", "got NULL"}));
    a = good(team[0]);
    a.recv = nullptr;
    EXPECT_TRUE(returns(tuttiInvalidArgument, f.call(a))) << f.name;
    EXPECT_TRUE(names(last_error(), {f.name, "rank 0 of 2", "recvbuff: expected", "got NULL"}));
  }
  team.expect_usable();
}

TEST_F(ArgumentsTest, NullArrays) {
  Team team(2);
  const size_t counts[] = {4, 4};
  const size_t at[] = {0, 4};
  const tuttiComm_t c = team[0];
  const tuttiDataType_t t = tuttiFloat32;
  const tuttiResult_t got[] = {
      tuttiAllGatherV(send_, 4, recv_, nullptr, at, t, c, nullptr),
      tuttiAllGatherV(send_, 4, recv_, counts, nullptr, t, c, nullptr),
      tuttiReduceScatterV(send_, nullptr, at, recv_, 4, t, tuttiSum, c, nullptr),
      tuttiReduceScatterV(send_, counts, nullptr, recv_, 4, t, tuttiSum, c, nullptr),
      tuttiGatherV(send_, 4, recv_, nullptr, at, t, 0, c, nullptr),
      tuttiGatherV(send_, 4, recv_, counts, nullptr, t, 0, c, nullptr),
      tuttiScatterV(send_, nullptr, at, recv_, 4, t, 0, c, nullptr),
      tuttiScatterV(send_, counts, nullptr, recv_, 4, t, 0, c, nullptr),
      tuttiAlltoAllV(send_, nullptr, at, recv_, counts, at, t, c, nullptr),
      tuttiAlltoAllV(send_, counts, nullptr, recv_, counts, at, t, c, nullptr),
      tuttiAlltoAllV(send_, counts, at, recv_, nullptr, at, t, c, nullptr),
      tuttiAlltoAllV(send_, counts, at, recv_, counts, nullptr, t, c, nullptr),
      tuttiAlltoAllVC(send_, recv_, nullptr, t, c, nullptr),
      tuttiBatchSendRecv(nullptr, 1, c, nullptr),
      tuttiBatchSendRecv(nullptr, -1, c, nullptr),
  };
  for (size_t i = 0; i < std::size(got); ++i) {
    EXPECT_TRUE(returns(tuttiInvalidArgument, got[i])) << "call " << i;
  }
  team.expect_usable();
}

TEST_F(ArgumentsTest, BadTypesAndOperators) {
  Team team(2);
  for (const Function& f : kFunctions) {
    for (int value : {15, 99, -1, INT_MAX, INT_MIN}) {
      Arguments a = good(team[1]);
      a.dtype = dtype_of(value);
      EXPECT_TRUE(returns(tuttiInvalidArgument, f.call(a))) << f.name << ' ' << value;
      EXPECT_TRUE(names(last_error(), {f.name, "rank 1 of 2", "dtype: expected 0..14, got"}));
    }
    if (!f.reduces) continue;
    for (int value : {8, 9, 100, -1, INT_MAX, INT_MIN}) {
      Arguments a = good(team[1]);
      a.op = op_of(value);
      EXPECT_TRUE(returns(tuttiInvalidArgument, f.call(a))) << f.name << ' ' << value;
      EXPECT_TRUE(names(last_error(), {f.name, "rank 1 of 2", "op: expected 0..7", "got"}));
    }
  }
  EXPECT_TRUE(
      returns(tuttiInvalidArgument, tuttiSend(send_, 1, dtype_of(15), 1, team[0], nullptr)));
  EXPECT_TRUE(
      returns(tuttiInvalidArgument, tuttiRecv(recv_, 1, dtype_of(-1), 1, team[0], nullptr)));
  tuttiSendRecvItem_t item = {enum_of<tuttiItemKind_t>(2), send_, 1, tuttiFloat32, 1};
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiBatchSendRecv(&item, 1, team[0], nullptr)));
  EXPECT_TRUE(names(last_error(), {"tuttiBatchSendRecv", "item 0", "kind", "got 2"}));
  EXPECT_STREQ(tuttiGetErrorString(enum_of<tuttiResult_t>(16)), "unknown result code");
  EXPECT_STREQ(tuttiGetErrorString(enum_of<tuttiResult_t>(-1)), "unknown result code");
  team.expect_usable();
}

// docs/numbers.md in short: bitwise operators are not for floats, averages not for bool.
bool is_pair(int dtype, int op) {
  const bool is_floating = dtype >= tuttiFloat16 && dtype <= tuttiFloat8e5m2;
  if (op == tuttiBand || op == tuttiBor || op == tuttiBxor) return !is_floating;
  return op != tuttiAvg || dtype != tuttiBool;
}

TEST_F(ArgumentsTest, EveryPairIsRightOrRefused) {
  Team alone(1);
  Team team(2);
  for (int dtype = 0; dtype <= tuttiBool; ++dtype) {
    for (int op = 0; op < tuttiNumOps; ++op) {
      for (const Function& f : kFunctions) {
        if (!f.reduces) continue;
        SCOPED_TRACE(testing::Message() << f.name << " dtype " << dtype << " op " << op);
        Arguments a = good(alone[0]);
        a.dtype = dtype_of(dtype);
        a.op = op_of(op);
        EXPECT_TRUE(returns(is_pair(dtype, op) ? tuttiSuccess : tuttiUnsupported, f.call(a)));
        if (is_pair(dtype, op)) continue;
        a.comm = team[1];
        EXPECT_TRUE(returns(tuttiUnsupported, f.call(a)));
        EXPECT_TRUE(names(last_error(), {f.name, "rank 1 of 2", "is not defined for"}));
      }
    }
  }
  team.expect_usable();
}

TEST_F(ArgumentsTest, RootPeerAndTagOutOfRange) {
  Team team(3);
  for (int root : {-1, 3, INT_MAX, INT_MIN}) {
    for (const Function& f : kFunctions) {
      if (!f.rooted) continue;
      Arguments a = good(team[2]);
      a.root = root;
      EXPECT_TRUE(returns(tuttiInvalidArgument, f.call(a))) << f.name << ' ' << root;
      EXPECT_TRUE(names(last_error(), {f.name, "rank 2 of 3",
                                       "root: expected 0..2, got " + std::to_string(root)}));
    }
    const tuttiComm_t c = team[2];
    EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiSend(send_, 1, tuttiInt8, root, c, nullptr)));
    EXPECT_TRUE(names(last_error(), {"tuttiSend", "rank 2 of 3", "peer: expected 0..2, got"}));
    EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiRecv(recv_, 1, tuttiInt8, root, c, nullptr)));
    EXPECT_TRUE(
        returns(tuttiInvalidArgument, tuttiSendTag(send_, 1, tuttiInt8, root, 0, c, nullptr)));
    if (root == TUTTI_ANY_RANK) continue;
    EXPECT_TRUE(returns(tuttiInvalidArgument,
                        tuttiRecvTag(recv_, 1, tuttiInt8, root, 0, nullptr, c, nullptr)));
    EXPECT_TRUE(names(last_error(), {"tuttiRecvTag", "0..2 or TUTTI_ANY_RANK"}));
  }
  for (int64_t tag : {int64_t{-1}, INT64_MIN}) {
    EXPECT_TRUE(
        returns(tuttiInvalidArgument, tuttiSendTag(send_, 1, tuttiInt8, 1, tag, team[0], nullptr)));
    EXPECT_TRUE(names(last_error(), {"tuttiSendTag", "tag: expected >= 0, got"}));
    EXPECT_TRUE(returns(tuttiInvalidArgument,
                        tuttiRecvTag(recv_, 1, tuttiInt8, 1, tag, nullptr, team[0], nullptr)));
  }
  team.expect_usable();
}

TEST_F(ArgumentsTest, AbsurdCounts) {
  Team team(4);
  // Products that wrap to something small, and sizes no address space has.
  const size_t counts[] = {SIZE_MAX,          SIZE_MAX / 2 + 1,  SIZE_MAX / 4 + 2, SIZE_MAX / 8 + 1,
                           SIZE_MAX / 16 + 1, SIZE_MAX / 32 + 1, size_t{1} << 57,  size_t{1} << 56};
  for (const Function& f : kFunctions) {
    for (size_t count : counts) {
      for (int rank : {0, 3}) {
        Arguments a = good(team[rank]);
        a.dtype = tuttiFloat64;
        a.count = count;
        EXPECT_TRUE(returns(tuttiInvalidArgument, f.call(a))) << f.name << ' ' << count;
        EXPECT_TRUE(names(last_error(), {f.name, "of 4", "address space"})) << count;
      }
    }
  }
  for (size_t count : counts) {
    EXPECT_TRUE(
        returns(tuttiInvalidArgument, tuttiSend(send_, count, tuttiFloat64, 1, team[0], nullptr)));
    EXPECT_TRUE(
        returns(tuttiInvalidArgument, tuttiRecv(recv_, count, tuttiFloat64, 1, team[0], nullptr)));
  }
  // A buffer that would pass the end of the address space.
  void* const high = reinterpret_cast<void*>(UINTPTR_MAX - 100);
  EXPECT_TRUE(returns(tuttiInvalidArgument,
                      tuttiAllReduce(high, recv_, 64, tuttiInt32, tuttiSum, team[0], nullptr)));
  EXPECT_TRUE(names(last_error(), {"sendbuff", "256 bytes", "end of the address space"}));
  team.expect_usable();
}

TEST_F(ArgumentsTest, AbsurdBlocks) {
  Team team(2);
  const size_t good_counts[] = {4, 4};
  const size_t good_at[] = {0, 4};
  const size_t bad[] = {4, SIZE_MAX - 1};
  const tuttiDataType_t t = tuttiInt32;
  const tuttiComm_t c = team[0];
  const size_t matrix[] = {4, SIZE_MAX - 2, 4, 4};
  const size_t matrix_in[] = {4, 4, SIZE_MAX - 2, 4};
  const tuttiResult_t got[] = {
      tuttiAllGatherV(send_, 4, recv_, bad, good_at, t, c, nullptr),
      tuttiAllGatherV(send_, 4, recv_, good_counts, bad, t, c, nullptr),
      tuttiReduceScatterV(send_, bad, good_at, recv_, 4, t, tuttiSum, c, nullptr),
      tuttiReduceScatterV(send_, good_counts, bad, recv_, 4, t, tuttiSum, c, nullptr),
      tuttiGatherV(send_, 4, recv_, bad, good_at, t, 0, c, nullptr),
      tuttiScatterV(send_, good_counts, bad, recv_, 4, t, 0, c, nullptr),
      tuttiAlltoAllV(send_, bad, good_at, recv_, good_counts, good_at, t, c, nullptr),
      tuttiAlltoAllV(send_, good_counts, good_at, recv_, good_counts, bad, t, c, nullptr),
      tuttiAlltoAllVC(send_, recv_, matrix, t, c, nullptr),
      tuttiAlltoAllVC(send_, recv_, matrix_in, t, c, nullptr),
  };
  for (size_t i = 0; i < std::size(got); ++i) {
    EXPECT_TRUE(returns(tuttiInvalidArgument, got[i])) << "call " << i;
  }
  EXPECT_TRUE(names(last_error(), {"tuttiAlltoAllVC", "rank 0 of 2", "address space"}));
  team.expect_usable();
}

TEST_F(ArgumentsTest, OwnBlockMustAgree) {
  Team team(2);
  const size_t counts[] = {4, 5};
  const size_t at[] = {0, 8};
  const tuttiComm_t c = team[1];
  EXPECT_TRUE(returns(tuttiInvalidArgument,
                      tuttiAllGatherV(send_, 4, recv_, counts, at, tuttiInt8, c, nullptr)));
  EXPECT_TRUE(names(last_error(), {"sendcount: expected 5, got 4"}));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiReduceScatterV(send_, counts, at, recv_, 4,
                                                                tuttiInt8, tuttiSum, c, nullptr)));
  EXPECT_TRUE(names(last_error(), {"recvcount: expected 5, got 4"}));
  EXPECT_TRUE(returns(tuttiInvalidArgument,
                      tuttiGatherV(send_, 4, recv_, counts, at, tuttiInt8, 1, c, nullptr)));
  EXPECT_TRUE(returns(tuttiInvalidArgument,
                      tuttiScatterV(send_, counts, at, recv_, 4, tuttiInt8, 1, c, nullptr)));
  const size_t others[] = {4, 6};
  EXPECT_TRUE(returns(tuttiInvalidArgument,
                      tuttiAlltoAllV(send_, counts, at, recv_, others, at, tuttiInt8, c, nullptr)));
  EXPECT_TRUE(names(last_error(), {"expected 5, got 6"}));
  team.expect_usable();
}

TEST_F(ArgumentsTest, ToOneselfAlone) {
  Team team(2);
  EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiSend(send_, 1, tuttiInt8, 0, team[0], nullptr)));
  EXPECT_TRUE(names(last_error(), {"tuttiSend", "rank 0 of 2", "itself"}));
  EXPECT_TRUE(returns(tuttiInvalidUsage, tuttiRecv(recv_, 1, tuttiInt8, 0, team[0], nullptr)));
  team.expect_usable();
}

TEST_F(ArgumentsTest, StreamsThatAreNone) {
  Team team(2);
  int nothing = 0;
  for (const Function& f : kFunctions) {
    Arguments a = good(team[0]);
    a.stream = &nothing;
    EXPECT_TRUE(returns(tuttiInvalidArgument, f.call(a))) << f.name;
  }
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiBarrier(team[0], &nothing)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiSend(send_, 1, tuttiInt8, 1, team[0], &nothing)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiStreamSynchronize(&nothing)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiStreamQuery(&nothing)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiStreamDestroy(&nothing)));
  tuttiStream_t stream = nullptr;
  ASSERT_TRUE(returns(tuttiSuccess, tuttiStreamCreate(&stream)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiStreamDestroy(stream)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiStreamDestroy(stream)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiBarrier(team[0], stream)));
  team.expect_usable();
}

}  // namespace
}  // namespace tutti
