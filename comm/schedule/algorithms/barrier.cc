// Barriers of empty messages.
//
// dissemination (Hensgen, Finkel, Manber 1988): in round k each rank tells the one 2^k ahead and
//   hears from the one 2^k behind; after ceil(log2 n) rounds everybody has heard, directly or not,
//   from everybody.                                                    ceil(log2 n) alpha
// central: everybody tells rank 0, which then tells everybody. Where ranks take turns on a core,
// all
//   of them have come when rank 0 has had its turn, and gone after one more.             2 alpha
#include "comm/schedule/algorithms/algorithms.h"
#include "comm/schedule/builder.h"
#include "comm/schedule/patterns.h"

namespace tutti {

void barrier_dissemination(const Params& p, Schedule* out) {
  const int n = p.nranks;
  Builder b(p, Collective::kBarrier, {1, 1, 1, 0}, out);
  for (int distance = 1; distance < n; distance *= 2) {
    b.send(ring_add(p.rank, distance, n), Builder::nothing());
    b.recv(ring_add(p.rank, -distance, n), Builder::nothing());
  }
}

void barrier_central(const Params& p, Schedule* out) {
  const int n = p.nranks;
  Builder b(p, Collective::kBarrier, {1, 1, 1, 0}, out);
  if (p.rank != 0) {
    b.send(0, Builder::nothing());
    b.recv(0, Builder::nothing());
    return;
  }
  for (int peer = 1; peer < n; ++peer) b.recv(peer, Builder::nothing());
  for (int peer = 1; peer < n; ++peer) b.send(peer, Builder::nothing());
}

}  // namespace tutti
