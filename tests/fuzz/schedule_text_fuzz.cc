// Fuzz target: any bytes either parse as a schedule or are refused with a message; what parsed
// prints as a text that parses to the same; and every rank running it, peers turned with the rank,
// is verified without a crash.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "comm/base/check.h"
#include "comm/schedule/text.h"
#include "comm/verify/verify.h"

namespace {

// Large shapes are memory, not new behaviour.
bool is_small(const tutti::Schedule& s) {
  constexpr uint32_t kRows = 4096;
  if (s.rows.indices.size() > kRows || s.rows.terms.size() > kRows || s.rows.ends.size() > kRows) {
    return false;
  }
  for (const uint32_t row : s.rows.indices) {
    if (row > kRows) return false;
  }
  const tutti::Shape& shape = s.shape;
  return s.nranks <= 8 && shape.input_blocks <= 8 && shape.output_blocks <= 8 &&
         shape.chunks_per_block <= 64 && shape.scratch_slots <= 256 && s.lanes.size() <= 16;
}

// The schedule as written for `rank` if all ranks did the same, each seen from itself.
void turn(const tutti::Schedule& s, int rank, tutti::Schedule* out) {
  *out = s;
  out->rank = rank;
  for (tutti::Operand& o : out->operands) {
    if (o.peer == tutti::kLocal) continue;
    o.peer = (o.peer - s.rank + rank + s.nranks) % s.nranks;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parsed =
      tutti::parse_schedule(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!parsed.ok()) {
    TUTTI_CHECK(!parsed.status().text().empty(), "a failure says why");
    return 0;
  }
  const tutti::Schedule& schedule = parsed.value();
  const std::string text = tutti::print(schedule);
  const auto again = tutti::parse_schedule(text);
  TUTTI_CHECK(again.ok(), "what was printed can be parsed");
  TUTTI_CHECK(again.value() == schedule, "to the same schedule");
  TUTTI_CHECK(tutti::print(again.value()) == text, "and the same text");
  if (!is_small(schedule)) return 0;
  const auto turned = [&](int rank, tutti::Schedule* out) { turn(schedule, rank, out); };
  const auto found = tutti::verify(schedule.nranks, turned, {2, 2});
  if (found) TUTTI_CHECK(!tutti::describe(*found).empty(), "a defect says what it is");
  const auto slots = tutti::minimum_slots(schedule.nranks, turned, 8);
  if (found && found->kind != tutti::Defect::Kind::kDeadlock) {
    TUTTI_CHECK(slots.defect.has_value(), "no number of slots cures it");
  }
  if (!found) TUTTI_CHECK(!slots.defect && slots.slots <= 2, "two slots are enough");
  return 0;
}
