// What hangs on a communicator: its states, created operators, windows, and the smallest one.
#include <algorithm>
#include <atomic>
#include <memory>
#include <string>

#include "tests/api/calls.h"
#include "tests/api/team.h"

namespace tutti {
namespace {

using CommunicatorTest = ApiTest;

TEST_F(CommunicatorTest, StatesThatRefuseWork) {
  float in[16] = {};
  float out[16] = {};
  Team destroyed(1);
  Team aborted(1);
  Team finalized(1);
  const tuttiComm_t gone = destroyed.release(0);
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDestroy(gone)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommAbort(aborted[0])));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommFinalize(finalized[0])));
  const struct {
    tuttiComm_t comm;
    tuttiResult_t code;
    const char* word;
  } states[] = {{gone, tuttiInvalidArgument, "destroyed"},
                {aborted[0], tuttiAborted, "aborted"},
                {finalized[0], tuttiInvalidUsage, "finalized"}};
  for (const auto& state : states) {
    for (const Function& f : kFunctions) {
      Arguments a;
      a.send = in;
      a.recv = out;
      a.count = 4;
      a.comm = state.comm;
      EXPECT_TRUE(returns(state.code, f.call(a))) << f.name;
      EXPECT_TRUE(names(last_error(), {state.word})) << f.name;
    }
    for (const CommCall& c : kCommCalls) {
      EXPECT_TRUE(returns(state.code, c.call(state.comm))) << c.name;
      EXPECT_TRUE(names(last_error(), {state.word})) << c.name;
    }
  }
  int value = 0;
  tuttiResult_t async;
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommCount(gone, &value)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommUserRank(gone, &value)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommAbort(gone)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommGetAsyncError(gone, &async)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommDestroy(gone))) << "twice";
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommCount(aborted[0], &value)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommGetAsyncError(aborted[0], &async)));
  EXPECT_EQ(async, tuttiAborted);
}

TEST_F(CommunicatorTest, Alone) {
  Team team(1);
  const tuttiComm_t comm = team[0];
  for (size_t count : {size_t{0}, size_t{1}, size_t{5000}}) {
    for (const Function& f : kFunctions) {
      std::vector<float> in(count, 3);
      std::vector<float> out(count, -1);
      Arguments a;
      a.send = in.data();
      a.recv = out.data();
      a.count = count;
      a.comm = comm;
      EXPECT_TRUE(returns(tuttiSuccess, f.call(a))) << f.name;
      EXPECT_EQ(out, in) << f.name;
      a.recv = in.data();
      EXPECT_TRUE(returns(tuttiSuccess, f.call(a))) << f.name << " in place";
      EXPECT_EQ(out, in) << f.name;
    }
  }
  EXPECT_TRUE(returns(tuttiSuccess, tuttiBarrier(comm, nullptr)));
}

