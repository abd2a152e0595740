// The verifier on schedules small enough to check by hand: results, writes, deadlock, barriers.
// Messages and what is out of range: messages_test.cc. Lanes and offers: order_test.cc.
#include "comm/verify/verify.h"

#include "tests/verify/group.h"

namespace tutti {
namespace {

using Kind = Defect::Kind;

TEST(Verify, AcceptsAnExchange) {
  // Each rank adds its own first: the operands are swapped, which changes no bit.
  const auto add = [](Builder& b, const Params&) {
    b.reduce(out(0), {in(0), scratch(0, in(0))}, kFinal);
  };
  EXPECT_TRUE(passes(exchange(add), 1));
  EXPECT_TRUE(passes(exchange(add, true), 1));
}

TEST(Verify, AcceptsARing) {
  for (const bool in_place : {false, true}) {
    const Group ring = write_group(
        ranks(3, in_place), Collective::kAllReduce, {1, 1, 3, 1}, [](Builder& b, const Params& p) {
          const auto chunk = [&p](int back) {
            return static_cast<uint32_t>((p.rank + 6 - back) % 3);
          };
          b.send(next_of(p), in(chunk(0)));
          for (int t = 1; t <= 2; ++t) {
            const uint32_t c = chunk(t);
            b.recv(prev_of(p), scratch(0, in(c)));
            b.reduce(out(c), {scratch(0, in(c)), in(c)}, t == 2 ? kFinal : uint8_t{0});
            b.send(next_of(p), out(c));
          }
          b.recv(prev_of(p), out(chunk(0)));
          b.send(next_of(p), out(chunk(0)));
          b.recv(prev_of(p), out(chunk(1)));
        });
    EXPECT_TRUE(passes(ring, 1));
  }
}

TEST(Verify, AcceptsATwoShot) {
  const Group two_shot =
      write_group(ranks(3), Collective::kAllReduce, {1, 1, 3, 2}, [](Builder& b, const Params& p) {
        const auto own = static_cast<uint32_t>(p.rank);
        std::vector<Place> terms;
        for (int peer = 0; peer < 3; ++peer) {
          if (peer != p.rank) b.send(peer, in(static_cast<uint32_t>(peer)));
        }
        uint32_t slot = 0;
        for (int peer = 0; peer < 3; ++peer) {
          terms.push_back(peer == p.rank ? in(own) : scratch(slot++, in(own)));
          if (peer != p.rank) b.recv(peer, terms.back());
        }
        b.reduce(out(own), terms, kFinal);
        for (int peer = 0; peer < 3; ++peer) {
          if (peer != p.rank) b.send(peer, out(own));
        }
        for (int peer = 0; peer < 3; ++peer) {
          if (peer != p.rank) b.recv(peer, out(static_cast<uint32_t>(peer)));
        }
      });
  EXPECT_TRUE(passes(two_shot, 1));
}

TEST(Verify, SaysWhatAChunkHeld) {
  const Group group = exchange([](Builder& b, const Params& p) {
    const Place theirs = scratch(0, in(0));
    if (p.rank == 0) {
      b.reduce(out(0), {in(0), theirs}, kFinal);
    } else {
      b.reduce(out(0), {in(0), theirs, theirs}, kFinal);
    }
  });
  const auto found = check(group);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, Kind::kWrongResult);
  EXPECT_EQ(found->rank, 1);
  EXPECT_EQ(found->step, 2u);
  EXPECT_EQ(found->chunk, 0u);
  EXPECT_EQ(found->expected, "the sum over ranks {0,1} of input[0]");
  EXPECT_EQ(found->got, "the sum over ranks {0,0,1} of input[0]");
  EXPECT_EQ(
      describe(*found),
      "wrong result: rank 1, lane 0, step 2, output[0]\n"
      "  step      reduce                 final input[0] + scratch[0] + scratch[0] -> output[0]\n"
      "  expected  the sum over ranks {0,1} of input[0]\n"
      "  got       the sum over ranks {0,0,1} of input[0]");
}

TEST(Verify, RefusesAMissingContribution) {
  EXPECT_TRUE(fails(
      exchange([](Builder& b, const Params&) { b.reduce(out(0), {scratch(0, in(0))}, kFinal); }),
      Kind::kWrongResult));
  const auto nothing = check(exchange([](Builder&, const Params&) {}));
  ASSERT_TRUE(nothing.has_value());
  EXPECT_EQ(nothing->kind, Kind::kWrongResult);
  EXPECT_EQ(nothing->got, "nothing");
}

TEST(Verify, RefusesDataOfTheWrongChunk) {
  const Group group =
      write_group(ranks(2), Collective::kAllReduce, {1, 1, 2, 2}, [](Builder& b, const Params& p) {
        b.send(next_of(p), in(1));
        b.recv(next_of(p), scratch(0, in(1)));
        b.reduce(out(0, 2), {in(0, 2), scratch(0, in(0, 2))}, kFinal);
      });
  EXPECT_TRUE(fails(group, Kind::kUnwrittenRead));
}

TEST(Verify, FinalExactlyOnce) {
  EXPECT_TRUE(fails(exchange([](Builder& b, const Params&) {
                      b.reduce(out(0), {in(0), scratch(0, in(0))});
                    }),
                    Kind::kNotFinal));
  EXPECT_TRUE(fails(exchange([](Builder& b, const Params&) {
                      b.reduce(out(0), {in(0), scratch(0, in(0))}, kFinal);
                      b.reduce(out(0), {out(0)}, kFinal);
                    }),
                    Kind::kNotFinal));
  const Group copied =
      write_group(ranks(1), Collective::kBroadcast, {1, 1, 1, 0},
                  [](Builder& b, const Params&) { b.reduce(out(0), {in(0)}, kFinal); });
  EXPECT_TRUE(fails(copied, Kind::kNotFinal));
}

// Three ranks gather all inputs and fold them; `order` of rank 2 is given.
Group one_shot(const std::function<void(Builder&, const std::vector<Place>&)>& fold_on_rank_2) {
  return write_group(
      ranks(3), Collective::kAllReduce, {1, 1, 1, 3}, [&](Builder& b, const Params& p) {
        std::vector<Place> terms;
        for (int peer = 0; peer < 3; ++peer) {
          if (peer != p.rank) b.send(peer, in(0));
        }
        for (int peer = 0; peer < 3; ++peer) {
          terms.push_back(peer == p.rank ? in(0) : scratch(static_cast<uint32_t>(peer), in(0)));
          if (peer != p.rank) b.recv(peer, terms.back());
        }
        if (p.rank == 2) {
          fold_on_rank_2(b, terms);
        } else {
          b.reduce(out(0), terms, kFinal);
        }
      });
}

TEST(Verify, TheOrderOfReductionIsTheSameUpToASwap) {
  EXPECT_TRUE(passes(one_shot([](Builder& b, const std::vector<Place>& t) {
    b.reduce(out(0), {t[1], t[0], t[2]}, kFinal);
  })));
  EXPECT_TRUE(fails(one_shot([](Builder& b, const std::vector<Place>& t) {
                      b.reduce(out(0), {t[0], t[2], t[1]}, kFinal);
                    }),
                    Kind::kReductionOrder));
  // Two folds round twice, one fold of three rounds once.
  const auto found = check(one_shot([](Builder& b, const std::vector<Place>& t) {
    b.reduce(out(0), {t[0], t[1]});
    b.reduce(out(0), {out(0), t[2]}, kFinal);
  }));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, Kind::kReductionOrder);
  EXPECT_EQ(found->expected, "the order of rank 0: (0 + 1 + 2)");
  EXPECT_EQ(found->got, "((0 + 1) + 2)");
}

