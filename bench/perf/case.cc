#include "bench/perf/case.h"

#include <cstdio>

namespace perf {

using tutti::Code;

namespace {

constexpr std::array<const char*, kNumKinds> kNames = {
    "all_reduce", "reduce",          "broadcast",      "all_gather",       "reduce_scatter",
    "gather",     "scatter",         "all_to_all",     "all_to_all_v",     "send_recv",
    "barrier",    "expert_dispatch", "expert_combine", "expert_round_trip"};

// Whether `bytes` counts the blocks of all ranks.
bool counts_all_blocks(Collective collective) {
  switch (collective) {
    case Collective::kAllGather:
    case Collective::kReduceScatter:
    case Collective::kGather:
    case Collective::kScatter:
    case Collective::kAllToAll:
      return true;
    default:
      return false;
  }
}

Blocks blocks(const Case& c, int rank, int nranks, bool sent) {
  Blocks result;
  size_t at = 0;
  for (int peer = 0; peer < nranks; ++peer) {
    const size_t count = uneven_count(c.count, sent ? rank : peer, sent ? peer : rank, nranks);
    result.counts.push_back(count);
    result.displs.push_back(at);
    at += count;
  }
  return result;
}

}  // namespace

std::array<Collective, kNumCollectives> all_collectives() {
  std::array<Collective, kNumCollectives> result{};
  for (size_t i = 0; i < result.size(); ++i) result[i] = static_cast<Collective>(i);
  return result;
}

std::array<Collective, kNumKinds - kNumCollectives> expert_collectives() {
  return {Collective::kExpertDispatch, Collective::kExpertCombine, Collective::kExpertRoundTrip};
}

bool is_expert(Collective collective) { return collective >= Collective::kExpertDispatch; }

const char* name_of(Collective collective) { return kNames[static_cast<size_t>(collective)]; }

bool has_operator(Collective collective) {
  return collective == Collective::kAllReduce || collective == Collective::kReduce ||
         collective == Collective::kReduceScatter;
}

bool has_root(Collective collective) {
  return collective == Collective::kReduce || collective == Collective::kBroadcast ||
         collective == Collective::kGather || collective == Collective::kScatter;
}

bool can_be_in_place(Collective collective) {
  // What a rank sends to a peer and what it gets from it differ in length, or in neighbour.
  return collective != Collective::kAllToAllV && collective != Collective::kSendRecv &&
         collective != Collective::kBarrier && !is_expert(collective);
}

size_t count_for(Collective collective, tutti::DataType dtype, size_t bytes, int nranks) {
  if (collective == Collective::kBarrier) return 0;
  const size_t elements = bytes / tutti::size_of(dtype);
  return counts_all_blocks(collective) ? elements / static_cast<size_t>(nranks) : elements;
}

size_t bytes_of(const Case& c, int nranks) {
  if (c.collective == Collective::kBarrier) return 0;
  const size_t blocks = counts_all_blocks(c.collective) ? static_cast<size_t>(nranks) : 1;
  return c.count * blocks * tutti::size_of(c.dtype);
}

double bus_factor(Collective collective, int nranks) {
  const double others = static_cast<double>(nranks - 1) / nranks;
  switch (collective) {
    case Collective::kAllReduce:
      return 2 * others;
    case Collective::kAllGather:
    case Collective::kReduceScatter:
    case Collective::kGather:
    case Collective::kScatter:
    case Collective::kAllToAll:
    case Collective::kAllToAllV:
      return others;
    case Collective::kReduce:
    case Collective::kBroadcast:
    case Collective::kSendRecv:
    case Collective::kBarrier:
    case Collective::kExpertDispatch:
    case Collective::kExpertCombine:
    case Collective::kExpertRoundTrip:
      break;
  }
  return 1;
}

size_t send_count(const Case& c, int nranks) {
  const bool per_rank = c.collective == Collective::kReduceScatter ||
                        c.collective == Collective::kScatter ||
                        c.collective == Collective::kAllToAll;
  return per_rank ? c.count * static_cast<size_t>(nranks) : c.count;
}

size_t recv_count(const Case& c, int nranks) {
  const bool per_rank = c.collective == Collective::kAllGather ||
                        c.collective == Collective::kGather ||
                        c.collective == Collective::kAllToAll;
  return per_rank ? c.count * static_cast<size_t>(nranks) : c.count;
}

size_t uneven_count(size_t total, int source, int dest, int nranks) {
  // The first n odd numbers sum up to n * n. The farthest peer takes what rounding left over.
  const auto n = static_cast<size_t>(nranks);
  const auto distance = static_cast<size_t>((dest - source + nranks) % nranks);
  const auto share = [&](size_t k) {
    return total / (n * n) * (2 * k + 1) + total % (n * n) * (2 * k + 1) / (n * n);
  };
  if (distance + 1 < n) return share(distance);
  size_t rest = total;
  for (size_t k = 0; k + 1 < n; ++k) rest -= share(k);
  return rest;
}

Blocks sent_blocks(const Case& c, int rank, int nranks) { return blocks(c, rank, nranks, true); }

Blocks received_blocks(const Case& c, int rank, int nranks) {
  return blocks(c, rank, nranks, false);
}

std::string encode(const Case& c) {
  char text[160];
  std::snprintf(text, sizeof text, "%d %d %d %zu %d %d %d", static_cast<int>(c.collective),
                static_cast<int>(c.dtype), static_cast<int>(c.op), c.count, c.root,
                static_cast<int>(c.in_place), static_cast<int>(c.registered));
  return is_expert(c.collective) ? text + (" " + encode_shape(c.expert)) : text;
}

tutti::Result<Case> decode(std::string_view text) {
  int collective = 0;
  int dtype = 0;
  int op = 0;
  size_t count = 0;
  int root = 0;
  int in_place = 0;
  int registered = 0;
  int end = 0;
  const std::string line(text);
  const int fields = std::sscanf(line.c_str(), "%d %d %d %zu %d %d %d%n", &collective, &dtype, &op,
                                 &count, &root, &in_place, &registered, &end);
  if (fields != 7 || collective < 0 || collective >= kNumKinds || dtype < 0 ||
      dtype >= tutti::kNumDataTypes || op < 0 || op >= tutti::kNumReduceOps) {
    return tutti::error(Code::kInvalidArgument, "not a case: \"%.*s\"",
                        static_cast<int>(text.size()), text.data());
  }
  Case c;
  c.collective = static_cast<Collective>(collective);
  c.dtype = static_cast<tutti::DataType>(dtype);
  c.op = static_cast<tutti::ReduceOp>(op);
  c.count = count;
  c.root = root;
  c.in_place = in_place != 0;
  c.registered = registered != 0;
  if (!is_expert(c.collective)) return c;
  const std::optional<ExpertShape> shape = decode_shape(line.substr(static_cast<size_t>(end)));
  if (!shape) {
    return tutti::error(Code::kInvalidArgument, "not a case of experts: \"%s\"", line.c_str());
  }
  c.expert = *shape;
  return c;
}

}  // namespace perf
