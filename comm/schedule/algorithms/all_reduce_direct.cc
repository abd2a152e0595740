// All-reduce where everybody talks to everybody, or to one.
//
// one_shot: each rank sends its whole input to all others and folds all n inputs itself.
//   One message latency; every rank reads n S bytes: for small S.       alpha + n S beta
// two_shot: chunk r belongs to rank r. Each rank sends chunk p to its owner p; owners fold their
//   chunk and send the result to all.                                   2 alpha + 2 (n-1)/n S beta
//   Fused, an owner reads n inputs where they lie and writes n results where they are wanted: one
//   pass over memory, which nothing on shared memory can beat.
// central: rank 0 folds all inputs and sends the result to all.         2 alpha + 2 (n-1) S beta
//   2 (n-1) messages, where one_shot has n (n-1) and two_shot twice as many: for ranks that take
//   turns on a core, which cannot work at the same time anyway.
// All fold in rank order, so every rank computes, or receives, the same bits.
#include <vector>

#include "comm/schedule/algorithms/algorithms.h"
#include "comm/schedule/builder.h"
#include "comm/schedule/patterns.h"

namespace tutti {

namespace {

// Receives one contribution from each peer and lists all n in rank order, `own` among them.
std::vector<Place> receive_contributions(Builder& b, const Params& p, const Place& own) {
  std::vector<Place> terms(static_cast<size_t>(p.nranks));
  for (int i = 1; i < p.nranks; ++i) {
    const int peer = ring_add(p.rank, i, p.nranks);
    const Place slot = Builder::scratch(static_cast<uint32_t>(i - 1), own);
    b.recv(peer, slot);
    terms[static_cast<size_t>(peer)] = slot;
  }
  terms[static_cast<size_t>(p.rank)] = own;
  return terms;
}

}  // namespace

void all_reduce_one_shot(const Params& p, Schedule* out) {
  const auto n = static_cast<uint32_t>(p.nranks);
  Builder b(p, Collective::kAllReduce, {1, 1, 1, n}, out);
  for (int i = 1; i < p.nranks; ++i) b.send(ring_add(p.rank, i, p.nranks), Builder::input(0));
  const Place own = Builder::input(0);
  const std::vector<Place> terms = receive_contributions(b, p, own);
  if (!p.in_place || n == 1) {
    b.reduce(Builder::output(0), terms, kFinal);
    return;
  }
  // The input is lent to all peers until they have folded it, and they wait for nothing of ours:
  // folding beside it and copying after lets everybody fold first.
  const Place beside = Builder::scratch(n - 1, own);
  b.reduce(beside, terms, kFinal);
  b.copy(Builder::output(0), beside);
}

void all_reduce_central(const Params& p, Schedule* out) {
  const auto n = static_cast<uint32_t>(p.nranks);
  Builder b(p, Collective::kAllReduce, {1, 1, 1, n - 1}, out);
  if (p.rank != 0) {
    b.send(0, Builder::input(0));
    b.recv(0, Builder::output(0), kReply);  // it folded our contribution before
    return;
  }
  const std::vector<Place> terms = receive_contributions(b, p, Builder::input(0));
  b.reduce(Builder::output(0), terms, kFinal);
  for (int peer = 1; peer < p.nranks; ++peer) b.send(peer, Builder::output(0));
}

void all_reduce_two_shot(const Params& p, Schedule* out) {
  const auto n = static_cast<uint32_t>(p.nranks);
  const auto own = static_cast<uint32_t>(p.rank);
  Builder b(p, Collective::kAllReduce, {1, 1, n, n - 1}, out);
  for (int i = 1; i < p.nranks; ++i) {
    const int peer = ring_add(p.rank, i, p.nranks);
    b.send(peer, Builder::input(static_cast<uint32_t>(peer)));
  }
  const std::vector<Place> terms = receive_contributions(b, p, Builder::input(own));
  b.reduce(Builder::output(own), terms, kFinal);
  for (int i = 1; i < p.nranks; ++i) b.send(ring_add(p.rank, i, p.nranks), Builder::output(own));
  for (int i = 1; i < p.nranks; ++i) {
    const int peer = ring_add(p.rank, i, p.nranks);
    // The owner folded our contribution before it could send the result.
    b.recv(peer, Builder::output(static_cast<uint32_t>(peer)), kReply);
  }
}

}  // namespace tutti