TEST(Verify, RefusesUnwrittenReads) {
  EXPECT_TRUE(fails(exchange([](Builder& b, const Params&) {
                      b.reduce(out(0), {in(0), scratch(1, in(0))}, kFinal);
                    }),
                    Kind::kUnwrittenRead));
  EXPECT_TRUE(fails(exchange([](Builder& b, const Params&) {
                      b.reduce(out(0), {out(0), scratch(0, in(0))}, kFinal);
                    }),
                    Kind::kUnwrittenRead));
  // In place the output holds the input.
  EXPECT_TRUE(passes(exchange(
      [](Builder& b, const Params&) {
        b.reduce(out(0), {out(0), scratch(0, in(0))}, kFinal);
      },
      true)));
}

TEST(Verify, APlaceThatIsNotKeptIsGivenUp) {
  Group group = exchange([](Builder& b, const Params&) {
    b.reduce(out(0), {in(0), scratch(0, in(0))}, kFinal);
  });
  for (Schedule& s : group) s.outputs(s.lanes[0].steps[2])[0].flags = 0;
  EXPECT_TRUE(fails(group, Kind::kWrongResult));
}

TEST(Verify, RefusesForbiddenWrites) {
  const auto add_then = [](const Place& to) {
    return [to](Builder& b, const Params&) {
      b.reduce(out(0), {in(0), scratch(0, in(0))}, kFinal);
      b.copy(to, scratch(0, in(0)));
    };
  };
  EXPECT_TRUE(fails(exchange(add_then(in(0))), Kind::kForbiddenWrite));
  // A rank without an output.
  const Group reduce =
      write_group(ranks(2), Collective::kReduce, {1, 1, 1, 1}, [](Builder& b, const Params& p) {
        if (p.rank == 1) {
          b.copy(out(0), in(0));
          b.send(0, in(0));
          return;
        }
        b.recv(1, scratch(0, in(0)));
        b.reduce(out(0), {in(0), scratch(0, in(0))}, kFinal);
      });
  EXPECT_TRUE(fails(reduce, Kind::kForbiddenWrite));
}

