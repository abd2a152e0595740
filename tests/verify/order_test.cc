// The verifier on lanes and offers: what must be ordered, and what an offer promises.
#include "comm/schedule/fuse.h"
#include "tests/verify/group.h"

namespace tutti {
namespace {

using Kind = Defect::Kind;

// One rank, two lanes: lane 0 fills scratch, lane 1 folds it into the output.
Group two_lanes(bool waits, bool both_ways) {
  return write_group(ranks(1), Collective::kAllReduce, {1, 1, 1, 1},
                     [&](Builder& b, const Params&) {
                       b.lane(0);
                       b.copy(scratch(0, in(0)), in(0));
                       b.lane(1);
                       if (waits) b.after(0);
                       b.reduce(out(0), {scratch(0, in(0))}, kFinal);
                       if (!both_ways) return;
                       b.lane(0);
                       b.after(1);
                       b.copy(scratch(0, in(0)), in(0));
                     });
}

TEST(Lanes, WaitsOrderThem) {
  EXPECT_TRUE(passes(two_lanes(true, true)));
  const auto found = check(two_lanes(false, false));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, Kind::kRace);
}

// Lane 0 runs on into the second round and fills scratch while lane 1 may still read it.
TEST(Lanes, RoundsRace) {
  const Group group = two_lanes(true, false);
  EXPECT_FALSE(check(group, 1, 1).has_value());
  const auto found = check(group, 1, 2);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, Kind::kRace);
}

// Lane 2 is ordered behind lane 0 only through lane 1; waiting for an earlier step orders nothing
// later.
TEST(Lanes, OrderIsTransitiveAndExact) {
  const auto chain = [](bool wait_for_second) {
    return write_group(ranks(1), Collective::kAllReduce, {1, 1, 2, 3},
                       [&](Builder& b, const Params&) {
                         const auto hand_over = [&] {
                           b.lane(1);
                           b.after(0);
                           b.copy(scratch(2, in(1)), in(1));
                         };
                         b.lane(0);
                         b.copy(scratch(1, in(1)), in(1));
                         if (!wait_for_second) hand_over();
                         b.lane(0);
                         b.copy(scratch(0, in(0)), in(0));
                         if (wait_for_second) hand_over();
                         b.lane(2);
                         b.after(1);
                         b.reduce(out(0), {scratch(0, in(0))}, kFinal);
                         b.reduce(out(1), {scratch(2, in(1))}, kFinal);
                       });
  };
  EXPECT_FALSE(check(chain(true), 1, 1).has_value());
  EXPECT_EQ(check(chain(false), 1, 1)->kind, Kind::kRace);
}

TEST(Lanes, ReadsOfTwoLanesNeedNoOrder) {
  const Group group =
      write_group(ranks(2), Collective::kAllToAll, {2, 2, 1, 0}, [](Builder& b, const Params& p) {
        const auto own = static_cast<uint32_t>(p.rank);
        b.copy(out(own), in(own));
        b.lane(1);
        b.send(1 - p.rank, in(1 - own));
        b.recv(1 - p.rank, out(1 - own));
      });
  EXPECT_TRUE(passes(group, 1));
}

TEST(Lanes, WaitingInACircleIsADeadlock) {
  Group group = two_lanes(true, true);
  group[0].lanes[0].steps[0].wait_lane = 1;
  group[0].lanes[0].steps[0].wait_step = 0;
  EXPECT_TRUE(fails(group, Kind::kDeadlock));
}

// What one lane lends, another may not write, even when it is ordered behind the send: nothing
// tells it that the message has been consumed.
TEST(Lanes, LentPlacesAreProtectedFromOtherLanes) {
  const auto group = [](bool reclaimed) {
    return write_group(ranks(2), Collective::kBroadcast, {1, 1, 1, 1},
                       [reclaimed](Builder& b, const Params& p) {
                         if (p.rank == 1) {
                           b.recv(0, out(0));
                           return;
                         }
                         b.lane(1);
                         b.copy(out(0), in(0));
                         b.lane(0);
                         b.after(1);
                         b.copy(scratch(0, in(0)), in(0));
                         b.send(1, scratch(0, in(0)));
                         if (reclaimed) b.copy(scratch(0, in(0)), in(0));
                         b.lane(1);
                         b.after(0);
                         b.copy(scratch(0, in(0)), in(0));
                       });
  };
  EXPECT_TRUE(fails(group(false), Kind::kRace));
  EXPECT_TRUE(passes(group(true), 1));
}

