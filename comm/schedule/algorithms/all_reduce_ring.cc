// All-reduce on a ring: n chunks travel round it, gathering one contribution a hop; then the
// finished chunks travel round once more (Patarasuk and Yuan 2009).
//                                                      2 (n-1) alpha + 2 (n-1)/n S beta
// Chunk c starts at rank c and is finished at rank c-1, after n-1 hops. Step t handles chunk
// rank-t-1. Sums are rounded at every hop.
#include "comm/schedule/algorithms/algorithms.h"
#include "comm/schedule/builder.h"
#include "comm/schedule/patterns.h"

namespace tutti {

void all_reduce_ring(const Params& p, Schedule* out) {
  const int n = p.nranks;
  Builder b(p, Collective::kAllReduce, {1, 1, static_cast<uint32_t>(n), n > 1 ? 1u : 0u}, out);
  if (n == 1) {
    b.reduce(Builder::output(0), {Builder::input(0)}, kFinal);
    return;
  }
  const int next = ring_add(p.rank, 1, n);
  const int prev = ring_add(p.rank, -1, n);
  b.send(next, Builder::input(static_cast<uint32_t>(p.rank)));
  for (int t = 0; t < n - 1; ++t) {
    const auto c = static_cast<uint32_t>(ring_add(p.rank, -t - 1, n));
    const Place incoming = Builder::scratch(0, Builder::input(c));
    b.recv(prev, incoming);
    b.reduce(Builder::output(c), {incoming, Builder::input(c)}, t == n - 2 ? kFinal : uint8_t{0});
    b.send(next, Builder::output(c));
  }
  for (int t = 0; t < n - 1; ++t) {
    const auto c = static_cast<uint32_t>(ring_add(p.rank, -t, n));
    b.recv(prev, Builder::output(c));
    if (t < n - 2) b.send(next, Builder::output(c));
  }
}

}  // namespace tutti
