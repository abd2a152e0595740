// hostile_rank SCENARIO [ARGUMENT]: one rank of a job, as TUTTI_RANK says. With HOSTILE_ROOM_KIB or
// HOSTILE_ROOM_FILES it leaves itself only so much more address space, or so many descriptors,
// before it joins.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/hostile/rank.h"

namespace tutti {
namespace {

bool broadcast_is_right(const Rank& r, size_t count, int turn, const Memory& data) {
  const int root = turn % r.nranks;
  for (size_t i = 0; i < count; ++i) data.data()[i] = r.rank == root ? value(root, turn, i) : -1;
  if (!went_well("broadcast", tuttiBroadcast(data.data(), data.data(), count, tuttiInt32, root,
                                             r.comm, nullptr))) {
    return false;
  }
  for (size_t i = 0; i < count; ++i) {
    if (!check("broadcast", i, data.data()[i], value(root, turn, i))) return false;
  }
  return true;
}

// To the next rank, from the one before.
bool message_is_right(const Rank& r, size_t count, int turn, const Memory& in, const Memory& out) {
  const int next = (r.rank + 1) % r.nranks;
  const int previous = (r.rank + r.nranks - 1) % r.nranks;
  for (size_t i = 0; i < count; ++i) in.data()[i] = value(r.rank, turn, i);
  std::fill_n(out.data(), count, -1);
  tuttiGroupStart();
  tuttiSend(in.data(), count, tuttiInt32, next, r.comm, nullptr);
  tuttiRecv(out.data(), count, tuttiInt32, previous, r.comm, nullptr);
  if (!went_well("send_recv", tuttiGroupEnd())) return false;
  for (size_t i = 0; i < count; ++i) {
    if (!check("send_recv", i, out.data()[i], value(previous, turn, i))) return false;
  }
  return true;
}

// Messages of all kinds of transport: in the line, in the spill, staged, in a block, by the kernel.
int run_traffic(const Rank& rank, bool mapped, size_t most_bytes) {
  const Memory in(most_bytes, mapped);
  const Memory out(most_bytes, mapped);
  int turn = 0;
  for (size_t bytes :
       {size_t{8}, size_t{32}, size_t{200}, size_t{4} << 10, size_t{16} << 10, size_t{20} << 10,
        size_t{256} << 10, size_t{4} << 20, size_t{5} << 20, size_t{16} << 20, size_t{256} << 20}) {
    if (bytes > most_bytes) break;
    const size_t count = bytes / sizeof(int32_t);
    ++turn;
    if (!all_reduce_is_right(rank, count, turn, in, out)) return 1;
    if (bytes > size_t{16} << 20) continue;  // filling and checking takes longest
    const bool right =
        broadcast_is_right(rank, count, turn, in) && message_is_right(rank, count, turn, in, out);
    if (!right) return 1;
  }
  return 0;
}

int run(const std::string& scenario, const Rank& rank, const char* self, int before) {
  constexpr size_t kMiB = size_t{1} << 20;
  if (scenario == "small") return run_traffic(rank, false, kMiB / 4);
  if (scenario == "plain") return run_traffic(rank, false, 16 * kMiB);
  if (scenario == "mapped") return run_traffic(rank, true, 256 * kMiB);
  if (scenario == "forks") return run_forks(rank, self, before);
  if (scenario == "communicators") return run_communicators(rank);
  if (scenario == "retries") return run_retries(rank);
  if (scenario == "few_threads") return run_few_threads(rank);
  std::printf("no such scenario: %s\n", scenario.c_str());
  return 2;
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) {
  const std::string scenario = argc > 1 ? argv[1] : "";
  const int before = tutti::num_descriptors();
  // What a child of a rank becomes: nothing of Tutti may have come with it.
  if (scenario == "inherited") return argc > 2 && before == std::atoi(argv[2]) ? 0 : 1;
  const char* kib = std::getenv("HOSTILE_ROOM_KIB");
  if (kib != nullptr) tutti::leave_address_space(std::strtoull(kib, nullptr, 10) << 10);
  const char* files = std::getenv("HOSTILE_ROOM_FILES");
  if (files != nullptr) tutti::leave_descriptors(std::atoi(files));
  return tutti::join_and_run(
      [&](const tutti::Rank& rank) { return tutti::run(scenario, rank, argv[0], before); });
}
