// All-reduce by recursive halving, then doubling (Rabenseifner 2004): partners at distance p/2,
// ..., 1 exchange halves of what is left and fold, then the way back gathers. Any n: ranks that do
// not fit a power of two hand their input to a neighbour first and get the result last
// (patterns.h).
//                                                      2 log2(p) alpha + 2 (p-1)/p S beta (+ fold)
// Each chunk is finished on exactly one rank, so all ranks hold the same bits.
#include "comm/schedule/algorithms/algorithms.h"
#include "comm/schedule/builder.h"
#include "comm/schedule/patterns.h"

namespace tutti {

namespace {

struct Range {
  uint32_t first, count;
};

// One halving step: keep the half that holds our participant number, give the other one away.
void halve(Builder& b, int peer, bool upper, bool from_input, bool last, Range* range) {
  const uint32_t half = range->count / 2;
  const Range keep{range->first + (upper ? half : 0), half};
  const Range give{range->first + (upper ? 0 : half), half};
  const Place mine =
      from_input ? Builder::input(keep.first, half) : Builder::output(keep.first, half);
  b.send(peer, from_input ? Builder::input(give.first, half) : Builder::output(give.first, half));
  const Place incoming = Builder::scratch(0, mine);
  b.recv(peer, incoming);
  b.reduce(Builder::output(keep.first, half), {mine, incoming}, last ? kFinal : uint8_t{0});
  *range = keep;
}

}  // namespace

void all_reduce_halving_doubling(const Params& p, Schedule* out) {
  const Fold fold(p.nranks);
  const auto chunks = static_cast<uint32_t>(fold.p);
  Builder b(p, Collective::kAllReduce, {1, 1, chunks, p.nranks > 1 ? chunks : 0}, out);
  if (p.nranks == 1) {
    b.reduce(Builder::output(0), {Builder::input(0)}, kFinal);
    return;
  }
  if (!fold.takes_part(p.rank)) {
    b.send(p.rank - 1, Builder::input(0, chunks));
    b.recv(p.rank - 1, Builder::output(0, chunks), kReply);
    return;
  }
  const bool folded = fold.folded(p.rank);
  if (folded) {
    const Place incoming = Builder::scratch(0, Builder::input(0, chunks));
    b.recv(p.rank + 1, incoming);
    b.reduce(Builder::output(0, chunks), {Builder::input(0, chunks), incoming});
  }
  const int me = fold.participant(p.rank);
  Range range{0, chunks};
  for (int distance = fold.p / 2; distance >= 1; distance /= 2) {
    const int peer = fold.rank_of(me ^ distance);
    halve(b, peer, (me & distance) != 0, !folded && distance == fold.p / 2, distance == 1, &range);
  }
  for (int distance = 1; distance < fold.p; distance *= 2) {
    const int peer = fold.rank_of(me ^ distance);
    const Range theirs{range.first ^ range.count, range.count};
    b.send(peer, Builder::output(range.first, range.count));
    // The peer halved with us before it could hold this range.
    b.recv(peer, Builder::output(theirs.first, theirs.count), kReply);
    range = {range.first & ~range.count, range.count * 2};
  }
  if (folded) b.send(p.rank + 1, Builder::output(0, chunks));
}

}  // namespace tutti
