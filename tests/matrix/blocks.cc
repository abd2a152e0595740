#include "tests/matrix/blocks.h"

#include <algorithm>
#include <numeric>

#include "comm/base/check.h"
#include "comm/runtime/select.h"
#include "comm/schedule/contract.h"
#include "tests/matrix/communicators.h"
#include "tests/support/test_data.h"

namespace tutti {

namespace {

// Elements of block i of an uneven call: at least one block is the largest there may be.
size_t uneven(size_t most, uint64_t i, uint64_t blocks, uint64_t salt) {
  if (i == salt % blocks) return most;
  switch (mix_bits(salt ^ i) % 6) {
    case 0:
      return 0;
    case 1:
      return std::min<size_t>(most, 1);
    case 2:
      return most / 3;
    case 3:
      return most - std::min<size_t>(most, 7);
    case 4:
      return most / 2 + most % 2;
    default:
      return most;
  }
}

uint64_t salt_of(const Case& c) {
  return static_cast<uint64_t>(c.call) * 31 + static_cast<uint64_t>(c.nranks) * 7 +
         static_cast<uint64_t>(c.count) * 3 + static_cast<uint64_t>(c.dtype);
}

// Elements that rank `from` sends to rank `to`.
size_t pair_count(const Case& c, bool symmetric, size_t most, int from, int to) {
  const auto n = static_cast<uint64_t>(c.nranks);
  if (c.call == Call::kSendRecv || c.call == Call::kSendAlone) {
    return to == (from + 1) % c.nranks ? most : 0;
  }
  if (c.call == Call::kTagged && from == to) return 0;
  if (symmetric && from > to) std::swap(from, to);
  return uneven(most, static_cast<uint64_t>(from) * n + static_cast<uint64_t>(to), n * n,
                salt_of(c));
}

// Gives the blocks displacements: in an order of their own, gaps between them.
void place_blocks(BlockList* blocks, uint64_t salt) {
  std::vector<uint32_t> order(blocks->num);
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [salt](uint32_t a, uint32_t b) { return mix_bits(salt + a) < mix_bits(salt + b); });
  blocks->displs.resize(blocks->num);
  size_t at = salt % 3;
  for (uint32_t block : order) {
    blocks->displs[block] = at;
    at += blocks->counts[block] + mix_bits(salt ^ block) % 4;
  }
}

void pack_blocks(BlockList* blocks) {
  blocks->displs.resize(blocks->num);
  std::exclusive_scan(blocks->counts.begin(), blocks->counts.end(), blocks->displs.begin(),
                      size_t{0});
}

Blocks matrix_blocks(const Case& c, bool symmetric, size_t most, int rank) {
  const auto n = static_cast<uint32_t>(c.nranks);
  Blocks blocks{{n, 0, {}, {}}, {n, 0, {}, {}}};
  for (int peer = 0; peer < c.nranks; ++peer) {
    blocks.input.counts.push_back(pair_count(c, symmetric, most, rank, peer));
    blocks.output.counts.push_back(pair_count(c, symmetric, most, peer, rank));
  }
  if (c.call == Call::kAllToAllVC) {
    pack_blocks(&blocks.input);
    pack_blocks(&blocks.output);
    return blocks;
  }
  const uint64_t salt = salt_of(c) + static_cast<uint64_t>(rank);
  place_blocks(&blocks.input, salt);
  place_blocks(&blocks.output, symmetric ? salt : salt + 1000);
  return blocks;
}

bool is_missing(const Case& c, int rank, bool input) {
  if (rank == c.root || !is_rooted(c.call)) return false;
  const Collective collective = *info(c.call).collective;
  const bool root_only_input =
      collective == Collective::kBroadcast || collective == Collective::kScatter;
  return input == root_only_input;
}

}  // namespace

size_t extent_of(const BlockList& blocks) {
  size_t end = 0;
  for (uint32_t b = 0; b < blocks.num; ++b) {
    if (blocks.count(b) > 0) end = std::max(end, blocks.start(b) + blocks.count(b));
  }
  return end;
}

