// Orders of operations: one after another within an order, orders independent of one another.
#include "comm/runtime/sequencer.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace tutti {
namespace {

// What the operations of a test did, in order.
using Journal = std::vector<std::string>;

class Scripted final : public Operation {
 public:
  Scripted(Journal& journal, std::string name) : journal_(journal), name_(std::move(name)) {}
  ~Scripted() override { journal_.push_back("free " + name_); }
  void let_go() override {
    if (lets_go) journal_.push_back("let go " + name_);
  }
  Status begin() override {
    journal_.push_back("begin " + name_);
    return begin_result;
  }
  Progress advance() override { return next; }
  Status failure() const override { return error(Code::kMismatch, "%s failed", name_.c_str()); }
  Status health(int* /*peer*/) const override { return Status(); }
  int waiting_for() const override { return -1; }
  std::string describe() const override { return name_; }

  Progress next = Progress::kBlocked;
  Status begin_result;
  bool lets_go = false;

 private:
  Journal& journal_;
  const std::string name_;
};

class Switch final : public StreamTicket {
 public:
  Switch(bool& ready, std::vector<Code>& ends) : ready_(ready), ends_(ends) {}
  bool ready() override { return ready_; }
  void finish(const Status& result) override { ends_.push_back(result.code()); }

 private:
  bool& ready_;
  std::vector<Code>& ends_;
};

const Order kCollectives{};
const Order kToOne{Order::Kind::kSend, 1, 0};
const Order kToTwo{Order::Kind::kSend, 2, 0};
const Order kFromOne{Order::Kind::kRecv, 1, 0};
const Order kOtherTag{Order::Kind::kSend, 1, 7};

TEST(Sequencer, OneOrderIsOneAfterAnother) {
  Journal journal;
  Sequencer sequencer;
  Scripted a(journal, "a");
  Scripted b(journal, "b");
  sequencer.push(kCollectives, &a);
  sequencer.push(kCollectives, &b);
  EXPECT_EQ(sequencer.pending(), 2u);
  b.next = Operation::Progress::kDone;
  EXPECT_EQ(sequencer.advance(), nullptr);
  EXPECT_EQ(journal, (Journal{"begin a"})) << "b waits for a, ready or not";
  a.next = Operation::Progress::kDone;
  EXPECT_EQ(sequencer.advance(), nullptr);
  EXPECT_EQ(journal, (Journal{"begin a", "begin b"}));
  EXPECT_TRUE(a.finished && a.result.ok());
  EXPECT_TRUE(b.finished && b.result.ok());
  EXPECT_TRUE(sequencer.empty());
}

TEST(Sequencer, OrdersAreIndependent) {
  Journal journal;
  Sequencer sequencer;
  std::vector<std::unique_ptr<Scripted>> all;
  for (const Order& order : {kCollectives, kToOne, kToTwo, kFromOne, kOtherTag}) {
    all.push_back(std::make_unique<Scripted>(journal, std::to_string(all.size())));
    sequencer.push(order, all.back().get());
  }
  EXPECT_EQ(sequencer.advance(), nullptr);
  EXPECT_EQ(journal.size(), 5u) << "all have begun";
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    (*it)->next = Operation::Progress::kDone;
    EXPECT_EQ(sequencer.advance(), nullptr);
    EXPECT_TRUE((*it)->finished);
  }
  EXPECT_TRUE(sequencer.empty());
  EXPECT_TRUE(sequencer.empty(kToOne));
}

TEST(Sequencer, FailureStopsAndStays) {
  Journal journal;
  Sequencer sequencer;
  Scripted good(journal, "good");
  Scripted bad(journal, "bad");
  Scripted behind(journal, "behind");
  good.next = Operation::Progress::kDone;
  bad.next = Operation::Progress::kFailed;
  sequencer.push(kCollectives, &good);
  sequencer.push(kCollectives, &bad);
  sequencer.push(kCollectives, &behind);
  EXPECT_EQ(sequencer.advance(), &bad);
  EXPECT_TRUE(good.finished);
  EXPECT_FALSE(bad.finished);
  EXPECT_EQ(sequencer.pending(), 2u);
  sequencer.cancel(error(Code::kTimeout, "enough"));
  EXPECT_TRUE(bad.finished && behind.finished);
  EXPECT_EQ(bad.result.code(), Code::kTimeout);
  EXPECT_EQ(behind.result.code(), Code::kTimeout);
  EXPECT_EQ(journal, (Journal{"begin good", "begin bad"})) << "what never began never does";
  EXPECT_TRUE(sequencer.empty());
}

