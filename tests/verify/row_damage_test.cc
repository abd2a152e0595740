// Schedules with rows made by chance, and right ones with numbers changed by chance: whatever they
// say, the verifier answers.
#include <gtest/gtest.h>
#include <limits>
#include <random>

#include "tests/verify/row_group.h"

namespace tutti {
namespace {

constexpr uint32_t kRowsOfABuffer = 4;

// Mostly small numbers, so that many a schedule is in range; sometimes any number.
class Chance {
 public:
  explicit Chance(uint32_t seed) : random_(seed) {}
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }
  uint32_t number(uint32_t usual) {
    if (below(20) == 0) return static_cast<uint32_t>(random_());
    return below(usual);
  }
  bool one_in(uint32_t n) { return below(n) == 0; }
  template <typename All>
  auto& any(All& all) {
    return all[below(static_cast<uint32_t>(std::size(all)))];
  }

 private:
  std::mt19937 random_;
};

RowBuilder::Place random_place(RowBuilder& b, Chance& chance, Buffer buffer, uint32_t count) {
  std::vector<uint32_t> rows;
  for (uint32_t i = 0; i < count; ++i) rows.push_back(chance.below(kRowsOfABuffer));
  return b.list(buffer, rows);
}

void add_random_rows(RowBuilder& b, Chance& chance, int nranks, int rank) {
  const bool sum = chance.one_in(2);
  const uint32_t count = chance.below(3);
  const Buffer places[] = {Buffer::kInput, Buffer::kOutput, Buffer::kScratch};
  b.begin(sum ? RowKernel::kSum : RowKernel::kCopy, sum && chance.one_in(2));
  if (sum && chance.one_in(3)) b.bias(random_place(b, chance, Buffer::kBias0, count));
  const uint32_t local = b.input(random_place(b, chance, chance.any(places), 2));
  uint32_t last = local;
  if (nranks > 1 && chance.one_in(2)) {
    last = b.input(random_place(b, chance, Buffer::kScratch, 2), (rank + 1) % nranks);
  }
  const int peer = nranks > 1 && chance.one_in(4) ? (rank + 1) % nranks : kLocal;
  b.output(random_place(b, chance, places[1 + chance.below(2)], count), peer,
           chance.one_in(2) ? kKeep : 0);
  for (uint32_t row = 0; row < count; ++row) {
    const RowTerm one{local, chance.below(2), 1};
    const RowTerm other{last, chance.below(2), 0.5f};
    sum ? b.row({one, other}) : b.row({chance.one_in(2) ? one : other});
  }
  b.end();
}

Schedule random_schedule(Chance& chance, int nranks, int rank) {
  Schedule s;
  RowBuilder b(nranks, rank, &s);
  for (uint32_t i = chance.below(5); i > 0; --i) {
    if (nranks > 1 && chance.one_in(3)) {
      const Buffer from = chance.one_in(2) ? Buffer::kInput : Buffer::kScratch;
      b.send((rank + 1) % nranks, random_place(b, chance, from, 2));
    } else {
      add_random_rows(b, chance, nranks, rank);
    }
  }
  return s;
}

void damage_step(Schedule& s, Chance& chance) {
  Step& step = chance.any(s.lanes[0].steps);
  switch (chance.below(9)) {
    case 0:
      step.op = static_cast<Op>(chance.number(8));
      break;
    case 1:
      step.n_in = static_cast<uint16_t>(chance.number(4));
      break;
    case 2:
      step.n_out = static_cast<uint16_t>(chance.number(4));
      break;
    case 3:
      step.first = chance.number(static_cast<uint32_t>(s.operands.size()));
      break;
    case 4:
      step.data_chunk = chance.number(6);
      break;
    case 5:
      step.data_nchunks = chance.number(4);
      break;
    case 6:
      step.wait_lane = static_cast<uint16_t>(chance.number(3));
      break;
    case 7:
      step.flags = static_cast<uint8_t>(chance.number(3));
      break;
    default:
      std::swap(step, chance.any(s.lanes[0].steps));
      break;
  }
}

void damage_operand(Operand& o, Chance& chance) {
  switch (chance.below(4)) {
    case 0:
      o.chunk = chance.number(20);
      break;
    case 1:
      o.peer = static_cast<int32_t>(chance.number(4)) - 1;
      break;
    case 2:
      o.buffer = static_cast<Buffer>(chance.number(8));
      break;
    default:
      o.flags = static_cast<uint8_t>(chance.number(4));
      break;
  }
}

void damage_rows(Rows& rows, Chance& chance) {
  switch (chance.below(7)) {
    case 0:
      chance.any(rows.indices) = chance.number(12);
      break;
    case 1:
      chance.any(rows.sets) = {chance.number(30), chance.number(4)};
      break;
    case 2:
      chance.any(rows.terms) = {chance.number(4), chance.number(4),
                                std::numeric_limits<float>::quiet_NaN()};
      break;
    case 3:
      chance.any(rows.ends) = chance.number(12);
      break;
    case 4:
      chance.any(rows.programs).kernel = static_cast<RowKernel>(chance.number(3));
      break;
    case 5:
      chance.any(rows.programs).num_biases = static_cast<uint16_t>(chance.number(3));
      break;
    default:
      chance.any(rows.programs).first_term = chance.number(12);
      break;
  }
}

void damage(Schedule& s, Chance& chance) {
  if (s.lanes[0].steps.empty() || s.rows.programs.empty() || s.rows.terms.empty()) return;
  switch (chance.below(3)) {
    case 0:
      return damage_step(s, chance);
    case 1:
      return damage_operand(chance.any(s.operands), chance);
    default:
      return damage_rows(s.rows, chance);
  }
}

// Checked with and without a contract, and printed. Returns the kind; none: kMalformed + 8.
size_t answer(const RowGroup& group, Chance& chance) {
  const uint32_t slots = 1 + chance.below(3);
  const auto found = check(group, slots, 1 + static_cast<int>(chance.below(2)));
  EXPECT_FALSE(found && describe(*found).empty());
  const auto schedule_of = [&](int rank, Schedule* out) {
    *out = group.ranks[static_cast<size_t>(rank)];
  };
  const auto unpromised = verify(static_cast<int>(group.ranks.size()), schedule_of, {slots, 1});
  EXPECT_FALSE(unpromised && describe(*unpromised).empty());
  EXPECT_FALSE(text_of(group).empty());
  return found ? static_cast<size_t>(found->kind) : 15;
}

RowGroup random_group(Chance& chance) {
  RowGroup group;
  const int nranks = 1 + static_cast<int>(chance.below(2));
  // All ranks do the same, or each its own.
  const bool alike = chance.one_in(2);
  const uint32_t seed = chance.below(1u << 30);
  for (int rank = 0; rank < nranks; ++rank) {
    Chance same(seed);
    group.ranks.push_back(random_schedule(alike ? same : chance, nranks, rank));
  }
  group.contract.num_rows = [](int, Buffer) { return kRowsOfABuffer; };
  if (chance.one_in(2)) return group;
  group.contract.promise = [](RowExpressions& say, int rank, Buffer buffer, uint32_t row) {
    return row == 0 && buffer == Buffer::kOutput
               ? RowPromise::holds(say.row(rank, Buffer::kInput, 0))
               : RowPromise::anything();
  };
  return group;
}

TEST(RowDamage, RandomSchedulesAreAnswered) {
  using Kind = Defect::Kind;
  Chance chance(11);
  std::array<int, 16> kinds{};
  for (int i = 0; i < 6000; ++i) {
    RowGroup group = random_group(chance);
    for (uint32_t times = chance.below(3); times > 0; --times) {
      damage(chance.any(group.ranks), chance);
    }
    ++kinds[answer(group, chance)];
  }
  // They reach every part of the verifier.
  for (const Kind kind : {Kind::kDeadlock, Kind::kWrongResult, Kind::kUnwrittenRead,
                          Kind::kForbiddenWrite, Kind::kUnmatched, Kind::kMalformed}) {
    EXPECT_GT(kinds[static_cast<size_t>(kind)], 10) << name_of(kind);
  }
  EXPECT_GT(kinds[15], 10);
}

TEST(RowDamage, DamagedSchedulesAreAnswered) {
  Chance chance(12);
  const std::vector<RowGroup> right{dispatch(), combine(), combine(true), quantised()};
  int wrong = 0;
  for (int i = 0; i < 6000; ++i) {
    RowGroup group = chance.any(right);
    for (uint32_t times = 1 + chance.below(2); times > 0; --times) {
      damage(chance.any(group.ranks), chance);
    }
    wrong += answer(group, chance) != 15;
  }
  EXPECT_GT(wrong, 3000);
}

}  // namespace
}  // namespace tutti
