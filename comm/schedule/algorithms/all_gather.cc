// All-gather: block r of every output is rank r's input.
//
// direct: everybody lends its block to everybody.            alpha + (n-1) S beta, S bytes a block
// ring: blocks travel round a ring.                          (n-1) (alpha + S beta)
#include "comm/schedule/algorithms/algorithms.h"
#include "comm/schedule/builder.h"
#include "comm/schedule/patterns.h"

namespace tutti {

namespace {
void copy_own(Builder& b, const Params& p) {
  if (!p.in_place) b.copy(Builder::output(static_cast<uint32_t>(p.rank)), Builder::input(0));
}
}  // namespace

void all_gather_direct(const Params& p, Schedule* out) {
  const auto n = static_cast<uint32_t>(p.nranks);
  Builder b(p, Collective::kAllGather, {1, n, 1, 0}, out);
  for (int i = 1; i < p.nranks; ++i) b.send(ring_add(p.rank, i, p.nranks), Builder::input(0));
  copy_own(b, p);
  for (int i = 1; i < p.nranks; ++i) {
    const int peer = ring_add(p.rank, -i, p.nranks);
    b.recv(peer, Builder::output(static_cast<uint32_t>(peer)));
  }
}

void all_gather_ring(const Params& p, Schedule* out) {
  const int n = p.nranks;
  Builder b(p, Collective::kAllGather, {1, static_cast<uint32_t>(n), 1, 0}, out);
  const int next = ring_add(p.rank, 1, n);
  const int prev = ring_add(p.rank, -1, n);
  if (n > 1) b.send(next, Builder::input(0));
  copy_own(b, p);
  for (int t = 0; t < n - 1; ++t) {
    const auto block = static_cast<uint32_t>(ring_add(p.rank, -t - 1, n));
    b.recv(prev, Builder::output(block));
    if (t < n - 2) b.send(next, Builder::output(block));
  }
}

}  // namespace tutti
