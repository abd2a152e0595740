// Headers of the structs of tutti/expert.h: what is too short or none of them is refused, and what
// a later version would pass is taken.
#include <cstring>
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/rows_cases.h"

namespace tutti {
namespace {

// A struct of a later version: fields that this one does not know.
template <typename Struct>
struct Longer {
  explicit Longer(const Struct& right) : known(right) {
    std::memset(later, 0xff, sizeof(later));
    known.hdr.size = sizeof(*this);
  }
  Struct known;
  unsigned char later[64];
};

// `call` takes the struct that errors call `name`; `of_null`: what it says to none.
template <typename Struct, typename Call>
void expect_checked(const char* name, const Struct& right, Call call,
                    tuttiResult_t of_null = tuttiInvalidArgument) {
  SCOPED_TRACE(name);
  const auto size = static_cast<uint32_t>(sizeof(Struct));
  const tuttiEpHdr_t wrong[] = {
      {0, 0}, {size, 0}, {size, ~TUTTI_EP_MAGIC}, {0, TUTTI_EP_MAGIC}, {size - 1, TUTTI_EP_MAGIC}};
  for (const tuttiEpHdr_t& hdr : wrong) {
    Struct bad = right;
    bad.hdr = hdr;
    EXPECT_TRUE(returns(tuttiInvalidArgument, call(&bad)));
    EXPECT_TRUE(names(last_error(), {name, "TUTTI_EP_HDR", "at least " + std::to_string(size),
                                     "and " + std::to_string(hdr.size)}));
  }
  EXPECT_TRUE(returns(of_null, call(static_cast<Struct*>(nullptr))));
  if (of_null != tuttiSuccess) {
    EXPECT_TRUE(names(last_error(), {name, "NULL"}));
  }
  EXPECT_TRUE(returns(tuttiSuccess, call(&right)));
  const Longer<Struct> longer(right);
  EXPECT_TRUE(returns(tuttiSuccess, call(&longer.known)));
}

oracle::Problem one_rank() {
  oracle::Problem p;
  p.topk = 1;
  p.max_tokens = 2;
  p.num_experts = 1;
  p.layout = oracle::Layout::kExpertMajor;
  p.ranks.resize(1);
  p.ranks[0] = {2, {0, 0}, {1, 1}};
  return p;
}

class ExpertAbi : public ApiTest {
 protected:
  const Team team_{1};
  const oracle::Problem p_ = one_rank();
};

TEST_F(ExpertAbi, StructsOfGroupsAndHandles) {
  const EpRank r(team_[0], p_);
  const tuttiEpGroupConfig_t group_config = ep_group_config(p_);
  const tuttiEpHandleConfig_t handle_config = ep_handle_config(p_);
  size_t bytes = 0;
  expect_checked("config", group_config, [&](const tuttiEpGroupConfig_t* config) {
    return tuttiEpGroupMemory(config, 1, &bytes);
  });
  expect_checked("config", group_config, [&](const tuttiEpGroupConfig_t* config) {
    tuttiEpGroup_t group = nullptr;
    const tuttiResult_t result = tuttiEpGroupCreate(&group, team_[0], config);
    if (result == tuttiSuccess) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiEpGroupDestroy(group)));
    }
    return result;
  });
  expect_checked("config", handle_config, [&](const tuttiEpHandleConfig_t* config) {
    return tuttiEpHandleMemSize(r.group, config, &bytes);
  });
  expect_checked("config", handle_config, [&](const tuttiEpHandleConfig_t* config) {
    tuttiEpHandle_t handle = nullptr;
    const tuttiResult_t result = tuttiEpHandleCreate(&handle, r.group, config, nullptr);
    if (result == tuttiSuccess) {
      EXPECT_TRUE(returns(tuttiSuccess, tuttiEpHandleDestroy(handle)));
    }
    return result;
  });
}

TEST_F(ExpertAbi, StructsOfPrepare) {
  const EpRank r(team_[0], p_);
  const tuttiEpTensor_t ids = ep_tensor(r.input().ids, {2, 1});
  std::vector<int64_t> sources(2);
  tuttiEpLayoutInfo_t layout = {};
  layout.hdr = TUTTI_EP_HDR(tuttiEpLayoutInfo_t);
  layout.row_src = ep_tensor(sources, {2});
  expect_checked(
      "info", layout,
      [&](const tuttiEpLayoutInfo_t* info) {
        return tuttiEpPrepare(r.handle, &ids, nullptr, info, nullptr);
      },
      tuttiSuccess);
  EXPECT_EQ(sources, (std::vector<int64_t>{0, 1}));
  tuttiEpHandleInfo_t info = {};
  info.hdr = TUTTI_EP_HDR(tuttiEpHandleInfo_t);
  expect_checked("info", info, [&](const tuttiEpHandleInfo_t* given) {
    return tuttiEpHandleGetInfo(r.handle, const_cast<tuttiEpHandleInfo_t*>(given));
  });
}

// What the library writes ends where its own version of a struct does.
TEST_F(ExpertAbi, InfoOfALaterVersionIsFilledAsFarAsThisOneGoes) {
  const EpRank r(team_[0], p_);
  ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
  tuttiEpHandleInfo_t info = {};
  info.hdr = TUTTI_EP_HDR(tuttiEpHandleInfo_t);
  Longer<tuttiEpHandleInfo_t> longer(info);
  ASSERT_TRUE(returns(tuttiSuccess, tuttiEpHandleGetInfo(r.handle, &longer.known)));
  EXPECT_EQ(longer.known.recv_rows, 2);
  EXPECT_EQ(longer.known.hdr.size, sizeof(longer));
  for (const unsigned char byte : longer.later) EXPECT_EQ(byte, 0xff);
}

TEST_F(ExpertAbi, StructsOfOperations) {
  const EpRank r(team_[0], p_);
  ASSERT_TRUE(returns(tuttiSuccess, r.prepare()));
  const std::vector<float> from = {3, 4};
  const std::vector<float> to(2);
  EpDispatch there;
  there.in.x = ep_tensor(from, {2, 1});
  there.out.x = ep_tensor(to, {2, 1});
  EpCombine back;
  back.in.x = ep_tensor(from, {2, 1});
  back.out.x = ep_tensor(to, {2, 1});
  const auto dispatch = [&](const tuttiEpDispatchIn_t* in, const tuttiEpDispatchOut_t* out,
                            const tuttiEpOpConfig_t* config) {
    return tuttiEpDispatch(r.handle, in, out, config, nullptr);
  };
  const auto combine = [&](const tuttiEpCombineIn_t* in, const tuttiEpCombineOut_t* out,
                           const tuttiEpOpConfig_t* config) {
    return tuttiEpCombine(r.handle, in, out, config, nullptr);
  };
  expect_checked("in", there.in, [&](const auto* in) { return dispatch(in, &there.out, nullptr); });
  expect_checked("out", there.out,
                 [&](const auto* out) { return dispatch(&there.in, out, &there.config); });
  expect_checked("in", back.in, [&](const auto* in) { return combine(in, &back.out, nullptr); });
  expect_checked("out", back.out,
                 [&](const auto* out) { return combine(&back.in, out, &back.config); });
  const auto there_with = [&](const auto* config) {
    return dispatch(&there.in, &there.out, config);
  };
  const auto back_with = [&](const auto* config) { return combine(&back.in, &back.out, config); };
  expect_checked("config", there.config, there_with, tuttiSuccess);
  expect_checked("config", back.config, back_with, tuttiSuccess);
}

}  // namespace
}  // namespace tutti
