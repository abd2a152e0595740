#include "tests/matrix/case.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace tutti {

namespace {

// Indexed by Call.
constexpr std::array<CallInfo, kNumCalls> kCalls = {{
    {"all_reduce", Collective::kAllReduce, false, false, true},
    {"reduce", Collective::kReduce, false, false, true},
    {"broadcast", Collective::kBroadcast, false, false, true},
    {"all_gather", Collective::kAllGather, false, false, true},
    {"all_gather_v", Collective::kAllGather, true, false, true},
    {"reduce_scatter", Collective::kReduceScatter, false, false, true},
    {"reduce_scatter_v", Collective::kReduceScatter, true, false, true},
    {"gather", Collective::kGather, false, false, true},
    {"gather_v", Collective::kGather, true, false, true},
    {"scatter", Collective::kScatter, false, false, true},
    {"scatter_v", Collective::kScatter, true, false, true},
    {"all_to_all", Collective::kAllToAll, false, false, true},
    {"all_to_all_v", Collective::kAllToAll, true, true, true},
    {"all_to_all_vc", Collective::kAllToAll, true, true, true},
    {"barrier", Collective::kBarrier, false, false, false},
    {"send_recv", std::nullopt, true, true, false},
    {"send_alone", std::nullopt, true, true, false},
    {"tagged", std::nullopt, true, true, false},
    {"batch", std::nullopt, true, true, false},
}};

constexpr std::array<const char*, kNumCounts> kCountNames = {"0",     "1",       "1023",
                                                             "large", "rounds2", "rounds3"};
constexpr std::array<const char*, kNumPlacements> kPlacementNames = {"out", "in", "mixed"};
constexpr std::array<const char*, kNumMemories> kMemoryNames = {"registered", "plain", "misaligned",
                                                                "mixed"};

template <typename Enum, size_t n>
bool find(const std::array<const char*, n>& names, std::string_view name, Enum* out) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return false;
  *out = static_cast<Enum>(found - names.begin());
  return true;
}

bool find_call(std::string_view name, Call* out) {
  const auto found =
      std::find_if(kCalls.begin(), kCalls.end(), [&](const CallInfo& c) { return name == c.name; });
  if (found == kCalls.end()) return false;
  *out = static_cast<Call>(found - kCalls.begin());
  return true;
}

bool parse_number(std::string_view text, std::string_view prefix, int* out) {
  if (text.substr(0, prefix.size()) != prefix) return false;
  text.remove_prefix(prefix.size());
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return fault == std::errc() && end == text.data() + text.size();
}

std::string common_name(const Case& c) {
  const CallInfo& call = info(c.call);
  const bool has_data = c.call != Call::kBarrier;
  std::string name = call.name;
  name += std::string("/") + (c.algorithm != nullptr ? c.algorithm->name : "-");
  name += std::string("/") + (has_data ? name_of(c.dtype) : "-");
  name += std::string("/") + (is_reduction(c.call) ? name_of(c.op) : "-");
  name += "/n" + std::to_string(c.nranks);
  return name + "/" + kCountNames[static_cast<size_t>(c.count)];
}

std::string root_name(const Case& c) {
  return is_rooted(c.call) ? "/root" + std::to_string(c.root) : "/-";
}

}  // namespace

const CallInfo& info(Call call) { return kCalls[static_cast<size_t>(call)]; }

bool is_rooted(Call call) {
  const std::optional<Collective> collective = info(call).collective;
  return collective.has_value() && is_rooted(*collective);
}

bool is_reduction(Call call) {
  const std::optional<Collective> collective = info(call).collective;
  return collective.has_value() && is_reduction(*collective);
}

bool is_possible(const Case& c) {
  const CallInfo& call = info(c.call);
  if (call.collective.has_value() != (c.algorithm != nullptr)) return false;
  if (c.algorithm != nullptr) {
    if (c.algorithm->collective != *call.collective) return false;
    const bool one_side_knows = c.call == Call::kGatherV || c.call == Call::kScatterV;
    if (one_side_knows && c.algorithm->needs_all_counts) return false;
  }
  if (is_reduction(c.call) ? !is_defined(c.dtype, c.op) : c.op != ReduceOp::kSum) return false;
  if (!call.in_place && c.place != Placement::kOut) return false;
  if (c.call == Call::kBarrier &&
      (c.dtype != DataType::kUint8 || c.count != Count::kNone || c.memory != Memory::kPlain)) {
    return false;
  }
  return is_rooted(c.call) ? c.root >= 0 && c.root < c.nranks : c.root == 0;
}

std::string name_of(const Case& c) {
  return common_name(c) + "/" + kPlacementNames[static_cast<size_t>(c.place)] + "/" +
         kMemoryNames[static_cast<size_t>(c.memory)] + root_name(c);
}

std::optional<Case> parse_case(std::string_view name) {
  std::vector<std::string_view> fields;
  while (true) {
    const size_t slash = name.find('/');
    fields.push_back(name.substr(0, slash));
    if (slash == std::string_view::npos) break;
    name.remove_prefix(slash + 1);
  }
  Case c;
  if (fields.size() != 9 || !find_call(fields[0], &c.call)) return std::nullopt;
  const std::optional<Collective> collective = info(c.call).collective;
  if (collective.has_value()) c.algorithm = find_algorithm(*collective, fields[1]);
  if (fields[2] != "-") {
    const std::optional<DataType> dtype = parse_data_type(fields[2]);
    if (!dtype.has_value()) return std::nullopt;
    c.dtype = *dtype;
  }
  if (fields[3] != "-") {
    const std::optional<ReduceOp> op = parse_reduce_op(fields[3]);
    if (!op.has_value()) return std::nullopt;
    c.op = *op;
  }
  if (!parse_number(fields[4], "n", &c.nranks) || !find(kCountNames, fields[5], &c.count) ||
      !find(kPlacementNames, fields[6], &c.place) || !find(kMemoryNames, fields[7], &c.memory)) {
    return std::nullopt;
  }
  if (fields[8] != "-" && !parse_number(fields[8], "root", &c.root)) return std::nullopt;
  if (c.nranks < 2 || c.nranks > 8 || !is_possible(c)) return std::nullopt;
  return c;
}

bool is_symmetric(const Group& group) {
  return info(group.common.call).matrix && group.variants.front().place != Placement::kOut;
}

std::string name_of(const Group& group) {
  return common_name(group.common) + (is_symmetric(group) ? "/symmetric" : "") +
         root_name(group.common);
}

int slot_of(const Case& c) {
  if (c.algorithm == nullptr) return 0;
  return static_cast<int>(c.algorithm - algorithms_of(c.algorithm->collective).data());
}

std::vector<std::pair<std::string, std::string>> algorithms_of_slot(int slot) {
  std::vector<std::pair<std::string, std::string>> chosen;
  for (int i = 0; i < kNumCollectives; ++i) {
    const auto collective = static_cast<Collective>(i);
    const std::span<const Algorithm> all = algorithms_of(collective);
    const Algorithm& algorithm = all[static_cast<size_t>(slot) % all.size()];
    chosen.emplace_back(name_of(collective), algorithm.name);
  }
  return chosen;
}

bool is_capped(const Case& c) {
  return c.count == Count::kTwoRounds || c.count == Count::kThreeRounds;
}

}  // namespace tutti
