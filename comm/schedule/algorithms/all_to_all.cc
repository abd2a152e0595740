// All-to-all: block p of rank r's input becomes block r of rank p's output.
//
// direct: all blocks are lent at once, then received.                  alpha + (n-1) S beta
// pairwise: one partner at a time, which bounds what is outstanding.   (n-1) (alpha + S beta)
// Both follow the symmetric pairing of patterns.h: in round i two ranks meet each other. That makes
// the in-place form safe: a block may only be overwritten after its partner has taken it, and the
// partner takes it in the same round, before it waits for anything later. So one scratch slot is
// enough, where any order that is not symmetric needs about n/2 or deadlocks.
#include "comm/schedule/algorithms/algorithms.h"
#include "comm/schedule/builder.h"
#include "comm/schedule/patterns.h"

namespace tutti {

namespace {

void send_block(Builder& b, int peer) { b.send(peer, Builder::input(static_cast<uint32_t>(peer))); }

void receive_block(Builder& b, const Params& p, int peer) {
  const Place block = Builder::output(static_cast<uint32_t>(peer));
  if (!p.in_place) {
    b.recv(peer, block);
    return;
  }
  const Place aside = Builder::scratch(0, block);
  b.recv(peer, aside);
  b.copy(block, aside);
}

void copy_own(Builder& b, const Params& p) {
  const auto own = static_cast<uint32_t>(p.rank);
  if (!p.in_place) b.copy(Builder::output(own), Builder::input(own));
}

Shape shape_of(const Params& p) {
  const auto n = static_cast<uint32_t>(p.nranks);
  return {n, n, 1, p.in_place && n > 1 ? 1u : 0u};
}

}  // namespace

void all_to_all_direct(const Params& p, Schedule* out) {
  Builder b(p, Collective::kAllToAll, shape_of(p), out);
  for (int i = 0; i < p.nranks; ++i) {
    const int peer = pairing_partner(p.rank, i, p.nranks);
    if (peer != p.rank) send_block(b, peer);
  }
  copy_own(b, p);
  for (int i = 0; i < p.nranks; ++i) {
    const int peer = pairing_partner(p.rank, i, p.nranks);
    if (peer != p.rank) receive_block(b, p, peer);
  }
}

void all_to_all_pairwise(const Params& p, Schedule* out) {
  Builder b(p, Collective::kAllToAll, shape_of(p), out);
  for (int i = 0; i < p.nranks; ++i) {
    const int peer = pairing_partner(p.rank, i, p.nranks);
    if (peer == p.rank) {
      copy_own(b, p);
      continue;
    }
    send_block(b, peer);
    receive_block(b, p, peer);
  }
}

}  // namespace tutti
