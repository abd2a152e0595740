// Reduce-scatter: rank r gets the fold of block r of all inputs.
//
// direct: block p goes straight to rank p, which folds in rank order.    alpha + (n-1) S beta
// ring: block c starts at rank c+1 and is finished at rank c.            (n-1) (alpha + S beta)
// halving: partners at distance p/2, ..., 1 exchange halves of the blocks that are left (any n: see
//   Fold in patterns.h; a folded pair owns two blocks).    log2(p) alpha + (p-1)/p n S beta (+
//   fold)
#include <vector>

#include "comm/schedule/algorithms/algorithms.h"
#include "comm/schedule/builder.h"
#include "comm/schedule/patterns.h"

namespace tutti {

void reduce_scatter_direct(const Params& p, Schedule* out) {
  const auto n = static_cast<uint32_t>(p.nranks);
  Builder b(p, Collective::kReduceScatter, {n, 1, 1, n - 1}, out);
  for (int i = 1; i < p.nranks; ++i) {
    const int peer = ring_add(p.rank, i, p.nranks);
    b.send(peer, Builder::input(static_cast<uint32_t>(peer)));
  }
  const Place own = Builder::input(static_cast<uint32_t>(p.rank));
  std::vector<Place> terms(n);
  for (int i = 1; i < p.nranks; ++i) {
    const int peer = ring_add(p.rank, i, p.nranks);
    terms[static_cast<size_t>(peer)] = Builder::scratch(static_cast<uint32_t>(i - 1), own);
    b.recv(peer, terms[static_cast<size_t>(peer)]);
  }
  terms[static_cast<size_t>(p.rank)] = own;
  b.reduce(Builder::output(0), terms, kFinal);
}

void reduce_scatter_ring(const Params& p, Schedule* out) {
  const int n = p.nranks;
  Builder b(p, Collective::kReduceScatter, {static_cast<uint32_t>(n), 1, 1, n > 1 ? 3u : 0u}, out);
  if (n == 1) {
    b.reduce(Builder::output(0), {Builder::input(0)}, kFinal);
    return;
  }
  const int next = ring_add(p.rank, 1, n);
  const int prev = ring_add(p.rank, -1, n);
  b.send(next, Builder::input(static_cast<uint32_t>(prev)));
  for (int t = 0; t < n - 1; ++t) {
    const Place own = Builder::input(static_cast<uint32_t>(ring_add(p.rank, -t - 2 + n, n)));
    const Place incoming = Builder::scratch(0, own);
    b.recv(prev, incoming);
    if (t == n - 2) {
      b.reduce(Builder::output(0), {incoming, own}, kFinal);
      return;
    }
    // Two homes for partial sums, so that one may still be lent while the next is written.
    const Place partial = Builder::scratch(1 + static_cast<uint32_t>(t % 2), own);
    b.reduce(partial, {incoming, own});
    b.send(next, partial);
  }
}

namespace {

// Blocks of participants [a, b): a run, because folded pairs own neighbouring blocks.
struct BlockRun {
  uint32_t first, count;
};
BlockRun blocks_of(const Fold& fold, int a, int b) {
  const auto start = [&fold](int x) { return x < fold.rem ? 2 * x : x + fold.rem; };
  return {static_cast<uint32_t>(start(a)), static_cast<uint32_t>(start(b) - start(a))};
}

// Scratch of the halving: slots [0, n) keep partial sums, block i in slot i; [n, 2n) take messages.
Place partial(const BlockRun& run) {
  return Builder::scratch(run.first, Builder::input(run.first, run.count));
}

}  // namespace

void reduce_scatter_halving(const Params& p, Schedule* out) {
  const int n = p.nranks;
  const auto un = static_cast<uint32_t>(n);
  const Fold fold(n);
  Builder b(p, Collective::kReduceScatter, {un, 1, 1, n > 1 ? 2 * un : 0}, out);
  const auto own_block = static_cast<uint32_t>(p.rank);
  if (n == 1) {
    b.reduce(Builder::output(0), {Builder::input(0)}, kFinal);
    return;
  }
  if (!fold.takes_part(p.rank)) {
    b.send(p.rank - 1, Builder::input(0, un));
    b.recv(p.rank - 1, Builder::output(0));
    return;
  }
  const bool folded = fold.folded(p.rank);
  bool from_input = !folded;
  if (folded) {
    const Place all = Builder::input(0, un);
    const Place incoming = Builder::scratch(un, all);
    b.recv(p.rank + 1, incoming);
    b.reduce(Builder::scratch(0, all), {all, incoming}, fold.p == 1 ? kFinal : uint8_t{0});
  }
  const int me = fold.participant(p.rank);
  int first = 0;
  for (int half = fold.p / 2; half >= 1; half /= 2) {
    const bool upper = (me & half) != 0;
    const BlockRun low = blocks_of(fold, first, first + half);
    const BlockRun high = blocks_of(fold, first + half, first + 2 * half);
    const BlockRun keep = upper ? high : low;
    const BlockRun give = upper ? low : high;
    const int peer = fold.rank_of(me ^ half);
    b.send(peer, from_input ? Builder::input(give.first, give.count) : partial(give));
    const Place mine = from_input ? Builder::input(keep.first, keep.count) : partial(keep);
    const Place incoming = Builder::scratch(un, mine);
    b.recv(peer, incoming);
    const bool result = half == 1 && !folded;
    b.reduce(result ? Builder::output(0) : partial(keep), {mine, incoming},
             half == 1 ? kFinal : uint8_t{0});
    from_input = false;
    if (upper) first += half;
  }
  if (!folded) return;
  b.send(p.rank + 1, partial({own_block + 1, 1}));
  b.copy(Builder::output(0), partial({own_block, 1}));
}

}  // namespace tutti