TEST(Sequencer, BeginThatFails) {
  Journal journal;
  Sequencer sequencer;
  Scripted bad(journal, "bad");
  bad.begin_result = error(Code::kOutOfMemory, "no scratch");
  sequencer.push(kCollectives, &bad);
  EXPECT_EQ(sequencer.advance(), &bad);
  EXPECT_EQ(bad.result.code(), Code::kOutOfMemory);
  sequencer.cancel(bad.result);
}

TEST(Sequencer, OwnedOnesAreFreed) {
  Journal journal;
  Sequencer sequencer;
  auto done = std::make_unique<Scripted>(journal, "done");
  done->next = Operation::Progress::kDone;
  sequencer.push(kCollectives, std::move(done));
  sequencer.push(kCollectives, std::make_unique<Scripted>(journal, "cancelled"));
  EXPECT_EQ(sequencer.advance(), nullptr);
  EXPECT_EQ(journal, (Journal{"begin done", "free done", "begin cancelled"}));
  sequencer.cancel(error(Code::kAborted, "abort"));
  EXPECT_EQ(journal.back(), "free cancelled");
}

// An operation begins when its stream has come to it, and the stream goes on when it ends, however.
TEST(Sequencer, StreamsHoldBackAndAreLetGo) {
  Journal journal;
  Sequencer sequencer;
  bool ready = false;
  std::vector<Code> ends;
  Scripted a(journal, "a");
  Scripted b(journal, "b");
  a.ticket = std::make_unique<Switch>(ready, ends);
  b.ticket = std::make_unique<Switch>(ready, ends);
  a.next = Operation::Progress::kDone;
  sequencer.push(kCollectives, &a);
  sequencer.push(kCollectives, &b);
  EXPECT_EQ(sequencer.advance(), nullptr);
  EXPECT_TRUE(journal.empty());
  int running = 0;
  sequencer.each_running([&](Operation&) { ++running; });
  EXPECT_EQ(running, 0) << "no deadline runs while the stream holds it back";
  ready = true;
  EXPECT_EQ(sequencer.advance(), nullptr);
  EXPECT_EQ(ends, std::vector<Code>{Code::kOk});
  sequencer.each_running([&](Operation& o) { running += &o == &b ? 1 : 100; });
  EXPECT_EQ(running, 1);
  sequencer.cancel(error(Code::kAborted, "abort"));
  EXPECT_EQ(ends, (std::vector<Code>{Code::kOk, Code::kAborted}));
}

// Who waits for the stream may destroy at once what the operation has used.
TEST(Sequencer, LetsGoBeforeTheStreamGoesOn) {
  class Witness final : public StreamTicket {
   public:
    explicit Witness(Journal& journal) : journal_(journal) {}
    bool ready() override { return true; }
    void finish(const Status& /*result*/) override { journal_.push_back("stream goes on"); }

   private:
    Journal& journal_;
  };
  for (const bool cancelled : {false, true}) {
    Journal journal;
    Sequencer sequencer;
    auto a = std::make_unique<Scripted>(journal, "a");
    a->lets_go = true;
    a->ticket = std::make_unique<Witness>(journal);
    a->next = cancelled ? Operation::Progress::kBlocked : Operation::Progress::kDone;
    sequencer.push(kCollectives, std::move(a));
    EXPECT_EQ(sequencer.advance(), nullptr);
    if (cancelled) sequencer.cancel(error(Code::kAborted, "over"));
    EXPECT_EQ(journal, (Journal{"begin a", "let go a", "stream goes on", "free a"}));
  }
}

}  // namespace
}  // namespace tutti