TEST_F(CommunicatorTest, CreatedOperators) {
  Team team(2);
  Team other(2);
  tuttiRedOp_t ops[2];
  const float scalars[] = {2, 3};
  for (int r = 0; r < 2; ++r) {
    EXPECT_TRUE(returns(tuttiSuccess,
                        tuttiRedOpCreatePreMulSum(&ops[r], &scalars[r], tuttiFloat32, team[r])));
  }
  team.run([&](int rank, tuttiComm_t comm) {
    float value = 10;
    EXPECT_TRUE(returns(tuttiSuccess,
                        tuttiAllReduce(&value, &value, 1, tuttiFloat32, ops[rank], comm, nullptr)));
    EXPECT_EQ(value, 50);
  });
  double value = 1;
  const tuttiComm_t c = team[0];
  EXPECT_TRUE(returns(tuttiInvalidArgument,
                      tuttiAllReduce(&value, &value, 1, tuttiFloat64, ops[0], c, nullptr)));
  EXPECT_TRUE(names(last_error(), {"rank 0 of 2", "created for f32", "has f64"}));
  EXPECT_TRUE(returns(tuttiInvalidArgument,
                      tuttiAllReduce(&value, &value, 1, tuttiFloat32, ops[0], other[0], nullptr)));
  EXPECT_TRUE(returns(tuttiInvalidArgument,
                      tuttiAllReduce(&value, &value, 1, tuttiFloat32, ops[1], c, nullptr)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiRedOpDestroy(ops[0], other[0])));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiRedOpDestroy(tuttiSum, c)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiRedOpDestroy(ops[0], c)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiRedOpDestroy(ops[0], c)));
  EXPECT_TRUE(returns(tuttiInvalidArgument,
                      tuttiAllReduce(&value, &value, 1, tuttiFloat32, ops[0], c, nullptr)));
  for (int dtype = 0; dtype <= tuttiBool; ++dtype) {
    const bool floating = dtype >= tuttiFloat16 && dtype <= tuttiFloat8e5m2;
    tuttiRedOp_t op;
    EXPECT_TRUE(
        returns(floating ? tuttiSuccess : tuttiUnsupported,
                tuttiRedOpCreatePreMulSum(&op, &value, static_cast<tuttiDataType_t>(dtype), c)));
  }
  tuttiRedOp_t op;
  EXPECT_TRUE(
      returns(tuttiInvalidArgument, tuttiRedOpCreatePreMulSum(nullptr, &value, tuttiFloat32, c)));
  EXPECT_TRUE(
      returns(tuttiInvalidArgument, tuttiRedOpCreatePreMulSum(&op, nullptr, tuttiFloat32, c)));
  other.expect_usable();
  team.expect_usable();
}

TEST_F(CommunicatorTest, Windows) {
  Team team(2);
  void* memory = nullptr;
  ASSERT_TRUE(returns(tuttiSuccess, tuttiMemAlloc(&memory, 100'000)));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 4096, 0u);
  tuttiWindow_t window = nullptr;
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommRegister(team[0], nullptr, 8, &window)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommRegister(team[0], memory, 0, &window)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommRegister(team[0], memory, 8, nullptr)));
  EXPECT_TRUE(
      returns(tuttiInvalidArgument, tuttiCommRegister(team[0], memory, SIZE_MAX - 4096, &window)));
  ASSERT_TRUE(returns(tuttiSuccess, tuttiCommRegister(team[0], memory, 100'000, &window)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommDeregister(team[1], window)));
  EXPECT_TRUE(names(last_error(), {"tuttiCommDeregister", "rank 1 of 2"}));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommDeregister(team[0], nullptr)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDeregister(team[0], window)));
  std::vector<int> own(10'000, 3);
  const size_t bytes = own.size() * sizeof(int);
  for (int flags : {-1, 2, 3}) {
    EXPECT_TRUE(returns(tuttiInvalidArgument,
                        tuttiCommWindowRegister(team[1], own.data(), bytes, &window, flags)));
    EXPECT_TRUE(names(last_error(), {"tuttiCommWindowRegister", "TUTTI_WINDOW_REMAP",
                                     "got " + std::to_string(flags)}));
  }
  for (int flags : {TUTTI_WINDOW_DEFAULT, TUTTI_WINDOW_REMAP}) {
    ASSERT_TRUE(
        returns(tuttiSuccess, tuttiCommWindowRegister(team[1], own.data(), bytes, &window, flags)));
    EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDeregister(team[1], window)));
  }
  EXPECT_EQ(own, std::vector<int>(10'000, 3));
  ASSERT_TRUE(returns(tuttiSuccess, tuttiCommRegister(team[0], memory, 100'000, &window)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiCommDeregister(team[0], window)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiCommDeregister(team[0], window)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiMemFree(static_cast<char*>(memory) + 64)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiMemFree(memory)));
  EXPECT_TRUE(returns(tuttiInvalidArgument, tuttiMemFree(memory)));
  EXPECT_TRUE(returns(tuttiSuccess, tuttiMemFree(nullptr)));
  void* none = memory;
  EXPECT_TRUE(returns(tuttiSuccess, tuttiMemAlloc(&none, 0)));
  EXPECT_EQ(none, nullptr);
  EXPECT_TRUE(returns(tuttiOutOfMemory, tuttiMemAlloc(&none, SIZE_MAX / 2)));
  EXPECT_EQ(none, nullptr);
  team.expect_usable();
}

}  // namespace
}  // namespace tutti
