// Mutants: catalogued schedules spoiled in one place. The verifier must find every one. A mutant
// that is right after all is left out where it is made, and a comment says why it is right.
#include "tests/verify/mutants.h"

#include <algorithm>

namespace tutti {
namespace {

using Kind = Defect::Kind;

TEST(Mutants, DroppedStep) {
  Mutants mutants;
  for (const Form form : {Form::kPlain, Form::kExecuted}) {
    for (const Source& source : sources(form)) {
      const Group right = make(source);
      for_each_step(right, [&](size_t r, size_t l, size_t i) {
        const Step& step = right[r].lanes[l].steps[i];
        // Without an offer the message takes the ordinary way: the result is the same.
        if (step.op == Op::kOffer) return;
        Group group = right;
        drop_step(group[r], l, i);
        // A message too few on one side; or a chunk nobody made.
        bool messages = false;
        for (uint32_t k = 0; k < uint32_t{step.n_in} + step.n_out; ++k) {
          messages = messages || right[r].operands[step.first + k].peer != kLocal;
        }
        mutants.expect_caught(source, group, "dropped " + where(right, r, l, i),
                              messages ? Kinds{Kind::kUnmatched, Kind::kOfferConflict}
                                       : Kinds{Kind::kUnwrittenRead, Kind::kWrongResult,
                                               Kind::kNotFinal, Kind::kUnmatched});
      });
    }
  }
  EXPECT_GT(mutants.count(), 2000u);
}

TEST(Mutants, SwappedPeer) {
  Mutants mutants;
  for (const Form form : {Form::kPlain, Form::kExecuted}) {
    for (const Source& source : sources(form, {3, 5, 8})) {
      const Group right = make(source);
      for_each_step(right, [&](size_t r, size_t l, size_t i) {
        const Step& step = right[r].lanes[l].steps[i];
        if (step.op == Op::kOffer) return;
        for (uint32_t k = 0; k < uint32_t{step.n_in} + step.n_out; ++k) {
          const int32_t peer = right[r].operands[step.first + k].peer;
          if (peer == kLocal) continue;
          int32_t other = (peer + 1) % source.nranks;
          if (other == static_cast<int32_t>(r)) other = (other + 1) % source.nranks;
          Group group = right;
          group[r].operands[step.first + k].peer = other;
          // Malformed: the step now has two messages of one peer.
          mutants.expect_caught(source, group,
                                "peer " + std::to_string(other) + " in " + where(right, r, l, i),
                                {Kind::kUnmatched, Kind::kMalformed, Kind::kOfferConflict});
        }
      });
    }
  }
  EXPECT_GT(mutants.count(), 2000u);
}

// Two messages change places: their number is right, their content is not.
TEST(Mutants, SwappedMessages) {
  Mutants mutants;
  for (const char* name : {"direct", "pairwise"}) {
    for (const Collective collective : {Collective::kAllGather, Collective::kAllToAll}) {
      const Algorithm* algorithm = find_algorithm(collective, name);
      if (algorithm == nullptr) continue;
      const Source source{algorithm, 5, false, Form::kPlain};
      const Group right = make(source);
      for_each_step(right, [&](size_t r, size_t l, size_t i) {
        const Step& step = right[r].lanes[l].steps[i];
        if (step.op != Op::kRecv) return;
        for (size_t j = i + 1; j < right[r].lanes[l].steps.size(); ++j) {
          Group group = right;
          auto& steps = group[r].lanes[l].steps;
          if (steps[j].op != Op::kRecv) continue;
          std::swap(group[r].inputs(steps[i])[0].peer, group[r].inputs(steps[j])[0].peer);
          mutants.expect_caught(
              source, group,
              "swapped with step " + std::to_string(j) + ": " + where(right, r, l, i),
              {Kind::kUnmatched, Kind::kWrongResult, Kind::kDeadlock});
        }
      });
    }
  }
  EXPECT_GT(mutants.count(), 50u);
}

// The place of one local operand, moved by a chunk. Plain schedules only: in fused ones the landing
// place of a message that is folded where it lies is never read, and any free slot does.
TEST(Mutants, WrongChunk) {
  Mutants mutants;
  for (const Source& source : sources(Form::kPlain)) {
    const Group right = make(source);
    for_each_step(right, [&](size_t r, size_t l, size_t i) {
      const Step& step = right[r].lanes[l].steps[i];
      // An empty message has no place to be wrong about.
      if (step.data_nchunks == 0) return;
      for (uint32_t k = 0; k < uint32_t{step.n_in} + step.n_out; ++k) {
        Group group = right;
        Schedule& s = group[r];
        Operand& o = s.operands[step.first + k];
        // The two operands of a send or a recv are one place: move both.
        const bool pair = step.op == Op::kSend || step.op == Op::kRecv;
        if (pair && k == 1) continue;
        ++o.chunk;
        if (pair) ++s.operands[step.first + 1].chunk;
        mutants.expect_caught(
            source, group, "chunk + 1 in " + where(right, r, l, i),
            {Kind::kMalformed, Kind::kUnwrittenRead, Kind::kWrongResult, Kind::kForbiddenWrite,
             Kind::kDeadlock, Kind::kNotFinal, Kind::kReductionOrder});
      }
    });
  }
  EXPECT_GT(mutants.count(), 2000u);
}

// The piece and the place, moved together: a wrong part of the data, consistently.
TEST(Mutants, WrongData) {
  Mutants mutants;
  for (const Source& source : sources(Form::kPlain)) {
    const Group right = make(source);
    for_each_step(right, [&](size_t r, size_t l, size_t i) {
      const Step& step = right[r].lanes[l].steps[i];
      if (step.op != Op::kSend || step.data_nchunks == 0) return;
      Group group = right;
      ++group[r].lanes[l].steps[i].data_chunk;
      for (uint32_t k = 0; k < 2; ++k) ++group[r].operands[step.first + k].chunk;
      mutants.expect_caught(source, group, "data + 1 in " + where(right, r, l, i),
                            {Kind::kMalformed, Kind::kUnmatched});
    });
  }
  EXPECT_GT(mutants.count(), 500u);
}

// A fold that adds one operand twice, and a fold done twice.
TEST(Mutants, DoubledReduction) {
  Mutants mutants;
  for (const Form form : {Form::kPlain, Form::kExecuted}) {
    for (const Source& source : sources(form)) {
      const Group right = make(source);
      for_each_step(right, [&](size_t r, size_t l, size_t i) {
        const Step step = right[r].lanes[l].steps[i];
        if (step.op != Op::kReduce) return;
        Group group = right;
        Schedule& s = group[r];
        Step& doubled = s.lanes[l].steps[i];
        const auto first = static_cast<uint32_t>(s.operands.size());
        for (uint32_t k = 0; k < step.n_in; ++k) s.operands.push_back(s.operands[step.first + k]);
        // Once more the operand that is no message.
        const auto in = right[r].inputs(step);
        const auto local =
            std::find_if(in.begin(), in.end(), [](const Operand& o) { return o.peer == kLocal; });
        ASSERT_NE(local, in.end());
        s.operands.push_back(*local);
        for (uint32_t k = 0; k < step.n_out; ++k) {
          s.operands.push_back(s.operands[step.first + step.n_in + k]);
        }
        doubled.first = first;
        ++doubled.n_in;
        mutants.expect_caught(source, group, "one operand twice in " + where(right, r, l, i),
                              {Kind::kWrongResult});
        if (form == Form::kExecuted) return;
        // Adding the same again to the sum: the place it goes to has it already.
        group = right;
        Step again = step;
        again.first = static_cast<uint32_t>(group[r].operands.size());
        again.n_in = 2;
        again.n_out = 1;
        group[r].operands.push_back(right[r].outputs(step)[0]);
        group[r].operands.push_back(*local);
        group[r].operands.push_back(right[r].outputs(step)[0]);
        auto& steps = group[r].lanes[l].steps;
        steps.insert(steps.begin() + static_cast<int64_t>(i) + 1, again);
        mutants.expect_caught(source, group, "added again after " + where(right, r, l, i),
                              {Kind::kWrongResult, Kind::kNotFinal});
      });
    }
  }
  EXPECT_GT(mutants.count(), 500u);
}

TEST(Mutants, FinalMissingOrMisplaced) {
  Mutants mutants;
  for (const Form form : {Form::kPlain, Form::kExecuted}) {
    for (const Source& source : sources(form)) {
      const Group right = make(source);
      for_each_step(right, [&](size_t r, size_t l, size_t i) {
        if (right[r].lanes[l].steps[i].op != Op::kReduce) return;
        Group group = right;
        group[r].lanes[l].steps[i].flags ^= kFinal;
        mutants.expect_caught(source, group, "other final in " + where(right, r, l, i),
                              {Kind::kNotFinal});
      });
    }
  }
  EXPECT_GT(mutants.count(), 300u);
}

// Results that a fused step no longer writes because a peer takes them where they are made.
TEST(Mutants, ResultNotKept) {
  Mutants mutants;
  for (const Source& source : sources(Form::kExecuted)) {
    const Group right = make(source);
    for_each_step(right, [&](size_t r, size_t l, size_t i) {
      const Step& step = right[r].lanes[l].steps[i];
      for (uint32_t k = 0; k < step.n_out; ++k) {
        const Operand& o = right[r].outputs(step)[k];
        // Kept scratch is left out: where the pass keeps a slot that nothing reads any more, giving
        // it up is right.
        if ((o.flags & kKeep) == 0 || o.buffer != Buffer::kOutput) continue;
        Group group = right;
        group[r].operands[step.first + step.n_in + k].flags = 0;
        mutants.expect_caught(source, group, "not kept in " + where(right, r, l, i),
                              {Kind::kWrongResult, Kind::kUnwrittenRead});
      }
    });
  }
  EXPECT_GT(mutants.count(), 500u);
}

// What was received aside and copied is received straight into the chunk that is still lent.
TEST(Mutants, RemovedScratchCopy) {
  Mutants mutants;
  for (const char* name : {"direct", "pairwise"}) {
    for (const int n : {2, 3, 4, 5, 8}) {
      const Source source{find_algorithm(Collective::kAllToAll, name), n, true, Form::kPlain};
      ASSERT_NE(source.algorithm, nullptr);
      Group group = make(source);
      for (Schedule& s : group) {
        auto& steps = s.lanes[0].steps;
        for (size_t i = 0; i + 1 < steps.size(); ++i) {
          if (steps[i].op != Op::kRecv || steps[i + 1].op != Op::kCopy) continue;
          const Operand to = s.outputs(steps[i + 1])[0];
          for (uint32_t k = 0; k < 2; ++k) {
            s.operands[steps[i].first + k].buffer = to.buffer;
            s.operands[steps[i].first + k].chunk = to.chunk;
          }
          drop_step(s, 0, i + 1);
        }
      }
      mutants.expect_caught(source, group, "no scratch", {Kind::kDeadlock});
    }
  }
  EXPECT_EQ(mutants.count(), 10u);
}

TEST(Mutants, TooFewSlots) {
  Mutants mutants;
  for (const Source& source : sources(Form::kExecuted)) {
    const Group group = make(source);
    const MinimumSlots needed = minimum_slots(source.nranks, schedules_of(group), kPlenty);
    ASSERT_FALSE(needed.defect.has_value()) << describe(*needed.defect);
    EXPECT_TRUE(passes(group, needed.slots));
    if (needed.slots == 1) continue;
    mutants.expect_caught(source, group, "one slot too few", {Kind::kDeadlock}, needed.slots - 1);
  }
  EXPECT_GT(mutants.count(), 10u);
}

// A reduce-scatter in two lanes: lane 0 moves messages, lane 1 folds them as they come. Lane 1 also
// hands the scratch slots back to lane 0 for the next round.
Group two_lane_reduce_scatter(int n) {
  Params p;
  p.nranks = n;
  const auto un = static_cast<uint32_t>(n);
  return write_group(
      p, Collective::kReduceScatter, {un, 1, 1, un - 1}, [&](Builder& b, const Params& q) {
        const Place own = Builder::input(static_cast<uint32_t>(q.rank));
        Place sum = own;
        for (int d = 1; d < n; ++d) {
          const int to = (q.rank + d) % n;
          b.send(to, Builder::input(static_cast<uint32_t>(to)));
        }
        for (int d = 1; d < n; ++d) {
          const Place slot = Builder::scratch(static_cast<uint32_t>(d - 1), own);
          b.lane(0);
          b.recv((q.rank + n - d) % n, slot);
          b.lane(1);
          b.after(0);
          b.reduce(Builder::output(0), {sum, slot}, d == n - 1 ? kFinal : uint8_t{0});
          sum = Builder::output(0);
        }
        // The last step of lane 0 ends the use of scratch by both lanes.
        b.lane(0);
        b.after(1);
        b.copy(Builder::scratch(0, own), own);
      });
}

TEST(Mutants, MissingDependency) {
  const Algorithm shown{
      Collective::kReduceScatter, "two lanes", Rounding::kPerHop, false, nullptr, ""};
  Mutants mutants;
  for (const int n : {2, 3, 5, 8}) {
    const Source source{&shown, n, false, Form::kPlain};
    const Group right = two_lane_reduce_scatter(n);
    EXPECT_TRUE(passes(right, 1));
    for_each_step(right, [&](size_t r, size_t l, size_t i) {
      const Step& step = right[r].lanes[l].steps[i];
      if (step.wait_lane == kNoLane) return;
      Group group = right;
      group[r].lanes[l].steps[i].wait_lane = kNoLane;
      // Unwritten: without the wait the fold may well run before the message is there.
      mutants.expect_caught(source, group, "no wait in " + where(right, r, l, i),
                            {Kind::kRace, Kind::kUnwrittenRead});
      if (step.wait_step == 0) return;
      group = right;
      --group[r].lanes[l].steps[i].wait_step;
      mutants.expect_caught(source, group, "early wait in " + where(right, r, l, i),
                            {Kind::kRace, Kind::kUnwrittenRead});
    });
  }
  EXPECT_GT(mutants.count(), 100u);
}

}  // namespace
}  // namespace tutti
