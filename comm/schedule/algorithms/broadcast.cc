// Broadcast from a root.
//
// direct: the root lends its input to everybody at once and they pull it; on shared memory the
//   pulls run in parallel.                                             alpha + (n-1) S beta at the
//   root
// binomial: a tree over ranks numbered from the root.                  log2(n) (alpha + S beta)
// scatter_all_gather: binomial scatter of n chunks, then a ring (van de Geijn 1994); a chunk is not
//   sent to a rank that has it from the scatter.             (log2(n) + n) alpha + 2 (n-1)/n S beta
// chain: ranks in a line, the data cut into pieces that follow one another.
//                                                           (n + pieces) (alpha + S/pieces beta)
#include "comm/schedule/algorithms/algorithms.h"
#include "comm/schedule/builder.h"
#include "comm/schedule/patterns.h"

namespace tutti {

namespace {

// Where a rank forwards chunks from: the root straight from its input.
Place held(const Params& p, uint32_t chunk, uint32_t nchunks = 1) {
  return p.rank == p.root ? Builder::input(chunk, nchunks) : Builder::output(chunk, nchunks);
}

// The root's own result, after it has posted everything others wait for.
void copy_at_root(Builder& b, const Params& p, uint32_t nchunks) {
  if (p.rank == p.root && !p.in_place) {
    b.copy(Builder::output(0, nchunks), Builder::input(0, nchunks));
  }
}

}  // namespace

void broadcast_direct(const Params& p, Schedule* out) {
  Builder b(p, Collective::kBroadcast, {1, 1, 1, 0}, out);
  if (p.rank != p.root) {
    b.recv(p.root, Builder::output(0));
    return;
  }
  for (int i = 1; i < p.nranks; ++i) b.send(ring_add(p.rank, i, p.nranks), Builder::input(0));
  copy_at_root(b, p, 1);
}

void broadcast_binomial(const Params& p, Schedule* out) {
  const int n = p.nranks;
  Builder b(p, Collective::kBroadcast, {1, 1, 1, 0}, out);
  const int v = to_virtual(p.rank, p.root, n);
  if (v != 0) b.recv(from_virtual(binomial_parent(v), p.root, n), Builder::output(0));
  for (int bit = lowest_bit(v, n) / 2; bit >= 1; bit /= 2) {
    if (v + bit < n) b.send(from_virtual(v + bit, p.root, n), held(p, 0));
  }
  copy_at_root(b, p, 1);
}

void broadcast_scatter_all_gather(const Params& p, Schedule* out) {
  const int n = p.nranks;
  const auto chunks = static_cast<uint32_t>(n);
  Builder b(p, Collective::kBroadcast, {1, 1, chunks, 0}, out);
  const int v = to_virtual(p.rank, p.root, n);
  if (v != 0) {
    b.recv(
        from_virtual(binomial_parent(v), p.root, n),
        Builder::output(static_cast<uint32_t>(v), static_cast<uint32_t>(binomial_subtree(v, n))));
  }
  for (int bit = lowest_bit(v, n) / 2; bit >= 1; bit /= 2) {
    const int child = v + bit;
    if (child >= n) continue;
    b.send(from_virtual(child, p.root, n), held(p, static_cast<uint32_t>(child),
                                                static_cast<uint32_t>(binomial_subtree(child, n))));
  }
  // Chunk c arrives at virtual rank w by the ring unless the scatter left it there.
  const auto lacks = [n](int w, int c) { return c < w || c >= w + binomial_subtree(w, n); };
  const int next = ring_add(v, 1, n);
  for (int t = 0; t < n - 1; ++t) {
    const int outgoing = ring_add(v, -t, n);
    const int incoming = ring_add(v, -t - 1, n);
    if (lacks(next, outgoing)) {
      b.send(from_virtual(next, p.root, n), held(p, static_cast<uint32_t>(outgoing)));
    }
    if (lacks(v, incoming)) {
      b.recv(from_virtual(ring_add(v, -1, n), p.root, n),
             Builder::output(static_cast<uint32_t>(incoming)));
    }
  }
  copy_at_root(b, p, chunks);
}

void broadcast_chain(const Params& p, Schedule* out) {
  const int n = p.nranks;
  const auto pieces = static_cast<uint32_t>(p.pieces);
  Builder b(p, Collective::kBroadcast, {1, 1, pieces, 0}, out);
  const int v = to_virtual(p.rank, p.root, n);
  for (uint32_t c = 0; c < pieces; ++c) {
    if (v != 0) b.recv(from_virtual(v - 1, p.root, n), Builder::output(c));
    if (v != n - 1) b.send(from_virtual(v + 1, p.root, n), held(p, c));
  }
  copy_at_root(b, p, pieces);
}

}  // namespace tutti
