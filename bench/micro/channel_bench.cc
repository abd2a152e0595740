// Round trips over one inproc channel pair between two threads on two cores, beside the floor: the
// same exchange with two bare flags. Batches of all rows are interleaved, because only ratios
// within one run mean anything on a shared machine; medians over batches are printed, with the best
// batch.
//
// Rows: flags (floor), send/view of several sizes (the reader copies the payload out), send/landed
// (post_recv), and offer/place. The sender writes every line of the payload before it posts.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <pthread.h>
#include <sched.h>
#include <string>
#include <thread>
#include <vector>

#include "comm/base/check.h"
#include "comm/base/clock.h"
#include "transports/inproc/inproc.h"

namespace tutti {
namespace {

constexpr int kTrips = 1000;

enum class Way { kFlags, kView, kLanded, kPlaced };

struct Row {
  Way way;
  size_t bytes;
  std::vector<double> ns = {};  // per round trip, one entry per batch
};

// Spins; yields after a while so that a preempted partner on the same core gets to run.
template <typename Condition>
void spin_until(Condition done) {
  for (uint32_t polls = 1; !done(); ++polls) {
    if (polls % 4096 == 0) {
      sched_yield();
    } else {
      __builtin_ia32_pause();
    }
  }
}

struct alignas(64) Flag {
  std::atomic<uint64_t> value{0};
};

struct Side {
  OpHeader header{1, 2, 3};  // of the operation, built before its first message is posted
  std::unique_ptr<Transport> transport;
  std::unique_ptr<SendChannel> send;
  std::unique_ptr<RecvChannel> recv;
  std::vector<std::byte> out = std::vector<std::byte>(1 << 16);
  std::vector<std::byte> in = std::vector<std::byte>(1 << 16);
};

class PingPong {
 public:
  PingPong() {
    auto domain = InprocDomain::create();
    for (int i = 0; i < 2; ++i) side_[i].transport = std::make_unique<InprocTransport>(domain, i);
    for (int i = 0; i < 2; ++i) {
      Side& s = side_[i];
      TUTTI_CHECK(s.transport->connect(1 - i, side_[1 - i].transport->address()).ok(), "connect");
      const ChannelKey key{1, 0, Plane::kCollective, 1 - i, 0};
      s.send = std::move(s.transport->open_send(key).value());
      s.recv = std::move(s.transport->open_recv(key).value());
    }
  }

  // One batch of `row`, called by both threads; returns ns per round trip.
  double batch(int me, const Row& row) {
    barrier(me);
    const int64_t start = now_ns();
    for (int i = 0; i < kTrips; ++i) {
      if (row.way == Way::kPlaced) offer(me, row.bytes);
      if (me == 0) put(me, row);
      take(me, row);
      if (me == 1) put(me, row);
    }
    return static_cast<double>(now_ns() - start) / kTrips;
  }

 private:
  void barrier(int me) {
    const uint64_t turn = ++turn_[me].value;
    at_[me].value.store(turn, std::memory_order_release);
    spin_until([&] { return at_[1 - me].value.load(std::memory_order_acquire) >= turn; });
  }

  void offer(int me, size_t bytes) {
    Side& s = side_[me];
    s.recv->offer(s.recv->received(), s.in.data(), bytes, 7);
  }

  void put(int me, const Row& row) {
    if (row.way == Way::kFlags) {
      flag_[me].value.store(++flags_[me].value, std::memory_order_release);
      return;
    }
    Side& s = side_[me];
    // A payload is always freshly computed: its lines are the sender's.
    for (size_t i = 0; i < row.bytes; i += 64) std::memcpy(&s.out[i], &i, sizeof(i));
    if (row.way == Way::kPlaced) {
      void* at = s.send->place(row.bytes, 7);
      if (at != nullptr) {
        std::memcpy(at, s.out.data(), row.bytes);
        spin_until([&] { return s.send->post_placed(&s.header, row.bytes); });
        return;
      }
    }
    const iovec part{s.out.data(), row.bytes};
    spin_until([&] { return s.send->post_send(&s.header, &part, 1); });
  }

  void take(int me, const Row& row) {
    if (row.way == Way::kFlags) {
      const uint64_t turn = ++taken_[me].value;
      spin_until([&] { return flag_[1 - me].value.load(std::memory_order_acquire) == turn; });
      return;
    }
    Side& s = side_[me];
    if (row.way == Way::kLanded) {
      const iovec part{s.in.data(), row.bytes};
      const uint64_t before = s.recv->received();
      s.recv->post_recv(&part, 1);
      spin_until([&] { return s.recv->received() > before; });
      return;
    }
    const Message* message;
    spin_until([&] { return (message = s.recv->view()) != nullptr; });
    if (!message->placed) std::memcpy(s.in.data(), message->parts[0].iov_base, message->bytes);
    s.recv->release();
  }

  Side side_[2];
  Flag at_[2];
  Flag flag_[2];
  Flag turn_[2];  // private counters, one line each
  Flag flags_[2];
  Flag taken_[2];
};

void pin(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) != 0) {
    std::fprintf(stderr, "cannot pin to core %d\n", core);
  }
}

void print(const std::vector<Row>& rows) {
  static const char* const kWays[] = {"flags", "view", "landed", "placed"};
  std::printf("%-8s %8s %14s %14s %10s\n", "way", "bytes", "median ns", "best ns", "x flags");
  double floor = 0;
  for (const Row& row : rows) {
    std::vector<double> sorted = row.ns;
    std::sort(sorted.begin(), sorted.end());
    const double median = sorted[sorted.size() / 2];
    if (row.way == Way::kFlags) floor = median;
    std::printf("%-8s %8zu %14.1f %14.1f %10.2f\n", kWays[static_cast<int>(row.way)], row.bytes,
                median, sorted.front(), median / floor);
  }
}

int run(int batches) {
  std::vector<Row> rows = {{Way::kFlags, 0}};
  for (size_t bytes : {8, 32, 64, 128, 256, 512, 1024, 4096}) rows.push_back({Way::kView, bytes});
  for (size_t bytes : {8, 256, 4096}) rows.push_back({Way::kLanded, bytes});
  for (size_t bytes : {8, 32, 64, 256, 1024, 4096}) rows.push_back({Way::kPlaced, bytes});
  PingPong game;
  std::thread other([&] {
    pin(1);
    for (int b = 0; b < batches; ++b) {
      for (const Row& row : rows) game.batch(1, row);
    }
  });
  pin(0);
  for (int b = 0; b < batches; ++b) {
    for (Row& row : rows) row.ns.push_back(game.batch(0, row));
  }
  other.join();
  print(rows);
  return 0;
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) {
  const int batches = argc > 1 ? std::atoi(argv[1]) : 100;
  if (batches < 1) {
    std::fprintf(stderr, "usage: channel_bench [BATCHES]\n");
    return 2;
  }
  return tutti::run(batches);
}
