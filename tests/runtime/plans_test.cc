// The plan cache: one plan for one shape, none too many, none taken from who holds it.
#include "comm/runtime/plans.h"

#include <gtest/gtest.h>
#include <set>
#include <vector>

#include "transports/decorators/fault.h"
#include "transports/inproc/domain.h"
#include "transports/inproc/inproc.h"

namespace tutti {
namespace {

constexpr size_t kCacheBytes = 1 << 20;

class PlansTest : public testing::Test {
 protected:
  PlansTest() : domain_(InprocDomain::create()), mine_(domain_, 0), peer_(domain_, 1) {
    EXPECT_TRUE(mine_.connect(1, peer_.address()).ok());
    config_ = load_config({}).value();
    plans_ = std::make_unique<Plans>(mine_, 5, 0, std::vector<int>{0, 1}, config_,
                                     MachineClass::kCores, kCacheBytes);
  }
  static CollectiveCall all_reduce(size_t count) {
    CollectiveCall call;
    call.collective = Collective::kAllReduce;
    call.dtype = DataType::kFloat32;
    call.count = count;
    return call;
  }
  BoundCall* find(const CollectiveCall& call) {
    auto found = plans_->find(call);
    EXPECT_TRUE(found.ok()) << found.status().text();
    return found.value();
  }

  std::shared_ptr<InprocDomain> domain_;
  InprocTransport mine_;
  InprocTransport peer_;
  Config config_;
  std::unique_ptr<Plans> plans_;
};

TEST_F(PlansTest, SameShapeSamePlan) {
  int a = 0;
  int b = 0;
  CollectiveCall call = all_reduce(1000);
  const Plan* plan = find(call)->plan.get();
  call.send = &a;
  call.recv = &b;
  EXPECT_EQ(find(call)->plan.get(), plan) << "pointers are no part of the shape";
  (void)find(all_reduce(1001));
  EXPECT_EQ(find(call)->plan.get(), plan);
}

TEST_F(PlansTest, WhatShapesAPlan) {
  std::vector<CollectiveCall> calls;
  const auto vary = [&](auto change) {
    calls.push_back(all_reduce(1000));
    change(calls.back());
  };
  vary([](CollectiveCall&) {});
  vary([](CollectiveCall& c) { c.count = 999; });
  vary([](CollectiveCall& c) { c.dtype = DataType::kInt32; });
  vary([](CollectiveCall& c) { c.op = ReduceOp::kMax; });
  vary([](CollectiveCall& c) { c.collective = Collective::kReduce; });
  vary([](CollectiveCall& c) {
    c.collective = Collective::kReduce;
    c.root = 1;
  });
  std::set<const Plan*> plans;
  std::set<uint64_t> fingerprints;
  for (const CollectiveCall& c : calls) {
    plans.insert(find(c)->plan.get());
    fingerprints.insert(find(c)->record.fingerprint);
  }
  EXPECT_EQ(plans.size(), calls.size());
  EXPECT_EQ(fingerprints.size(), calls.size());
  // In place is a local fact: another plan, the same fingerprint.
  CollectiveCall in_place = all_reduce(1000);
  in_place.in_place = true;
  EXPECT_NE(find(in_place)->plan.get(), find(all_reduce(1000))->plan.get());
  EXPECT_EQ(find(in_place)->record.fingerprint, find(all_reduce(1000))->record.fingerprint);
}

TEST_F(PlansTest, LongMessagesAreCutWhereReceiversReadThemInPlace) {
  CollectiveCall call;
  call.collective = Collective::kAllGather;
  call.count = size_t{5} << 20;
  const Plan& plan = *find(call)->plan;
  EXPECT_EQ(plan.layout.rounds(), 10u);
  EXPECT_EQ(plan.layout.slot_bytes(), size_t{512} << 10);
  call.count = 1 << 19;
  EXPECT_EQ(find(call)->plan->layout.rounds(), 1u);
  call.count = size_t{5} << 20;
  Plans crowded(mine_, 6, 0, {0, 1}, config_, MachineClass::kCrowded, kCacheBytes);
  EXPECT_EQ(crowded.find(call).value()->plan->layout.rounds(), 1u);
  FaultOptions hidden;
  hidden.hide_view = true;
  FaultTransport landing(std::make_unique<InprocTransport>(domain_, 2), hidden);
  ASSERT_TRUE(landing.connect(1, peer_.address()).ok());
  Plans landed(landing, 7, 0, {2, 1}, config_, MachineClass::kCores, kCacheBytes);
  EXPECT_EQ(landed.find(call).value()->plan->layout.rounds(), 1u);
}

TEST_F(PlansTest, HeldPlansStay) {
  std::vector<BoundCall*> held;
  for (size_t i = 0; i < 200; ++i) {
    held.push_back(find(all_reduce(i)));
    ++held.back()->holders;
  }
  std::set<const Plan*> plans;
  for (size_t i = 0; i < held.size(); ++i) {
    EXPECT_EQ(find(all_reduce(i)), held[i]);
    plans.insert(held[i]->plan.get());
  }
  EXPECT_EQ(plans.size(), held.size());
  for (BoundCall* b : held) plans_->release(b);
  // Far more shapes than are kept; the one in use all the time stays.
  BoundCall* const favourite = find(all_reduce(7));
  for (size_t i = 1000; i < 3000; ++i) {
    (void)find(all_reduce(i));
    ASSERT_EQ(find(all_reduce(7)), favourite);
  }
}

// Every number of a call whose blocks differ shapes its plan.
TEST_F(PlansTest, DifferentBlocksAreToldApart) {
  const auto gather = [](std::vector<size_t> counts, std::vector<size_t> displs) {
    CollectiveCall call;
    call.collective = Collective::kAllGather;
    call.blocks = std::make_unique<CollectiveCall::Blocks>();
    call.blocks->input = {1, 3, {}, {}};
    call.blocks->output = {2, 0, std::move(counts), std::move(displs)};
    return call;
  };
  const CollectiveCall call = gather({3, 5}, {0, 3});
  BoundCall* const first = find(call);
  EXPECT_EQ(find(gather({3, 5}, {0, 3})), first);
  EXPECT_NE(find(gather({3, 4}, {0, 3})), first);
  EXPECT_NE(find(gather({3, 5}, {0, 4})), first);
  EXPECT_EQ(find(call), first) << "though not the last one used";
  CollectiveCall other = gather({3, 5}, {0, 3});
  other.counts_hash = 7;
  EXPECT_NE(find(other), first);
  CollectiveCall equal;
  equal.collective = Collective::kAllGather;
  equal.count = 3;
  EXPECT_NE(find(equal), first);
}

TEST_F(PlansTest, PeerThatIsNotConnected) {
  Plans lonely(mine_, 6, 0, {0, 9}, config_, MachineClass::kCores, kCacheBytes);
  const auto found = lonely.find(all_reduce(10));
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.status().code(), Code::kInvalidUsage);
}

}  // namespace
}  // namespace tutti