// Inserts an offer of `peer`'s message number `ordinal` as step `at` of lane 0.
void insert_offer(Schedule& s, size_t at, int peer, uint32_t ordinal, const Place& place) {
  Step offer{};
  offer.op = Op::kOffer;
  offer.n_out = 1;
  offer.first = static_cast<uint32_t>(s.operands.size());
  offer.data_buffer = place.data.buffer;
  offer.data_chunk = place.data.chunk;
  offer.data_nchunks = place.data.nchunks;
  offer.ordinal = ordinal;
  offer.wait_lane = kNoLane;
  s.operands.push_back({place.buffer, 0, 0, place.chunk, peer});
  auto& steps = s.lanes[0].steps;
  steps.insert(steps.begin() + static_cast<int64_t>(at), offer);
}

// Rank 0 sends chunk after chunk; rank 1 receives into its output.
Group stream_of(uint32_t chunks) {
  return write_group(ranks(2), Collective::kBroadcast, {1, 1, chunks, 1},
                     [chunks](Builder& b, const Params& p) {
                       for (uint32_t c = 0; c < chunks; ++c) {
                         if (p.rank == 0) b.send(1, in(c));
                         if (p.rank == 1) b.recv(0, out(c));
                       }
                       if (p.rank == 0) b.copy(out(0, chunks), in(0, chunks));
                     });
}

TEST(Offers, MayComeFirst) {
  Group group = stream_of(2);
  insert_offer(group[1], 0, 0, 1, out(1));
  insert_offer(group[1], 0, 0, 0, out(0));
  EXPECT_TRUE(passes(group, 1));
}

TEST(Offers, NameTheirMessageAndItsPlace) {
  Group group = stream_of(2);
  insert_offer(group[1], 0, 0, 1, out(0));
  EXPECT_TRUE(fails(group, Kind::kOfferConflict));
  group = stream_of(2);
  insert_offer(group[1], 0, 0, 2, out(1));
  EXPECT_TRUE(fails(group, Kind::kOfferConflict));
  group = stream_of(2);
  insert_offer(group[1], 1, 0, 0, out(0));
  EXPECT_TRUE(fails(group, Kind::kOfferConflict));
  group = stream_of(2);
  insert_offer(group[1], 0, 0, 0, out(0));
  insert_offer(group[1], 0, 0, 0, out(0));
  EXPECT_TRUE(fails(group, Kind::kOfferConflict));
}

// Rank 1 uses the place for something else first.
TEST(Offers, TheWindowIsSomebodyElsesWrite) {
  const auto used_first = [](size_t offer_at) {
    Group group = write_group(ranks(2), Collective::kBroadcast, {1, 1, 1, 1},
                              [](Builder& b, const Params& p) {
                                if (p.rank == 0) {
                                  b.send(1, in(0));
                                  b.send(1, in(0));
                                  b.copy(out(0), in(0));
                                  return;
                                }
                                b.recv(0, out(0));                   // 0
                                b.copy(scratch(0, out(0)), out(0));  // 1
                                b.recv(0, out(0));                   // 2
                              });
    insert_offer(group[1], offer_at, 0, 1, out(0));
    return group;
  };
  EXPECT_TRUE(passes(used_first(2), 1));
  EXPECT_TRUE(fails(used_first(1), Kind::kOfferConflict));  // read in the window
  EXPECT_TRUE(fails(used_first(0), Kind::kOfferConflict));  // received into in the window
}

// Scratch that rank 1 still reads in round 1 is offered to rank 0 for round 2 only after that; but
// scratch that it lends away may be lent still.
TEST(Offers, ScratchIsSharedByRounds) {
  const auto relay = [](bool lends) {
    Group group = write_group(ranks(3), Collective::kBroadcast, {1, 1, 1, 1},
                              [lends](Builder& b, const Params& p) {
                                if (p.rank == 0) {
                                  b.send(1, in(0));
                                  b.copy(out(0), in(0));
                                } else if (p.rank == 1) {
                                  b.recv(0, scratch(0, out(0)));
                                  b.copy(out(0), scratch(0, out(0)));
                                  b.send(2, lends ? scratch(0, out(0)) : out(0));
                                } else {
                                  b.recv(1, out(0));
                                }
                              });
    insert_offer(group[1], 0, 0, 0, scratch(0, out(0)));
    return group;
  };
  EXPECT_TRUE(passes(relay(false), 1));
  EXPECT_FALSE(check(relay(true), 1, 1).has_value());
  const auto found = check(relay(true), 1, 2);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, Kind::kOfferConflict);
  EXPECT_EQ(found->round, 1);
}

