// The correctness matrix: every collective, type, operator, algorithm, number of ranks, count,
// placement and kind of memory through the C API, bit by bit against scalar references. Ranks are
// threads over inproc, or with --transport the processes of a job, one each:
//   tutti-run -n 8 matrix_test --transport gloo
// which leaves out cases of more ranks than the job has.
//
//   matrix_test                     a seeded sample: every pair of parameter values, every cell
//   matrix_test --full              all of it
//   matrix_test --seed N            other data, another sample
//   matrix_test --case NAME         one case by its printed name
//   matrix_test --no-large          without the count of 2^20 + 3 (for slow builds)
//   matrix_test --part K/N          every N-th group, starting with the K-th
//   matrix_test --transport NAME    one rank of a job over this transport
//   matrix_test --list              names of the groups, nothing runs
//   matrix_test --verbose           names every group as it starts
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "tests/matrix/process_team.h"
#include "tests/matrix/runner.h"
#include "tests/matrix/selection.h"
#include "tests/matrix/thread_team.h"

namespace tutti {
namespace {

constexpr int kMostFailures = 100;  // more tell nothing new, and a broken call may cost its timeout

struct Options {
  SelectionOptions selection;
  bool full = false;
  bool list = false;
  bool verbose = false;
  std::string one;
  std::string transport = "inproc";
  size_t part = 0;
  size_t parts = 1;
};

bool parse_options(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (argument == "--full") {
      options->full = true;
    } else if (argument == "--no-large") {
      options->selection.large = false;
    } else if (argument == "--list") {
      options->list = true;
    } else if (argument == "--verbose") {
      options->verbose = true;
    } else if (argument == "--seed" && value != nullptr) {
      options->selection.seed = std::strtoull(argv[++i], nullptr, 10);
    } else if (argument == "--case" && value != nullptr) {
      options->one = argv[++i];
    } else if (argument == "--transport" && value != nullptr) {
      options->transport = argv[++i];
    } else if (argument == "--part" && value != nullptr) {
      ++i;
      if (std::sscanf(value, "%zu/%zu", &options->part, &options->parts) != 2) return false;
      if (options->parts == 0) return false;
    } else {
      return false;
    }
  }
  return true;
}

std::unique_ptr<Team> make_team(const Options& options) {
  if (options.transport == "inproc") return std::make_unique<ThreadTeam>();
  std::string error;
  std::unique_ptr<Team> team = ProcessTeam::join(options.transport, &error);
  if (team == nullptr) std::fprintf(stderr, "matrix_test: %s\n", error.c_str());
  return team;
}

std::vector<Group> select_groups(const Options& options, int ranks) {
  std::vector<Group> groups;
  if (!options.one.empty()) {
    const std::optional<Case> c = parse_case(options.one);
    if (c.has_value()) groups = {group_of(*c)};
  } else {
    groups = options.full ? whole_matrix(options.selection) : pairwise_sample(options.selection);
  }
  std::erase_if(groups, [ranks](const Group& group) { return group.common.nranks > ranks; });
  return groups;
}

void print_size(const Options& options, const std::vector<Group>& groups) {
  size_t cases = 0;
  size_t large = 0;
  for (const Group& group : groups) {
    cases += group.variants.size();
    large += group.common.count == Count::kLarge ? group.variants.size() : 0;
  }
  std::printf("seed %llu: %zu groups, %zu cases (%zu large)\n",
              static_cast<unsigned long long>(options.selection.seed), groups.size(), cases, large);
}

// All processes of a team come to the same end.
int run(const Options& options, Team& team) {
  const std::vector<Group> groups = select_groups(options, team.size());
  const bool speaks = team.is_speaker();
  if (groups.empty()) {
    if (speaks) std::fprintf(stderr, "matrix_test: no such case for up to %d ranks\n", team.size());
    return 2;
  }
  if (speaks) print_size(options, groups);
  Runner runner(options.selection.seed, team);
  for (size_t i = options.part; i < groups.size(); i += options.parts) {
    if (speaks && (options.list || options.verbose)) {
      std::printf("%s x %zu\n", name_of(groups[i]).c_str(), groups[i].variants.size());
      std::fflush(stdout);
    }
    if (!options.list) runner.run(groups[i]);
    if (runner.failed() < kMostFailures) continue;
    if (speaks) std::printf("stopped after %d failures\n", runner.failed());
    break;
  }
  if (speaks) std::printf("%d passed, %d failed\n", runner.passed(), runner.failed());
  return runner.failed() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) {
  tutti::Options options;
  if (!tutti::parse_options(argc, argv, &options)) {
    std::fprintf(stderr,
                 "usage: matrix_test [--transport NAME] [--full] [--seed N] [--case NAME] "
                 "[--no-large] [--part K/N] [--list] [--verbose]\n");
    return 2;
  }
  const std::unique_ptr<tutti::Team> team = tutti::make_team(options);
  return team == nullptr ? 2 : tutti::run(options, *team);
}
