// Fuzz target: what the ranks of an expert group tell each other in Prepare. Input: eight bytes
// that choose the group, then what differs, bit by bit, from well-formed announcements of all ranks
// and from the assignments that they then tell. What is not refused has a row for each, inside the
// output and apart from all others.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <span>
#include <vector>

#include "comm/base/check.h"
#include "comm/expert/announced.h"

namespace {

using namespace tutti;  // NOLINT(google-build-using-namespace): a program of one file

constexpr size_t kChoices = 8;

struct Group {
  explicit Group(std::span<const uint8_t> choices) {
    PlacementConfig config;
    config.nranks = 1 + choices[0] % 4;
    config.num_experts = 1 + choices[1] % 6;
    placement = Placement::make(config).value();
    shape.topk = 1 + choices[2] % 4;
    shape.layout = static_cast<ExpertLayout>(choices[3] % 4);
    shape.max_tokens = choices[4] % 8;
    shape.alignment = 1u << choices[5] % 3;
    shape.zone_rows = choices[6] % 32;
    weighted = choices[7] % 2 != 0;
    rank = choices[7] / 2 % config.nranks;
  }
  Placement placement;
  ExpertShape shape;
  bool weighted = false;
  int rank = 0;
};

// Takes the next bytes of the input, zeros behind its end.
class Differences {
 public:
  explicit Differences(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  void apply(std::byte* to, size_t size) {
    const size_t some = std::min(size, bytes_.size());
    for (size_t i = 0; i < some; ++i) to[i] ^= std::byte{bytes_[i]};
    bytes_ = bytes_.subspan(some);
  }

 private:
  std::span<const uint8_t> bytes_;
};

void check_refusal(const Status& status) {
  TUTTI_CHECK(status.code() == Code::kInvalidArgument || status.code() == Code::kRemoteError,
              "a refusal");
  TUTTI_CHECK(!status.text().empty(), "it says why");
}

// Whether `all` goes through, as Prepare looks at it.
bool is_agreed(const Group& g, const AllCounts& all) {
  int culprit = -1;
  const Status checks[] = {check_headers(all, {}, g.rank, Status(), &culprit),
                           check_room(g.shape, g.placement, all, {}, g.rank, &culprit),
                           check_announced(g.shape, g.placement, all, g.rank)};
  for (const Status& status : checks) {
    if (status.ok()) continue;
    check_refusal(status);
    return false;
  }
  return true;
}

struct Tables {
  explicit Tables(const Group& g, size_t num_local)
      : source_rows(static_cast<size_t>(g.placement.nranks()) + 1),
        token(static_cast<size_t>(g.placement.nranks()) * g.shape.max_tokens),
        first(token.size() + 1),
        expert(token.size() * g.shape.topk),
        row(expert.size()),
        count(num_local),
        k(expert.size()),
        offset(num_local + 1),
        weight(g.weighted ? expert.size() : 0) {}
  std::vector<uint32_t> source_rows, token, first, expert, row, count;
  std::vector<uint8_t> k;
  std::vector<int64_t> offset;
  std::vector<float> weight;
};

bool add(const Group& g, const AllCounts& all, int source, Differences* differences,
         Arrivals* arrivals) {
  const size_t count = all.assignments(g.placement, source, g.rank);
  std::vector<std::byte> routed(routed_bytes(count, g.weighted));
  for (size_t i = 0; i < count; ++i) {
    const RoutedAssignment one = {static_cast<uint32_t>(i / g.shape.topk),
                                  static_cast<uint32_t>(i % g.shape.topk) << 24};
    std::memcpy(&routed[i * sizeof(one)], &one, sizeof(one));
  }
  differences->apply(routed.data(), routed.size());
  const auto num_local = static_cast<uint32_t>(g.placement.experts_of(g.rank).size());
  const Status added = arrivals->add(static_cast<uint32_t>(source), all.of(source).header().tokens,
                                     g.shape.topk, num_local, routed.data(), count);
  if (!added.ok()) check_refusal(added);
  return added.ok();
}

void check_rows(const Group& g, const AllCounts& all, const Arrivals& arrivals,
                const RowsOfArrivals& rows) {
  TUTTI_CHECK(rows.num_rows <= rows_needed_at(g.shape, g.placement, all, g.rank),
              "no more rows than everybody was told");
  const size_t used = is_by_expert(g.shape.layout) ? arrivals.assignments : arrivals.rows;
  std::set<uint32_t> seen;
  for (size_t i = 0; i < used; ++i) {
    TUTTI_CHECK(rows.row[i] < rows.num_rows, "inside the output");
    TUTTI_CHECK(seen.insert(rows.row[i]).second, "a row for each");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < kChoices) return 0;
  const Group g(std::span(data, kChoices));
  Differences differences(std::span(data, size).subspan(kChoices));
  const int nranks = g.placement.nranks();
  const size_t piece = ExpertCounts::bytes(g.placement.num_experts(), nranks);
  std::vector<uint64_t> memory(piece * static_cast<size_t>(nranks) / sizeof(uint64_t));
  auto* const bytes = reinterpret_cast<std::byte*>(memory.data());
  const AllCounts all(bytes, g.placement.num_experts(), nranks);
  for (int r = 0; r < nranks; ++r) {
    all.of(r).header() = header_of(g.shape, g.shape.max_tokens, g.weighted, Code::kOk);
  }
  differences.apply(bytes, piece * static_cast<size_t>(nranks));
  if (!is_agreed(g, all)) return 0;
  Tables t(g, g.placement.experts_of(g.rank).size());
  Arrivals arrivals{t.source_rows, t.token, t.first, t.k, t.expert, t.weight};
  arrivals.clear();
  for (int s = 0; s < nranks; ++s) {
    if (!add(g, all, s, &differences, &arrivals)) return 0;
  }
  RowsOfArrivals rows{t.row, t.count, t.offset};
  lay_out(g.shape, nranks, arrivals, &rows);
  const Status told = check_told(g.placement, all, g.rank, arrivals, rows);
  if (told.ok()) {
    check_rows(g, all, arrivals, rows);
  } else {
    check_refusal(told);
  }
  return 0;
}
