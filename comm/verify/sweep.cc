#include "comm/verify/sweep.h"

#include <algorithm>
#include <vector>

namespace tutti {

namespace {

enum class InPlace { kNowhere, kEverywhere, kOddRanks };

struct Case {
  int nranks;
  int root;
  InPlace in_place;
  int pieces;
  bool fused;
};

std::string text_of(const Case& c, bool rooted) {
  std::string out = "n " + std::to_string(c.nranks);
  if (rooted) out += ", root " + std::to_string(c.root);
  if (c.in_place == InPlace::kEverywhere) out += ", in place";
  if (c.in_place == InPlace::kOddRanks) out += ", in place on odd ranks";
  if (c.pieces != 1) out += ", " + std::to_string(c.pieces) + " pieces";
  return out + (c.fused ? ", fused with offers" : ", as written");
}

Params params_of(const Case& c, int rank) {
  Params p;
  p.nranks = c.nranks;
  p.rank = rank;
  p.root = c.root;
  p.in_place =
      c.in_place == InPlace::kEverywhere || (c.in_place == InPlace::kOddRanks && rank % 2 == 1);
  p.pieces = c.pieces;
  return p;
}

std::vector<int> roots_of(const Algorithm& algorithm, int n) {
  if (!is_rooted(algorithm.collective)) return {0};
  std::vector<int> roots = {0, n / 2, n - 1};
  if (n > 1) roots.push_back(1);
  std::sort(roots.begin(), roots.end());
  roots.erase(std::unique(roots.begin(), roots.end()), roots.end());
  return roots;
}

std::vector<InPlace> in_place_of(const Algorithm& algorithm, int n) {
  if (algorithm.collective == Collective::kBarrier) return {InPlace::kNowhere};
  if (n == 1) return {InPlace::kNowhere, InPlace::kEverywhere};
  return {InPlace::kNowhere, InPlace::kEverywhere, InPlace::kOddRanks};
}

bool cuts_into_pieces(const Algorithm& algorithm, int n) {
  Schedule whole, cut;
  algorithm.build(params_of({n, 0, InPlace::kNowhere, 1, false}, 0), &whole);
  algorithm.build(params_of({n, 0, InPlace::kNowhere, 3, false}, 0), &cut);
  return !(whole.shape == cut.shape);
}

void check(const Algorithm& algorithm, const Case& c, Verifier* verifier, SweepResult* result) {
  if (result->defect) return;
  const auto schedule_of = [&](int rank, Schedule* out) {
    const Params p = params_of(c, rank);
    c.fused ? make_schedule(algorithm, p, out) : algorithm.build(p, out);
  };
  // Starting at the K of the cases before: only the largest of all cases is of interest.
  uint32_t* slots = c.fused ? &result->slots : &result->plain_slots;
  const auto most = static_cast<uint32_t>(4 * c.nranks + 16);
  const MinimumSlots found =
      verifier->minimum_slots(c.nranks, schedule_of, std::max(*slots, 1u), most);
  ++result->cases;
  if (found.defect) {
    result->defect = found.defect;
    result->failed_case = text_of(c, is_rooted(algorithm.collective));
    return;
  }
  *slots = found.slots;
}

}  // namespace

SweepResult sweep(const Algorithm& algorithm, int nranks, Verifier* verifier) {
  SweepResult result;
  const bool cuts = cuts_into_pieces(algorithm, nranks);
  for (const int root : roots_of(algorithm, nranks)) {
    for (const InPlace in_place : in_place_of(algorithm, nranks)) {
      for (const int pieces : {1, 3}) {
        if (pieces != 1 && !cuts) continue;
        for (const bool fused : {false, true}) {
          check(algorithm, {nranks, root, in_place, pieces, fused}, verifier, &result);
        }
      }
    }
  }
  return result;
}

}  // namespace tutti
