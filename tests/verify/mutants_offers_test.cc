// Mutants of offers and of the claims (kReply) that make some of them right. See mutants_test.cc.
#include <algorithm>

#include "tests/verify/mutants.h"

namespace tutti {
namespace {

using Kind = Defect::Kind;

// One step earlier than the pass put it, an offer meets the step that still uses the place.
TEST(OfferMutants, EarlyOffer) {
  Mutants mutants;
  for (const Source& source : sources(Form::kExecuted)) {
    const Group right = make(source);
    for_each_step(right, [&](size_t r, size_t l, size_t i) {
      const auto& steps = right[r].lanes[l].steps;
      if (steps[i].op != Op::kOffer) return;
      // Offers that stand together may stand in any order; one at the beginning cannot be early.
      size_t before = i;
      while (before > 0 && steps[before - 1].op == Op::kOffer) --before;
      if (before == 0) return;
      Group group = right;
      auto& moved = group[r].lanes[l].steps;
      std::rotate(moved.begin() + static_cast<int64_t>(before) - 1,
                  moved.begin() + static_cast<int64_t>(i),
                  moved.begin() + static_cast<int64_t>(i) + 1);
      mutants.expect_caught(source, group, "early " + where(right, r, l, i),
                            {Kind::kOfferConflict});
    });
  }
  EXPECT_GT(mutants.count(), 50u);
}

// A claim that the peer answers, where it does not. In the direct all-gather and all-to-all
// everybody sends before it hears anything, so no message answers another and the claim is false
// everywhere. Elsewhere a message may well be made of what the claimant sent, and the claim be
// true.
TEST(OfferMutants, FalseReply) {
  Mutants mutants;
  for (const Source& source : sources(Form::kExecuted)) {
    const Collective collective = source.algorithm->collective;
    if (std::string(source.algorithm->name) != "direct" ||
        (collective != Collective::kAllGather && collective != Collective::kAllToAll)) {
      continue;
    }
    const Group right = make(source);
    for_each_step(right, [&](size_t r, size_t l, size_t i) {
      const Step& step = right[r].lanes[l].steps[i];
      if (step.op != Op::kRecv) return;
      const Operand from = right[r].inputs(step)[0];
      Group group = right;
      group[r].inputs(group[r].lanes[l].steps[i])[0].flags = kReply;
      auto& moved = group[r].lanes[l].steps;
      const auto offer = std::find_if(moved.begin(), moved.end(), [&](const Step& s) {
        return s.op == Op::kOffer && right[r].outputs(s)[0].peer == from.peer;
      });
      if (offer == moved.end()) return;
      // Right before the recv: after all that this rank sends.
      std::rotate(offer, offer + 1, moved.begin() + static_cast<int64_t>(i));
      mutants.expect_caught(source, group, "reply claimed in " + where(right, r, l, i),
                            {Kind::kFalseReply});
    });
  }
  EXPECT_GT(mutants.count(), 100u);
}

// An offer that only the claim makes right: in place, its chunk is lent to the very peer.
TEST(OfferMutants, MissingReply) {
  Mutants mutants;
  for (const Source& source : sources(Form::kExecuted)) {
    if (!source.in_place) continue;
    const Group right = make(source);
    for_each_step(right, [&](size_t r, size_t l, size_t i) {
      const auto& steps = right[r].lanes[l].steps;
      if (steps[i].op != Op::kRecv) return;
      const Operand from = right[r].inputs(steps[i])[0];
      const bool offered = std::any_of(steps.begin(), steps.end(), [&](const Step& s) {
        return s.op == Op::kOffer && right[r].outputs(s)[0].peer == from.peer &&
               right[r].outputs(s)[0].chunk == from.chunk;
      });
      if ((from.flags & kReply) == 0 || !offered) return;
      Group group = right;
      group[r].inputs(steps[i])[0].flags = 0;
      mutants.expect_caught(source, group, "no reply in " + where(right, r, l, i),
                            {Kind::kOfferConflict});
    });
  }
  EXPECT_GT(mutants.count(), 50u);
}

}  // namespace
}  // namespace tutti
