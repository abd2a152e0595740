// Ranks that call different things: every rank fails, none succeeds with wrong data, and the texts
// name both calls.
//
// A rank that only sends small messages may be done before anybody has seen its mistake, and so may
// those that hear nothing of the odd one. So each rank calls once and then enters a barrier.
#include <atomic>
#include <functional>
#include <string>
#include <tuple>

#include "tests/api/team.h"

namespace tutti {
namespace {

constexpr size_t kMost = 8 * 6000;  // elements of the largest buffer

struct Buffers {
  explicit Buffers(int r) : rank(r), in(kMost), out(kMost, -1) {
    for (size_t i = 0; i < kMost; ++i) in[i] = r + 1;
  }
  int rank;
  std::vector<int32_t> in;
  std::vector<int32_t> out;
};

using Caller = std::function<tuttiResult_t(Buffers& b, size_t count, tuttiComm_t comm)>;

struct Pair {
  const char* name;
  Caller usual;
  Caller odd;
  const char* usual_word;  // of the text
  const char* odd_word;
};

tuttiResult_t sum(Buffers& b, size_t count, tuttiComm_t comm) {
  return tuttiAllReduce(b.in.data(), b.out.data(), count, tuttiInt32, tuttiSum, comm, nullptr);
}

tuttiResult_t broadcast(Buffers& b, size_t count, int root, tuttiComm_t comm) {
  return tuttiBroadcast(b.in.data(), b.out.data(), count, tuttiInt32, root, comm, nullptr);
}

std::vector<Pair> pairs() {
  const auto reduce_to = [](int root) {
    return [root](Buffers& b, size_t count, tuttiComm_t comm) {
      return tuttiReduce(b.in.data(), b.out.data(), count, tuttiInt32, tuttiSum, root, comm,
                         nullptr);
    };
  };
  const auto from_root = [](int root) {
    return [root](Buffers& b, size_t count, tuttiComm_t comm) {
      return broadcast(b, count, root, comm);
    };
  };
  const auto all_gather = [](Buffers& b, size_t count, tuttiComm_t comm) {
    return tuttiAllGather(b.in.data(), b.out.data(), count, tuttiInt32, comm, nullptr);
  };
  const auto all_to_all = [](Buffers& b, size_t count, tuttiComm_t comm) {
    return tuttiAlltoAll(b.in.data(), b.out.data(), count, tuttiInt32, comm, nullptr);
  };
  return {
      {"operator", sum,
       [](Buffers& b, size_t count, tuttiComm_t comm) {
         return tuttiAllReduce(b.in.data(), b.out.data(), count, tuttiInt32, tuttiMax, comm,
                               nullptr);
       },
       "(sum", "(max"},
      {"type", sum,
       [](Buffers& b, size_t count, tuttiComm_t comm) {
         return tuttiAllReduce(b.in.data(), b.out.data(), count, tuttiUint32, tuttiSum, comm,
                               nullptr);
       },
       " i32", " u32"},
      {"count", sum,
       [](Buffers& b, size_t count, tuttiComm_t comm) { return sum(b, count + 1, comm); },
       "all_reduce of ", "all_reduce of "},
      {"none", sum, [](Buffers& b, size_t, tuttiComm_t comm) { return sum(b, 0, comm); },
       "all_reduce of ", "all_reduce of 0 i32"},
      {"operation", sum,
       [](Buffers& b, size_t count, tuttiComm_t comm) {
         return tuttiReduceScatter(b.in.data(), b.out.data(), count, tuttiInt32, tuttiSum, comm,
                                   nullptr);
       },
       "all_reduce of", "reduce_scatter of"},
      {"gather or exchange", all_gather, all_to_all, "all_gather of", "all_to_all of"},
      {"broadcast root", from_root(0), from_root(1), "root 0", "root 1"},
      {"reduce root", reduce_to(0), reduce_to(1), "root 0", "root 1"},
      {"barrier", sum,
       [](Buffers&, size_t, tuttiComm_t comm) { return tuttiBarrier(comm, nullptr); },
       "all_reduce of", "barrier"},
      {"split", all_gather,
       [](Buffers&, size_t, tuttiComm_t comm) {
         tuttiComm_t made = nullptr;
         const tuttiResult_t result = tuttiCommSplit(comm, 3, 5, &made, nullptr);
         if (made != nullptr) (void)tuttiCommDestroy(made);
         return result;
       },
       "all_gather", "call 0"},
  };
}

// What a rank learnt.
struct Seen {
  tuttiResult_t first = tuttiSuccess;
  tuttiResult_t second = tuttiSuccess;
  std::string text;
};

using Case = std::tuple<int, size_t, int>;  // ranks, count, which rank is the odd one (-1: last)
class MismatchTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { alarm(200); }
  void TearDown() override { alarm(0); }
};

void expect_all_failed(const std::vector<Seen>& seen, const std::vector<std::string>& words) {
  for (size_t r = 0; r < seen.size(); ++r) {
    SCOPED_TRACE(testing::Message() << "rank " << r << ": " << seen[r].first << ", then "
                                    << seen[r].second << ": " << seen[r].text);
    if (seen[r].first != tuttiSuccess) {
      EXPECT_EQ(seen[r].first, tuttiMismatch);
      EXPECT_EQ(seen[r].second, seen[r].first) << "a communicator ends once";
    }
    EXPECT_EQ(seen[r].second, tuttiMismatch);
    EXPECT_TRUE(names(seen[r].text, words));
  }
}

TEST_P(MismatchTest, NobodySucceedsWithWrongData) {
  const auto [n, count, odd_rank] = GetParam();
  const int odd = odd_rank < 0 ? n - 1 : odd_rank;
  const size_t elements = count;
  for (const Pair& pair : pairs()) {
    SCOPED_TRACE(pair.name);
    Team team(n, 1.0);
    std::vector<Seen> seen(static_cast<size_t>(n));
    team.run([&, ranks = n](int rank, tuttiComm_t comm) {
      Buffers b(rank);
      Seen& s = seen[static_cast<size_t>(rank)];
      s.first = (rank == odd ? pair.odd : pair.usual)(b, elements, comm);
      // A reduction needs everybody, so it cannot have been right.
      if (&pair.usual_word[0] == std::string("(sum") || ranks == 0) {
        EXPECT_NE(s.first, tuttiSuccess);
      }
      s.second = tuttiBarrier(comm, nullptr);
      s.text = last_error(comm);
    });
    expect_all_failed(seen, {"rank " + std::to_string(odd), pair.usual_word, pair.odd_word});
  }
}

// Rank `odd` makes the two calls the other way round, or leaves one out.
TEST_P(MismatchTest, OtherOrderAndMissingCall) {
  const auto [n, count, odd_rank] = GetParam();
  const int odd = odd_rank < 0 ? n - 1 : odd_rank;
  const size_t elements = count;
  for (bool missing : {false, true}) {
    SCOPED_TRACE(missing ? "missing" : "order");
    Team team(n, 1.0);
    std::vector<Seen> seen(static_cast<size_t>(n));
    team.run([&](int rank, tuttiComm_t comm) {
      Buffers b(rank);
      Seen& s = seen[static_cast<size_t>(rank)];
      if (rank != odd) {
        (void)broadcast(b, elements, 0, comm);
        (void)sum(b, elements, comm);
      } else {
        (void)sum(b, elements, comm);
        if (!missing) (void)broadcast(b, elements, 0, comm);
      }
      s.second = tuttiBarrier(comm, nullptr);
      s.text = last_error(comm);
    });
    expect_all_failed(seen, {"broadcast of", "all_reduce of", "root 0"});
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, MismatchTest,
                         testing::Combine(testing::Values(2, 3, 4, 8),
                                          testing::Values<size_t>(1, 5000),
                                          testing::Values(0, -1)));

// Counts that only two ranks know.
TEST(MismatchV, CountsOfOnePair) {
  alarm(100);
  for (size_t count : {size_t{3}, size_t{3000}}) {
    for (int which = 0; which < 3; ++which) {
      SCOPED_TRACE(testing::Message() << "count " << count << " call " << which);
      Team team(3, 1.0);
      std::vector<Seen> seen(3);
      team.run([&](int rank, tuttiComm_t comm) {
        Buffers b(rank);
        Seen& s = seen[static_cast<size_t>(rank)];
        // Rank 1 means one element more than rank 0 knows of.
        std::vector<size_t> counts(3, count);
        const std::vector<size_t> at = {0, count + 8, 2 * count + 16};
        const size_t mine = rank == 1 ? count + 1 : count;
        if (which == 0) {
          s.first = tuttiGatherV(b.in.data(), mine, b.out.data(), counts.data(), at.data(),
                                 tuttiInt32, 0, comm, nullptr);
        } else if (which == 1) {
          s.first = tuttiScatterV(b.in.data(), counts.data(), at.data(), b.out.data(), mine,
                                  tuttiInt32, 0, comm, nullptr);
        } else {
          std::vector<size_t> receives = counts;
          if (rank == 1) receives[0] = count + 1;
          s.first = tuttiAlltoAllV(b.in.data(), counts.data(), at.data(), b.out.data(),
                                   receives.data(), at.data(), tuttiInt32, comm, nullptr);
        }
        s.second = tuttiBarrier(comm, nullptr);
        s.text = last_error(comm);
      });
      expect_all_failed(
          seen, {"expected", "bytes", std::to_string(4 * count), std::to_string(4 * count + 4)});
    }
  }
  alarm(0);
}

// Counts that all ranks must know: the texts show where they differ.
TEST(MismatchV, CountsThatAllKnow) {
  alarm(100);
  for (int which = 0; which < 3; ++which) {
    SCOPED_TRACE(which);
    Team team(2, 1.0);
    std::vector<Seen> seen(2);
    team.run([&](int rank, tuttiComm_t comm) {
      Buffers b(rank);
      Seen& s = seen[static_cast<size_t>(rank)];
      const size_t counts[] = {rank == 0 ? 4u : 6u, rank == 0 ? 6u : 4u};
      const size_t at[] = {0, 16};
      const size_t mine = counts[rank];
      if (which == 0) {
        s.first =
            tuttiAllGatherV(b.in.data(), mine, b.out.data(), counts, at, tuttiInt32, comm, nullptr);
      } else if (which == 1) {
        s.first = tuttiReduceScatterV(b.in.data(), counts, at, b.out.data(), mine, tuttiInt32,
                                      tuttiSum, comm, nullptr);
      } else {
        const size_t matrix[] = {1, 2, 3, rank == 0 ? 4u : 5u};
        s.first = tuttiAlltoAllVC(b.in.data(), b.out.data(), matrix, tuttiInt32, comm, nullptr);
      }
      s.second = tuttiBarrier(comm, nullptr);
      s.text = last_error(comm);
    });
    expect_all_failed(seen, {"rank 0", "rank 1", "_v of"});
  }
  alarm(0);
}

// Ranks that exchange nothing with the odd one see no difference, and go on with right data until
// somebody has seen it; what needs every rank fails on all.
TEST(MismatchLater, RanksThatAgreeGoOnUntilItIsSeen) {
  alarm(100);
  Team team(3, 5.0);
  std::vector<Seen> seen(3);
  std::atomic<int> through{0};
  team.run([&](int rank, tuttiComm_t comm) {
    Buffers b(rank);
    Seen& s = seen[static_cast<size_t>(rank)];
    if (rank == 1) {
      EXPECT_TRUE(wait_until([&] { return through.load() == 2; }));
      s.first = sum(b, 1, comm);
      EXPECT_EQ(s.first, tuttiMismatch);
    }
    for (int call = 0; call < 5 && rank != 1; ++call) {
      int32_t value = rank == 0 ? call + 1 : -1;
      EXPECT_TRUE(
          returns(tuttiSuccess, tuttiBroadcast(&value, &value, 1, tuttiInt32, 0, comm, nullptr)));
      EXPECT_EQ(value, call + 1);
    }
    ++through;
    s.second = tuttiBarrier(comm, nullptr);
    s.text = last_error(comm);
  });
  expect_all_failed(seen, {"broadcast of", "all_reduce of"});
  alarm(0);
}

}  // namespace
}  // namespace tutti
