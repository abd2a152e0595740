#include "comm/verify/verify.h"

#include "comm/schedule/text.h"
#include "comm/verify/report.h"
#include "comm/verify/verifier.h"

namespace tutti {

namespace {
constexpr size_t kMaxRowsText = 400;  // of a step with rows, whose lists may be of any length
}

const char* name_of(Defect::Kind kind) {
  switch (kind) {
    case Defect::Kind::kDeadlock:
      return "deadlock";
    case Defect::Kind::kWrongResult:
      return "wrong result";
    case Defect::Kind::kReductionOrder:
      return "reduction order";
    case Defect::Kind::kNotFinal:
      return "not final once";
    case Defect::Kind::kUnwrittenRead:
      return "unwritten read";
    case Defect::Kind::kForbiddenWrite:
      return "forbidden write";
    case Defect::Kind::kRace:
      return "race between lanes";
    case Defect::Kind::kOfferConflict:
      return "offer conflict";
    case Defect::Kind::kFalseReply:
      return "false reply";
    case Defect::Kind::kUnmatched:
      return "unmatched message";
    case Defect::Kind::kMalformed:
      return "malformed schedule";
    case Defect::Kind::kBarrierLeak:
      return "barrier leak";
  }
  return "unknown defect";
}

std::string describe(const Defect& d) {
  std::string out = std::string(name_of(d.kind)) + ": rank " + std::to_string(d.rank);
  if (d.step != Defect::kNoStep) {
    out += ", lane " + std::to_string(d.lane) + ", step " + std::to_string(d.step);
  }
  if (!d.place.empty()) {
    out += ", " + d.place;
  } else if (d.chunk != Defect::kNoStep) {
    out += ", chunk " + std::to_string(d.chunk);
  }
  if (d.round > 0) out += ", round " + std::to_string(d.round + 1);
  if (!d.step_text.empty()) out += "\n  step      " + d.step_text;
  out += "\n  expected  " + d.expected + "\n  got       " + d.got;
  return out;
}

std::optional<Defect> Verifier::run(const VerifyOptions& options) {
  std::optional<Defect> found = run_.run(world_, options, false);
  if (!found || found->kind == Defect::Kind::kDeadlock) return found;
  // The same run again, this time keeping what every chunk holds.
  return run_.run(world_, options, true);
}

void Verifier::add_step_text(const ScheduleOf& schedule_of, Defect* d) {
  if (d->step == Defect::kNoStep) return;
  schedule_of(d->rank, &schedule_);
  if (d->lane >= schedule_.lanes.size()) return;
  const auto& steps = schedule_.lanes[d->lane].steps;
  if (d->step >= steps.size()) return;
  d->step_text = print_step(schedule_, steps[d->step]);
  if (schedule_.rows.empty() || d->step_text.size() <= kMaxRowsText) return;
  d->step_text.resize(kMaxRowsText);
  d->step_text += " ...";
}

std::optional<Defect> Verifier::verify(int nranks, const ScheduleOf& schedule_of,
                                       const VerifyOptions& options, const RowContract* contract) {
  std::optional<Defect> found = world_.load(nranks, schedule_of, contract);
  if (!found) found = run(options);
  if (found) add_step_text(schedule_of, &*found);
  return found;
}

MinimumSlots Verifier::minimum_slots(int nranks, const ScheduleOf& schedule_of, uint32_t least,
                                     uint32_t most, const RowContract* contract) {
  MinimumSlots result;
  VerifyOptions options;
  const auto deadlocks = [](const std::optional<Defect>& d) {
    return d && d->kind == Defect::Kind::kDeadlock;
  };
  result.defect = world_.load(nranks, schedule_of, contract);
  uint32_t good = least;
  if (!result.defect) {
    options.slots = least;
    result.defect = run(options);
  }
  if (deadlocks(result.defect) && least < most) {
    options.slots = most;
    result.defect = run(options);
    // More slots never hurt: halve the distance between one that deadlocks and one that does not.
    uint32_t bad = least;
    good = most;
    while (!result.defect && good - bad > 1) {
      options.slots = bad + (good - bad) / 2;
      if (deadlocks(run(options))) {
        bad = options.slots;
      } else {
        good = options.slots;
      }
    }
  }
  if (result.defect) {
    add_step_text(schedule_of, &*result.defect);
  } else {
    result.slots = good;
  }
  return result;
}

std::optional<Defect> verify(int nranks, const ScheduleOf& schedule_of,
                             const VerifyOptions& options) {
  return Verifier().verify(nranks, schedule_of, options);
}

MinimumSlots minimum_slots(int nranks, const ScheduleOf& schedule_of, uint32_t most) {
  return Verifier().minimum_slots(nranks, schedule_of, 1, most);
}

std::optional<Defect> verify_rows(int nranks, const ScheduleOf& schedule_of,
                                  const RowContract& contract, const VerifyOptions& options) {
  return Verifier().verify(nranks, schedule_of, options, &contract);
}

MinimumSlots minimum_slots_of_rows(int nranks, const ScheduleOf& schedule_of,
                                   const RowContract& contract, uint32_t most) {
  return Verifier().minimum_slots(nranks, schedule_of, 1, most, &contract);
}

}  // namespace tutti
