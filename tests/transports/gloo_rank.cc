// One rank of a job over the gloo transport, for gloo_processes_test.cc:
//   gloo_rank DIR RANK NRANKS traffic   messages of many sizes with both neighbours, checked
//   gloo_rank DIR RANK NRANKS lose P    waits until peer P is gone, and says so
// Addresses and progress are files in DIR. Exits with 0 when all went as it should; every wait
// ends.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <unistd.h>
#include <vector>

#include "comm/base/clock.h"
#include "transports/builtin.h"
#include "transports/waiter.h"

namespace tutti {
namespace {

constexpr int64_t kLimitNs = 60'000'000'000;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "gloo_rank: %s\n", why.c_str());
  std::_Exit(1);
}

template <typename Condition>
void wait_for(Transport& transport, const char* what, Condition done) {
  const Deadline deadline = Deadline::after_ns(kLimitNs);
  Waiter waiter(transport, transport.capabilities().rungs);
  while (!done()) {
    if (waiter.tick() && deadline.expired(now_ns())) give_up(std::string("waited for ") + what);
    transport.progress();
  }
}

void write_file(const std::string& path, const std::string& bytes) {
  const std::string draft = path + ".draft";
  std::ofstream(draft, std::ios::binary) << bytes;
  if (std::rename(draft.c_str(), path.c_str()) != 0) give_up("cannot write " + path);
}

bool read_file(const std::string& path, std::string* bytes) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return false;
  bytes->assign(std::istreambuf_iterator<char>(in), {});
  return true;
}

class Rank {
 public:
  Rank(const std::string& dir, int rank, int nranks) : dir_(dir), rank_(rank), nranks_(nranks) {
    TransportContext context;
    context.number = rank;
    context.nranks = nranks;
    auto made = make_transport("gloo", context);
    if (!made.ok()) give_up(made.status().text());
    transport_ = std::move(made.value());
    write_file(dir + "/address." + std::to_string(rank), transport_->address());
    for (int peer = 0; peer < nranks; ++peer) {
      if (peer == rank) continue;
      std::string address;
      wait_for(*transport_, "an address",
               [&] { return read_file(dir + "/address." + std::to_string(peer), &address); });
      const Status status = transport_->connect(peer, address);
      if (!status.ok()) give_up(status.text());
    }
  }

  int traffic();
  int lose(int peer);

 private:
  static char byte_of(int from, size_t message, size_t i) {
    return static_cast<char>(static_cast<size_t>(from) * 31 + message * 7 + i + (i >> 9));
  }
  std::unique_ptr<SendChannel> sender(int peer) {
    auto channel = transport_->open_send({1, 0, Plane::kCollective, peer, 0});
    if (!channel.ok()) give_up(channel.status().text());
    return std::move(channel.value());
  }
  std::unique_ptr<RecvChannel> receiver(int peer) {
    auto channel = transport_->open_recv({1, 0, Plane::kCollective, peer, 0});
    if (!channel.ok()) give_up(channel.status().text());
    return std::move(channel.value());
  }

  const std::string dir_;
  const int rank_;
  const int nranks_;
  std::unique_ptr<Transport> transport_;
};

int Rank::traffic() {
  const int next = (rank_ + 1) % nranks_;
  const int previous = (rank_ + nranks_ - 1) % nranks_;
  const auto send = sender(next);
  const auto recv = receiver(previous);
  constexpr size_t kSizes[] = {8,       0,       4096, 4097,      70'000,  131'072,
                               131'073, 500'001, 8,    3'000'000, 262'144, 1};
  for (size_t message = 0; message < 120; ++message) {
    const size_t bytes = kSizes[message % std::size(kSizes)];
    std::vector<char> out(bytes);
    std::vector<char> in(bytes);
    for (size_t i = 0; i < bytes; ++i) out[i] = byte_of(rank_, message, i);
    const iovec from{out.data(), bytes};
    const iovec to{in.data(), bytes};
    recv->post_recv(&to, 1);
    wait_for(*transport_, "room", [&] { return send->post_send(nullptr, &from, 1); });
    wait_for(*transport_, "a message", [&] { return recv->received() == message + 1; });
    wait_for(*transport_, "a message to leave", [&] { return send->sent() == message + 1; });
    for (size_t i = 0; i < bytes; ++i) {
      if (in[i] != byte_of(previous, message, i)) give_up("a wrong byte");
    }
  }
  return 0;
}

// The peer is killed when both files are there. Messages are posted all the while: what Gloo writes
// to a socket that is gone must not end this process.
int Rank::lose(int peer) {
  const auto send = sender(peer);
  const auto recv = receiver(peer);
  char word[8] = {};
  const iovec part{word, sizeof(word)};
  recv->post_recv(&part, 1);
  wait_for(*transport_, "room", [&] { return send->post_send(nullptr, &part, 1); });
  wait_for(*transport_, "the peer", [&] { return recv->received() == 1; });
  write_file(dir_ + "/up." + std::to_string(rank_), "");
  Status status;
  wait_for(*transport_, "the end of the peer", [&] {
    send->post_send(nullptr, &part, 1);
    status = recv->health();
    return !status.ok();
  });
  for (int i = 0; i < 100; ++i) {
    send->post_send(nullptr, &part, 1);
    transport_->progress();
  }
  const bool named =
      status.text().find("peer " + std::to_string(peer) + " is gone") != std::string::npos;
  if (status.code() != Code::kRemoteError || !named) give_up("told: " + status.text());
  return 0;
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  alarm(100);
  tutti::Rank rank(argv[1], std::atoi(argv[2]), std::atoi(argv[3]));
  if (std::strcmp(argv[4], "traffic") == 0) return rank.traffic();
  return argc > 5 ? rank.lose(std::atoi(argv[5])) : 2;
}
