// Reduce to a root.
//
// direct: everybody sends its input to the root, which folds in rank order.  alpha + (n-1) S beta
// binomial: a tree over ranks numbered from the root; inner ranks fold what their children send and
//   pass it on.                                                       log2(n) (alpha + S beta)
#include <vector>

#include "comm/schedule/algorithms/algorithms.h"
#include "comm/schedule/builder.h"
#include "comm/schedule/patterns.h"

namespace tutti {

void reduce_direct(const Params& p, Schedule* out) {
  const auto n = static_cast<uint32_t>(p.nranks);
  Builder b(p, Collective::kReduce, {1, 1, 1, n - 1}, out);
  if (p.rank != p.root) {
    b.send(p.root, Builder::input(0));
    return;
  }
  std::vector<Place> terms;
  uint32_t slot = 0;
  for (int peer = 0; peer < p.nranks; ++peer) {
    if (peer == p.rank) {
      terms.push_back(Builder::input(0));
      continue;
    }
    terms.push_back(Builder::scratch(slot++, Builder::input(0)));
    b.recv(peer, terms.back());
  }
  b.reduce(Builder::output(0), terms, kFinal);
}

void reduce_binomial(const Params& p, Schedule* out) {
  const int n = p.nranks;
  Builder b(p, Collective::kReduce, {1, 1, 1, 2}, out);
  const int v = to_virtual(p.rank, p.root, n);
  const Place own = Builder::input(0);
  const Place sum = v == 0 ? Builder::output(0) : Builder::scratch(1, own);
  Place have = own;
  for (int bit = 1; bit < lowest_bit(v, n) && v + bit < n; bit *= 2) {
    const Place incoming = Builder::scratch(0, own);
    b.recv(from_virtual(v + bit, p.root, n), incoming);
    const bool last = v == 0 && v + 2 * bit >= n;
    b.reduce(sum, {have, incoming}, last ? kFinal : uint8_t{0});
    have = sum;
  }
  if (v != 0) {
    b.send(from_virtual(binomial_parent(v), p.root, n), have);
  } else if (n == 1) {
    b.reduce(sum, {own}, kFinal);
  }
}

}  // namespace tutti
