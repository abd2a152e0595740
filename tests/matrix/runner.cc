#include "tests/matrix/runner.h"

#include <cstdio>
#include <vector>

#include "tests/support/test_data.h"

namespace tutti {

void Runner::fail(const std::string& name, const std::string& text) {
  ++failed_;
  if (text.empty()) return;  // seen by another process
  std::string over = team_.transport();
  over = over == "inproc" ? "" : " --transport " + over;
  std::printf("FAILED %s\n  %s\n  again: matrix_test%s --seed %llu --case \"%s\"\n", name.c_str(),
              text.c_str(), over.c_str(), static_cast<unsigned long long>(seed_), name.c_str());
  std::fflush(stdout);
}

void Runner::run(const Group& group) {
  const Problem problem(group, seed_, team_);
  Case c = group.common;
  if (problem.is_faulty()) {
    fail(name_of(c), problem.fault().empty() ? "" : "reference: " + problem.fault());
    return;
  }
  for (const Variant& variant : group.variants) {
    c.place = variant.place;
    c.memory = variant.memory;
    run_variant(problem, c);
  }
}

void Runner::run_variant(const Problem& problem, const Case& c) {
  const std::string name = name_of(c);
  const std::vector<tuttiComm_t>& comms = communicators_.get(c);
  const uint64_t salt = hash_text(name, seed_);
  const Entries entries{team_.counters(), static_cast<uint64_t>(passed_ + failed_)};
  std::array<std::string, Team::kMostRanks> wrong;
  const Verdict verdict = team_.run(c.nranks, name, [&](int rank) {
    const auto i = static_cast<size_t>(rank);
    if (comms.empty()) {
      wrong[i] = "communicators: " + communicators_.error();
      return Verdict::kBroken;
    }
    RankRun run(problem, {c.place, c.memory}, rank, salt, comms[i], &areas_[i]);
    wrong[i] = run.run(entries);
    if (wrong[i].empty()) return Verdict::kGood;
    return run.call_failed() ? Verdict::kBroken : Verdict::kWrong;
  });
  if (verdict == Verdict::kBroken) communicators_.reset();
  if (verdict == Verdict::kGood) {
    ++passed_;
    return;
  }
  std::string text;
  for (size_t i = 0; i < wrong.size(); ++i) {
    if (wrong[i].empty()) continue;
    text += (text.empty() ? "rank " : "\n  rank ") + std::to_string(i) + ": " + wrong[i];
  }
  fail(name, text);
}

}  // namespace tutti