TEST(Verify, PlacesOfAStepCoincideOrKeepApart) {
  const Group shifted =
      write_group(ranks(1), Collective::kAllReduce, {1, 1, 2, 3}, [](Builder& b, const Params&) {
        b.copy(scratch(0, in(0, 2)), in(0, 2));
        b.copy(scratch(1, in(0, 2)), scratch(0, in(0, 2)));
        b.reduce(out(0, 2), {scratch(1, in(0, 2))}, kFinal);
      });
  EXPECT_TRUE(fails(shifted, Kind::kForbiddenWrite));
  // A message that lands on what its step adds to it.
  Group landing = exchange([](Builder& b, const Params&) {
    b.reduce(out(0), {in(0), scratch(0, in(0))}, kFinal);
  });
  for (Schedule& s : landing) {
    auto& steps = s.lanes[0].steps;
    steps[1] = steps[2];
    steps.pop_back();
    s.inputs(steps[1])[0] = {Buffer::kScratch, 0, 0, 0, kLocal};
    s.inputs(steps[1])[1].peer = 1 - s.rank;
  }
  EXPECT_TRUE(fails(landing, Kind::kForbiddenWrite));
}

// In place, an exchange that adds the message to the very chunk it has lent: neither rank may write
// before the other has consumed, and it consumes in the step that writes.
TEST(Verify, FindsTheDeadlockOfBorrowing) {
  Group group = exchange(
      [](Builder& b, const Params&) {
        b.reduce(out(0), {in(0), scratch(0, in(0))}, kFinal);
      },
      true);
  for (Schedule& s : group) {
    auto& steps = s.lanes[0].steps;
    s.inputs(steps[2])[1].peer = 1 - s.rank;  // the fused form
    steps.erase(steps.begin() + 1);
  }
  const auto found = check(group);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, Kind::kDeadlock);
  EXPECT_EQ(found->expected, "every lane to end, with 64 slots a channel");
  EXPECT_EQ(found->got,
            "rank 0 step 1 waits for rank 1 to consume what it was lent; "
            "rank 1 step 1 waits for rank 0 to consume what it was lent; and so round");
}

TEST(Verify, InPlaceAllToAllNeedsScratch) {
  const auto swap = [](bool aside) {
    return write_group(ranks(2, true), Collective::kAllToAll, {2, 2, 1, 1},
                       [aside](Builder& b, const Params& p) {
                         const auto peer = static_cast<uint32_t>(1 - p.rank);
                         b.send(1 - p.rank, in(peer));
                         if (!aside) return b.recv(1 - p.rank, out(peer));
                         b.recv(1 - p.rank, scratch(0, out(peer)));
                         b.copy(out(peer), scratch(0, out(peer)));
                       });
  };
  EXPECT_TRUE(passes(swap(true), 1));
  EXPECT_TRUE(fails(swap(false), Kind::kDeadlock));
}

TEST(Verify, FindsTheSmallestNumberOfSlots) {
  const auto all_first = [](uint32_t chunks) {
    return write_group(ranks(2), Collective::kAllToAll, {2, 2, chunks, 0},
                       [chunks](Builder& b, const Params& p) {
                         const auto own = static_cast<uint32_t>(p.rank) * chunks;
                         const uint32_t peer = chunks - own;
                         b.copy(out(own, chunks), in(own, chunks));
                         for (uint32_t c = 0; c < chunks; ++c) b.send(1 - p.rank, in(peer + c));
                         for (uint32_t c = 0; c < chunks; ++c) b.recv(1 - p.rank, out(peer + c));
                       });
  };
  for (uint32_t chunks = 1; chunks <= 9; ++chunks) {
    const Group group = all_first(chunks);
    const MinimumSlots found = minimum_slots(2, schedules_of(group), 100);
    EXPECT_FALSE(found.defect.has_value());
    EXPECT_EQ(found.slots, chunks);
    if (chunks > 1) {
      EXPECT_TRUE(fails(group, Kind::kDeadlock, chunks - 1));
    }
    EXPECT_TRUE(passes(group, chunks));
  }
  const Group group = all_first(9);
  EXPECT_EQ(minimum_slots(2, schedules_of(group), 8).defect->kind, Kind::kDeadlock);
}

TEST(Verify, NobodyLeavesABarrierEarly) {
  const auto rounds = [](std::initializer_list<int> distances) {
    return write_group(ranks(5), Collective::kBarrier, {1, 1, 1, 0},
                       [&](Builder& b, const Params& p) {
                         for (const int d : distances) {
                           b.send((p.rank + d) % 5, Builder::nothing());
                           b.recv((p.rank + 5 - d) % 5, Builder::nothing());
                         }
                       });
  };
  EXPECT_TRUE(passes(rounds({1, 2, 4}), 1));
  EXPECT_TRUE(passes(rounds({1, 1, 1, 1}), 1));
  const auto found = check(rounds({1, 2}));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->kind, Kind::kBarrierLeak);
  EXPECT_EQ(found->rank, 0);
  EXPECT_EQ(found->got, "it can leave before rank 1 enters");
}

}  // namespace
}  // namespace tutti
