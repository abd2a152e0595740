#include "tests/matrix/runner.h"

#include <cstdio>
#include <vector>

#include "tests/support/test_data.h"

namespace tutti {

Runner::Runner(uint64_t seed) : seed_(seed) {}

void Runner::fail(const std::string& name, const std::string& text) {
  ++failed_;
  std::printf("FAILED %s\n  %s\n  again: matrix_test --seed %llu --case \"%s\"\n", name.c_str(),
              text.c_str(), static_cast<unsigned long long>(seed_), name.c_str());
  std::fflush(stdout);
}

void Runner::run(const Group& group) {
  const Problem problem(group, seed_, team_);
  Case c = group.common;
  if (!problem.fault().empty()) {
    fail(name_of(c), "reference: " + problem.fault());
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
  if (comms.empty()) {
    fail(name, "communicators: " + communicators_.error());
    return;
  }
  const uint64_t salt = hash_text(name, seed_);
  SharedState shared;
  std::vector<std::string> wrong(static_cast<size_t>(c.nranks));
  std::vector<char> broken(static_cast<size_t>(c.nranks));
  team_.run(c.nranks, name, [&](int rank) {
    const auto i = static_cast<size_t>(rank);
    RankRun run(problem, {c.place, c.memory}, rank, salt, comms[i], &areas_[i]);
    wrong[i] = run.run(shared);
    broken[i] = run.call_failed() ? 1 : 0;
  });
  std::string text;
  bool usable = true;
  for (size_t i = 0; i < wrong.size(); ++i) {
    if (wrong[i].empty()) continue;
    text += (text.empty() ? "rank " : "\n  rank ") + std::to_string(i) + ": " + wrong[i];
    usable = usable && broken[i] == 0;
  }
  if (!usable) communicators_.reset();
  if (text.empty()) {
    ++passed_;
  } else {
    fail(name, text);
  }
}

}  // namespace tutti