// In place, rank 1 lends its chunk to rank 0 and gets the sum back into the same chunk.
Group ask_and_answer(uint8_t recv_flags, bool answers_late, bool lent_elsewhere = false) {
  Group group = write_group(
      ranks(3, true), Collective::kAllReduce, {1, 1, 1, 2}, [&](Builder& b, const Params& p) {
        const std::vector<Place> terms = {in(0), scratch(0, in(0)), scratch(1, in(0))};
        if (p.rank != 0) {
          b.send(0, in(0));
          if (p.rank == 1 && lent_elsewhere) b.send(2, in(0));
          if (p.rank == 2 && lent_elsewhere) b.recv(1, scratch(0, in(0)));
          b.recv(0, out(0), recv_flags);
          if (p.rank == 1 && answers_late) b.recv(0, out(0), recv_flags);
          return;
        }
        if (answers_late) b.send(1, scratch(0, in(0)));
        b.recv(1, scratch(0, in(0)));
        b.recv(2, scratch(1, in(0)));
        b.reduce(out(0), terms, kFinal);
        b.send(1, out(0));
        b.send(2, out(0));
      });
  return group;
}

TEST(Offers, ARepliedPlaceMayStillBeLent) {
  Group group = ask_and_answer(kReply, false);
  insert_offer(group[1], 1, 0, 0, out(0));
  insert_offer(group[2], 1, 0, 0, out(0));
  EXPECT_TRUE(passes(group, 1));
  group = ask_and_answer(0, false);
  insert_offer(group[1], 1, 0, 0, out(0));
  EXPECT_TRUE(fails(group, Kind::kOfferConflict));
}

TEST(Offers, AReplyExcusesOnlyTheOneWhoReplies) {
  Group group = ask_and_answer(kReply, false, true);
  EXPECT_TRUE(passes(group, 1));
  insert_offer(group[1], 2, 0, 0, out(0));
  EXPECT_TRUE(fails(group, Kind::kOfferConflict));
}

TEST(Offers, AReplyMustBeOne) {
  // Both ranks lend first and receive then: the message was made before the lent one was consumed.
  const auto swap = [](bool fused) {
    Group group = write_group(ranks(2, true), Collective::kAllToAll, {2, 2, 1, 1},
                              [](Builder& b, const Params& p) {
                                const auto peer = static_cast<uint32_t>(1 - p.rank);
                                b.send(1 - p.rank, in(peer));
                                b.recv(1 - p.rank, out(peer), kReply);
                              });
    if (fused) insert_offer(group[1], 1, 0, 0, out(0));
    return group;
  };
  EXPECT_TRUE(fails(swap(true), Kind::kFalseReply));
}

// The answer is made by the very step that reads the question, element by element: it may go back
// to where the question lies, or elsewhere, but not half a place further.
TEST(Offers, AnAnswerInTheSameStep) {
  const auto answered_at = [](uint32_t slot) {
    Group group = write_group(ranks(2), Collective::kAllReduce, {1, 1, 2, 5},
                              [slot](Builder& b, const Params& p) {
                                const Place own = in(0, 2);
                                if (p.rank == 0) {
                                  b.recv(1, scratch(0, own));
                                  b.reduce(out(0, 2), {own, scratch(0, own)}, kFinal);
                                  b.send(1, out(0, 2));
                                  return;
                                }
                                b.copy(scratch(1, own), own);
                                b.send(0, scratch(1, own));
                                b.recv(0, scratch(slot, own), kReply);
                                b.copy(out(0, 2), scratch(slot, own));
                              });
    fuse(&group[0]);
    EXPECT_EQ(group[0].lanes[0].steps.size(), 1u);
    insert_offer(group[1], 2, 0, 0, scratch(slot, in(0, 2)));
    return group;
  };
  EXPECT_TRUE(passes(answered_at(1), 1));
  EXPECT_TRUE(passes(answered_at(3), 1));
  EXPECT_TRUE(fails(answered_at(0), Kind::kFalseReply));
  EXPECT_TRUE(fails(answered_at(2), Kind::kFalseReply));
}

}  // namespace
}  // namespace tutti
