// What a plan knows: message numbers, and which lent messages a step must have back before it
// writes.
#include "comm/exec/plan.h"

#include "tests/exec/group.h"
#include "tests/support/sanitized.h"

namespace tutti {
namespace {

// Every schedule of the catalogue, for every rank.
template <typename Visit>
void each_plan(Visit visit) {
  for (const Algorithm& a : catalog()) {
    for (int n : kSanitized ? std::vector{2, 3} : std::vector{2, 3, 4, 7}) {
      ExecGroup group(n);
      for (int mode = 0; mode < 2; ++mode) {
        Job job;
        job.algorithm = &a;
        job.nranks = n;
        job.count = 6000;
        job.pieces = 3;
        job.in_place.assign(static_cast<size_t>(n), mode == 1);
        group.run(job);
        for (int r = 0; r < n; ++r) {
          SCOPED_TRACE(testing::Message() << name_of(a.collective) << ' ' << a.name << " rank " << r
                                          << " of " << n << (mode == 1 ? " in place" : ""));
          visit(group.plan(r));
        }
      }
    }
  }
}

TEST(Plan, MessagesAreNumberedInOrder) {
  each_plan([](const Plan& plan) {
    std::vector<uint32_t> sent(plan.sends.size(), 0);
    std::vector<uint32_t> received(plan.recvs.size(), 0);
    for (const BoundStep& step : plan.steps) {
      for (uint32_t k = 0; k < uint32_t{step.n_in} + step.n_out; ++k) {
        const BoundOperand& o = plan.operands[step.first + k];
        if (o.channel == kNoChannel || step.op == Op::kOffer) continue;
        if (k < step.n_in) {
          EXPECT_EQ(o.message, received[o.channel]++);
        } else {
          EXPECT_EQ(o.message, sent[o.channel]++);
        }
      }
    }
    for (size_t i = 0; i < sent.size(); ++i) EXPECT_EQ(sent[i], plan.sends[i].per_round);
    for (size_t i = 0; i < received.size(); ++i) EXPECT_EQ(received[i], plan.recvs[i].per_round);
  });
}

// Computed here from the schedule alone, without the plan's own analysis: walks each lane twice and
// asks of every place that is written which messages lent it last.
TEST(Plan, WritersWaitForWhatIsLent) {
  each_plan([](const Plan& plan) {
    for (size_t l = 0; l < plan.lanes.size(); ++l) {
      const BoundLane& lane = plan.lanes[l];
      // (buffer, chunk) -> (channel, message) still lent, for the data of one round.
      std::map<std::pair<int, uint32_t>, std::map<uint32_t, uint32_t>> lent;
      for (uint32_t i = 0; i < lane.num_steps; ++i) {
        const Step& s = plan.schedule.lanes[l].steps[i];
        const BoundStep& b = plan.steps[lane.first_step + i];
        if (s.op == Op::kOffer) continue;
        for (uint32_t k = 0; k < uint32_t{s.n_in} + s.n_out; ++k) {
          const Operand& o = plan.schedule.operands[s.first + k];
          const bool writes = s.op != Op::kSend && (k >= s.n_in || o.peer != kLocal);
          for (uint32_t c = 0; writes && c < s.data_nchunks; ++c) {
            for (const auto& [channel, message] : lent[{int(o.buffer), o.chunk + c}]) {
              bool waits = false;
              for (uint32_t w = 0; w < b.num_lent; ++w) {
                const Lent& loan = plan.lent[b.first_lent + w];
                waits = waits || (loan.channel == channel && !loan.previous_round &&
                                  loan.message >= message);
              }
              // Or an earlier step of the lane waited for the same message.
              for (uint32_t before = 0; before < i && !waits; ++before) {
                const BoundStep& e = plan.steps[lane.first_step + before];
                for (uint32_t w = 0; w < e.num_lent; ++w) {
                  const Lent& loan = plan.lent[e.first_lent + w];
                  waits = waits || (loan.channel == channel && !loan.previous_round &&
                                    loan.message >= message);
                }
              }
              EXPECT_TRUE(waits) << "step " << i << " writes what message " << message
                                 << " of channel " << channel << " lends";
            }
          }
        }
        for (uint32_t k = s.n_in; k < uint32_t{s.n_in} + s.n_out; ++k) {
          const Operand& o = plan.schedule.operands[s.first + k];
          if (o.peer == kLocal) continue;
          const BoundOperand& bound = plan.operands[b.first + k];
          for (uint32_t c = 0; c < s.data_nchunks; ++c) {
            lent[{int(o.buffer), o.chunk + c}][bound.channel] = bound.message;
          }
        }
      }
    }
  });
}

// Neighbouring chunks are one part: a message over several chunks needs few of them.
TEST(Plan, PartsAreJoined) {
  each_plan([](const Plan& plan) {
    for (const BoundStep& step : plan.steps) {
      for (uint32_t k = 0; k < uint32_t{step.n_in} + step.n_out; ++k) {
        const BoundOperand& o = plan.operands[step.first + k];
        size_t bytes = 0;
        for (uint32_t p = 0; p < o.num_parts; ++p) {
          const Extent& part = plan.parts[o.first_part + p];
          EXPECT_GT(part.bytes, 0u);
          if (p > 0) {
            const Extent& before = plan.parts[o.first_part + p - 1];
            EXPECT_NE(before.offset + before.bytes, part.offset);
          }
          bytes += part.bytes;
        }
        EXPECT_EQ(bytes, step.bytes);
      }
    }
  });
}

// A channel that cannot be opened fails the bind, and only that.
TEST(Plan, ChannelsThatCannotBeOpened) {
  class NoChannels final : public ChannelSource {
    Result<SendChannel*> send_channel(int, uint32_t) override {
      return error(Code::kRemoteError, "no way out");
    }
    Result<RecvChannel*> recv_channel(int, uint32_t) override {
      return error(Code::kRemoteError, "no way in");
    }
  } none;
  Params params;
  params.nranks = 2;
  Schedule schedule;
  make_schedule(*find_algorithm(Collective::kAllReduce, "two_shot"), params, &schedule);
  const DataLayout layout({1, 10, {}, {}}, {1, 10, {}, {}}, schedule.shape.chunks_per_block, 4, 0,
                          0);
  const auto plan = Plan::bind(schedule, layout, Capabilities{}, none);
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.status().code(), Code::kRemoteError);
}

}  // namespace
}  // namespace tutti