Blocks blocks_of(const Case& c, bool symmetric, size_t most, int rank) {
  if (info(c.call).matrix) return matrix_blocks(c, symmetric, most, rank);
  const Collective collective = *info(c.call).collective;
  Blocks blocks{{input_blocks(collective, c.nranks), most, {}, {}},
                {output_blocks(collective, c.nranks), most, {}, {}}};
  if (info(c.call).uneven) {
    BlockList& many = blocks.input.num > 1 ? blocks.input : blocks.output;
    BlockList& one = blocks.input.num > 1 ? blocks.output : blocks.input;
    for (uint32_t b = 0; b < many.num; ++b) {
      many.counts.push_back(uneven(most, b, many.num, salt_of(c)));
    }
    one.each = many.counts[static_cast<size_t>(rank)];
    many.each = 0;
    place_blocks(&many, salt_of(c) + static_cast<uint64_t>(rank));
  }
  if (is_missing(c, rank, true)) blocks.input = {blocks.input.num, 0, {}, {}};
  if (is_missing(c, rank, false)) blocks.output = {blocks.output.num, 0, {}, {}};
  return blocks;
}

Origin origin_of(const Case& c, int rank, uint32_t block) {
  if (info(c.call).matrix) return {static_cast<int>(block), static_cast<uint32_t>(rank)};
  switch (*info(c.call).collective) {
    case Collective::kBroadcast:
      return {c.root, 0};
    case Collective::kScatter:
      return {c.root, static_cast<uint32_t>(rank)};
    case Collective::kAllToAll:
      return {static_cast<int>(block), static_cast<uint32_t>(rank)};
    default:
      return {static_cast<int>(block), 0};
  }
}

DataLayout layout_of(const Case& c, bool symmetric, size_t most, int rank, int* pieces) {
  const bool uneven_call = info(c.call).uneven;
  Case with_buffers = c;
  if (!uneven_call) with_buffers.root = rank;
  Blocks blocks = blocks_of(with_buffers, symmetric, most, rank);
  const bool known = !uneven_call || c.call == Call::kAllGatherV || c.call == Call::kReduceScatterV;
  size_t bytes = most * size_of(c.dtype);
  if (uneven_call) {
    bytes =
        known ? std::max(blocks.input.largest(), blocks.output.largest()) * size_of(c.dtype) : 0;
  }
  const Config config = config_of(slot_of(c), is_capped(c));
  const Choice choice =
      select(config, MachineClass::kCores, *info(c.call).collective, bytes, c.nranks, known);
  TUTTI_CHECK(choice.algorithm == c.algorithm, "the setting is not what runs");
  *pieces = choice.pieces;
  Params params;
  params.nranks = c.nranks;
  params.rank = rank;
  params.root = c.root;
  params.pieces = choice.pieces;
  Schedule schedule;
  c.algorithm->build(params, &schedule);
  return DataLayout(std::move(blocks.input), std::move(blocks.output),
                    schedule.shape.chunks_per_block, size_of(c.dtype),
                    scratch_slots_bound(*c.algorithm, c.nranks), config.buffer_cap);
}

namespace {

// Elements that one round takes of a block, or 0 when any number fits one round.
size_t elements_of_round(const Case& c) {
  if (c.algorithm == nullptr || c.call == Call::kBarrier) return 0;
  int pieces = 0;
  Case even = c;
  for (int i = 0; i < kNumCalls; ++i) {
    const auto call = static_cast<Call>(i);
    if (info(call).collective == info(c.call).collective && !info(call).uneven) even.call = call;
  }
  const DataLayout huge = layout_of(even, false, size_t{1} << 28, 0, &pieces);
  if (huge.rounds() == 1) return 0;
  return huge.chunk(Buffer::kInput, 0, 1).offset / size_of(c.dtype);
}

}  // namespace

size_t elements_of(const Case& c) {
  switch (c.count) {
    case Count::kNone:
      return 0;
    case Count::kOne:
      return 1;
    case Count::kSmall:
      return 1023;
    case Count::kLarge:
      return (size_t{1} << 20) + 3;
    case Count::kTwoRounds:
    case Count::kThreeRounds:
      break;
  }
  const size_t round = elements_of_round(c);
  const uint32_t rounds = c.count == Count::kTwoRounds ? 2 : 3;
  if (round == 0) return rounds * kSmallestCap / size_of(c.dtype) + 5;
  // Half a round last, or next to nothing.
  const size_t most = rounds == 2 ? round + round / 2 + 1 : 2 * round + 3;
  int pieces = 0;
  TUTTI_CHECK(layout_of(c, false, most, 0, &pieces).rounds() == rounds, "another number of rounds");
  return most;
}

}  // namespace tutti
