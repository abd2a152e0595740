// The verifier on messages that do not match and on steps that are out of range.
#include "tests/verify/group.h"

namespace tutti {
namespace {

using Kind = Defect::Kind;

TEST(Messages, MessagesMatch) {
  const auto broadcast = [](const std::function<void(Builder&, const Params&)>& receive) {
    return write_group(ranks(2), Collective::kBroadcast, {1, 1, 2, 0},
                       [&](Builder& b, const Params& p) {
                         if (p.rank == 1) return receive(b, p);
                         b.send(1, in(0, 2));
                         b.copy(out(0, 2), in(0, 2));
                       });
  };
  EXPECT_TRUE(passes(broadcast([](Builder& b, const Params&) { b.recv(0, out(0, 2)); })));
  EXPECT_TRUE(fails(broadcast([](Builder&, const Params&) {}), Kind::kUnmatched));
  EXPECT_TRUE(fails(broadcast([](Builder& b, const Params&) {
                      b.recv(0, out(0));
                      b.recv(0, out(1));
                    }),
                    Kind::kUnmatched));
  EXPECT_TRUE(
      fails(broadcast([](Builder& b, const Params&) { b.recv(0, out(0)); }), Kind::kUnmatched));
  // Another lane is another channel.
  EXPECT_TRUE(fails(broadcast([](Builder& b, const Params&) {
                      b.lane(1);
                      b.recv(0, out(0, 2));
                    }),
                    Kind::kUnmatched));
}

TEST(Messages, ChunksOfDifferentSizesDoNotMatch) {
  // Right but for sizes: chunk 1 of the output may be shorter than chunk 0.
  const Group group =
      write_group(ranks(2), Collective::kBroadcast, {1, 1, 2, 2}, [](Builder& b, const Params& p) {
        if (p.rank == 0) {
          b.send(1, in(1));
          b.send(1, in(0));
          b.copy(out(0, 2), in(0, 2));
          return;
        }
        b.recv(0, scratch(1, out(0)));
        b.recv(0, scratch(0, out(1)));
        b.copy(out(0, 2), scratch(0, out(0, 2)));
      });
  EXPECT_TRUE(fails(group, Kind::kUnmatched));
}

TEST(Messages, RefusesWhatIsOutOfRange) {
  const auto spoiled = [](const std::function<void(Schedule&)>& spoil) {
    Group group = exchange([](Builder& b, const Params&) {
      b.reduce(out(0), {in(0), scratch(0, in(0))}, kFinal);
    });
    spoil(group[1]);
    return group;
  };
  const std::vector<std::function<void(Schedule&)>> spoils = {
      [](Schedule& s) { s.inputs(s.lanes[0].steps[2])[1].chunk = 2; },
      [](Schedule& s) { s.inputs(s.lanes[0].steps[2])[1].chunk = 0xffffffff; },
      [](Schedule& s) { s.inputs(s.lanes[0].steps[2])[0].buffer = static_cast<Buffer>(9); },
      [](Schedule& s) { s.inputs(s.lanes[0].steps[1])[0].peer = 1; },
      [](Schedule& s) { s.inputs(s.lanes[0].steps[1])[0].peer = 2; },
      [](Schedule& s) { s.inputs(s.lanes[0].steps[1])[0].peer = -2; },
      [](Schedule& s) { s.inputs(s.lanes[0].steps[1])[0].peer = kLocal; },
      [](Schedule& s) { s.lanes[0].steps[1].op = static_cast<Op>(17); },
      [](Schedule& s) { s.lanes[0].steps[1].flags = kFinal; },
      [](Schedule& s) { s.lanes[0].steps[1].n_out = 2; },
      [](Schedule& s) { s.lanes[0].steps[1].first = 100; },
      [](Schedule& s) { s.lanes[0].steps[2].n_in = 0xffff; },
      [](Schedule& s) { s.lanes[0].steps[1].data_nchunks = 0xffffffff; },
      [](Schedule& s) { s.lanes[0].steps[1].data_buffer = Buffer::kScratch; },
      [](Schedule& s) { s.lanes[0].steps[1].wait_lane = 1; },
      [](Schedule& s) { s.lanes[0].steps[1].wait_lane = 0; },
      [](Schedule& s) { s.nranks = 3; },
      [](Schedule& s) { s.rank = 0; },
      [](Schedule& s) { s.root = 1; },
      [](Schedule& s) { s.collective = Collective::kReduce; },
      [](Schedule& s) { s.shape.chunks_per_block = 0; },
      [](Schedule& s) { s.shape.output_blocks = 2; },
      [](Schedule& s) { s.shape.scratch_slots = 0xffffffff; },
      [](Schedule& s) { s.lanes.resize(5000); },
  };
  for (size_t i = 0; i < spoils.size(); ++i) {
    EXPECT_TRUE(fails(spoiled(spoils[i]), Kind::kMalformed)) << "spoil " << i;
  }
  EXPECT_TRUE(verify(0, [](int, Schedule*) {}, {}).has_value());
}

TEST(Messages, OneMessageOfAPeerInOneStep) {
  Group group =
      write_group(ranks(2), Collective::kReduce, {1, 1, 1, 2}, [](Builder& b, const Params& p) {
        if (p.rank == 1) {
          b.send(0, in(0));
          b.send(0, in(0));
          return;
        }
        b.reduce(out(0), {scratch(0, in(0)), scratch(1, in(0))}, kFinal);
      });
  for (Operand& o : group[0].inputs(group[0].lanes[0].steps[0])) o.peer = 1;
  EXPECT_TRUE(fails(group, Kind::kMalformed));
}

}  // namespace
}  // namespace tutti
