// Ring, tree and pairing arithmetic: pure functions of (rank, nranks). No allocation, no I/O.
#pragma once

#include <cstdint>

namespace tutti {

// (a + b) mod n for 0 <= a < n and any b >= -n.
inline int ring_add(int a, int b, int n) { return (a + b + n) % n; }

// The rank that `rank` exchanges with in round i of a symmetric pairing: both name each other, and
// over i = 0..n-1 every pair meets once (rank meets itself in one round).
inline int pairing_partner(int rank, int round, int n) { return ring_add(round, -rank, n); }

// Ranks numbered from the root: the root is 0.
inline int to_virtual(int rank, int root, int n) { return ring_add(rank, -root, n); }
inline int from_virtual(int vrank, int root, int n) { return ring_add(vrank, root, n); }

inline int largest_power_of_two(int n) {
  int p = 1;
  while (p <= n / 2) p *= 2;
  return p;
}
inline int next_power_of_two(int n) {
  int p = 1;
  while (p < n) p *= 2;
  return p;
}

// Binomial tree rooted at virtual rank 0: the parent clears the lowest set bit; the subtree of v is
// the run [v, v + subtree_size(v)), cut at n.
inline int lowest_bit(int v, int n) { return v == 0 ? next_power_of_two(n) : v & -v; }
inline int binomial_parent(int v) { return v & (v - 1); }
inline int binomial_subtree(int v, int n) {
  const int full = lowest_bit(v, n);
  return full < n - v ? full : n - v;
}

// Folding any n onto p = largest_power_of_two(n) participants, rem = n - p: ranks below 2 rem pair
// up, the even one of a pair takes part for both (Thakur, Rabenseifner, Gropp 2005, section 4.4).
struct Fold {
  int n, p, rem;
  explicit Fold(int nranks) : n(nranks), p(largest_power_of_two(nranks)), rem(nranks - p) {}
  bool folded(int rank) const { return rank < 2 * rem; }
  bool takes_part(int rank) const { return !folded(rank) || rank % 2 == 0; }
  int participant(int rank) const { return folded(rank) ? rank / 2 : rank - rem; }
  int rank_of(int participant) const {
    return participant < rem ? 2 * participant : participant + rem;
  }
};

}  // namespace tutti
