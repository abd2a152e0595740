// The offer pass. For every message that lands in a result (a recv into output), an offer goes to
// the earliest point of the lane where nothing before still uses the place:
//
//   - after the last step that reads or writes it;
//   - not while it may be lent to a peer, unless the lender's message is answered by this very
//     message (kReply): then the peer has read before it writes, or does both in one kernel,
//     element by element.
// Only single-lane schedules: with several lanes the earliest point is no lane's own business.
#include <algorithm>

#include "comm/schedule/fuse.h"
#include "comm/schedule/places.h"

namespace tutti {

namespace {

struct Use {
  uint32_t after = 0;        // earliest position: the step index behind the last local use
  int32_t lent_to = kLocal;  // the only peer it was lent to since the start, or kLentToMany
};
constexpr int32_t kLentToMany = -2;

struct Insertion {
  uint32_t position;
  Step offer;
};

void note_uses(const Schedule& s, const ChunkMap& chunks, const Step& step, uint32_t index,
               std::vector<Use>* uses) {
  for (uint32_t k = 0; k < uint32_t{step.n_in} + step.n_out; ++k) {
    const Operand& o = s.operands[step.first + k];
    const bool lends = k >= step.n_in && o.peer != kLocal;
    chunks.each(step, o, [&](uint32_t c) {
      Use& use = (*uses)[c];
      use.after = index + 1;
      if (lends)
        use.lent_to = use.lent_to == kLocal || use.lent_to == o.peer ? o.peer : kLentToMany;
    });
  }
}

// Earliest position for the offer of `recv`, or -1 when the place may still be lent to someone.
int64_t earliest(const Schedule& s, const ChunkMap& chunks, const Step& recv,
                 const std::vector<Use>& uses) {
  const Operand& in = s.inputs(recv)[0];
  int64_t position = 0;
  chunks.each(recv, in, [&](uint32_t c) {
    const Use& use = uses[c];
    const bool free = use.lent_to == kLocal || (use.lent_to == in.peer && (in.flags & kReply) != 0);
    position = free && position >= 0 ? std::max<int64_t>(position, use.after) : -1;
  });
  return position;
}

}  // namespace

void add_offers(Schedule* s) {
  if (s->lanes.size() != 1) return;
  const ChunkMap chunks(*s);
  std::vector<Use> uses(chunks.size());
  std::vector<uint32_t> messages(static_cast<size_t>(s->nranks), 0);
  std::vector<Insertion> insertions;
  std::vector<Step>& steps = s->lanes[0].steps;
  for (uint32_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    if (step.op == Op::kRecv && s->inputs(step)[0].buffer == Buffer::kOutput) {
      const Operand in = s->inputs(step)[0];
      const int64_t position = earliest(*s, chunks, step, uses);
      if (position >= 0) {
        Step offer = step;
        offer.op = Op::kOffer;
        offer.n_in = 0;
        offer.n_out = 1;
        offer.first = static_cast<uint32_t>(s->operands.size());
        offer.ordinal = messages[static_cast<size_t>(in.peer)];
        s->operands.push_back({in.buffer, 0, 0, in.chunk, in.peer});
        insertions.push_back({static_cast<uint32_t>(position), offer});
      }
    }
    for (const Operand& o : s->inputs(step)) {
      if (o.peer != kLocal) ++messages[static_cast<size_t>(o.peer)];
    }
    note_uses(*s, chunks, step, i, &uses);
  }
  std::stable_sort(insertions.begin(), insertions.end(),
                   [](const Insertion& a, const Insertion& b) { return a.position < b.position; });
  std::vector<Step> merged;
  merged.reserve(steps.size() + insertions.size());
  size_t next = 0;
  for (uint32_t i = 0; i <= steps.size(); ++i) {
    for (; next < insertions.size() && insertions[next].position == i; ++next) {
      merged.push_back(insertions[next].offer);
    }
    if (i < steps.size()) merged.push_back(steps[i]);
  }
  steps = std::move(merged);
}

}  // namespace tutti
