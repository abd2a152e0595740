// Gather to and scatter from a root.
//
// direct: the root talks to everybody.                                  alpha + (n-1) S beta
// binomial: a tree over ranks numbered from the root. A subtree is a run of virtual ranks; counted
//   in real ranks it may wrap past n-1, so it travels as one or two messages.
//                                                           log2(n) alpha + (n-1) S beta
#include "comm/schedule/algorithms/algorithms.h"
#include "comm/schedule/builder.h"
#include "comm/schedule/patterns.h"

namespace tutti {

namespace {

// Calls run(first_virtual, first_real, count) for each run of real ranks in [v, v + count).
template <typename Run>
void for_each_run(int v, int count, int root, int n, Run run) {
  const int real = from_virtual(v, root, n);
  const int before_wrap = n - real < count ? n - real : count;
  run(v, static_cast<uint32_t>(real), static_cast<uint32_t>(before_wrap));
  if (before_wrap < count) {
    run(v + before_wrap, uint32_t{0}, static_cast<uint32_t>(count - before_wrap));
  }
}

Place inner_slot(int v, int me, const Place& blocks) {
  return Builder::scratch(static_cast<uint32_t>(v - me), blocks);
}

}  // namespace

void gather_direct(const Params& p, Schedule* out) {
  const auto n = static_cast<uint32_t>(p.nranks);
  Builder b(p, Collective::kGather, {1, n, 1, 0}, out);
  if (p.rank != p.root) {
    b.send(p.root, Builder::input(0));
    return;
  }
  if (!p.in_place) b.copy(Builder::output(static_cast<uint32_t>(p.rank)), Builder::input(0));
  for (int i = 1; i < p.nranks; ++i) {
    const int peer = ring_add(p.rank, i, p.nranks);
    b.recv(peer, Builder::output(static_cast<uint32_t>(peer)));
  }
}

void scatter_direct(const Params& p, Schedule* out) {
  const auto n = static_cast<uint32_t>(p.nranks);
  Builder b(p, Collective::kScatter, {n, 1, 1, 0}, out);
  if (p.rank != p.root) {
    b.recv(p.root, Builder::output(0));
    return;
  }
  for (int i = 1; i < p.nranks; ++i) {
    const int peer = ring_add(p.rank, i, p.nranks);
    b.send(peer, Builder::input(static_cast<uint32_t>(peer)));
  }
  if (!p.in_place) b.copy(Builder::output(0), Builder::input(static_cast<uint32_t>(p.rank)));
}

void gather_binomial(const Params& p, Schedule* out) {
  const int n = p.nranks;
  const int v = to_virtual(p.rank, p.root, n);
  const int mine = binomial_subtree(v, n);
  const bool inner = v != 0 && mine > 1;
  Builder b(p, Collective::kGather,
            {1, static_cast<uint32_t>(n), 1, inner ? static_cast<uint32_t>(mine) : 0}, out);
  const Place own_block = Builder::output(static_cast<uint32_t>(p.rank));
  if (v == 0 && !p.in_place) b.copy(own_block, Builder::input(0));
  if (inner) b.copy(inner_slot(v, v, own_block), Builder::input(0));
  for (int bit = 1; bit < lowest_bit(v, n) && v + bit < n; bit *= 2) {
    const int child = v + bit;
    for_each_run(
        child, binomial_subtree(child, n), p.root, n, [&](int w, uint32_t real, uint32_t count) {
          const Place blocks = Builder::output(real, count);
          b.recv(from_virtual(child, p.root, n), v == 0 ? blocks : inner_slot(w, v, blocks));
        });
  }
  if (v == 0) return;
  const int parent = from_virtual(binomial_parent(v), p.root, n);
  if (!inner) {
    b.send(parent, Builder::input(0));
    return;
  }
  for_each_run(v, mine, p.root, n, [&](int w, uint32_t real, uint32_t count) {
    b.send(parent, inner_slot(w, v, Builder::output(real, count)));
  });
}

void scatter_binomial(const Params& p, Schedule* out) {
  const int n = p.nranks;
  const int v = to_virtual(p.rank, p.root, n);
  const int mine = binomial_subtree(v, n);
  const bool inner = v != 0 && mine > 1;
  Builder b(p, Collective::kScatter,
            {static_cast<uint32_t>(n), 1, 1, inner ? static_cast<uint32_t>(mine) : 0}, out);
  const Place own_block = Builder::input(static_cast<uint32_t>(p.rank));
  if (v != 0) {
    const int parent = from_virtual(binomial_parent(v), p.root, n);
    if (!inner) {
      b.recv(parent, Builder::output(0));
      return;
    }
    for_each_run(v, mine, p.root, n, [&](int w, uint32_t real, uint32_t count) {
      b.recv(parent, inner_slot(w, v, Builder::input(real, count)));
    });
  }
  for (int bit = lowest_bit(v, n) / 2; bit >= 1; bit /= 2) {
    const int child = v + bit;
    if (child >= n) continue;
    for_each_run(
        child, binomial_subtree(child, n), p.root, n, [&](int w, uint32_t real, uint32_t count) {
          const Place blocks = Builder::input(real, count);
          b.send(from_virtual(child, p.root, n), v == 0 ? blocks : inner_slot(w, v, blocks));
        });
  }
  if (inner) {
    b.copy(Builder::output(0), inner_slot(v, v, own_block));
  } else if (!p.in_place) {
    b.copy(Builder::output(0), own_block);
  }
}

}  // namespace tutti
