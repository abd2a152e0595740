// tutti-perf: measures collectives and puts other systems beside them (docs/benchmarks.md).
//
// Started plainly, it is the harness: it starts ranks and peers as other processes and never runs a
// collective itself. Started by a launcher, it is one of the ranks, and rank 0 is the harness too.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

#include "bench/perf/contest.h"
#include "bench/perf/launched_system.h"
#include "bench/perf/measure.h"
#include "bench/perf/report.h"
#include "bench/perf/start.h"
#include "bench/perf/table.h"
#include "bench/perf/tutti_rank.h"
#include "comm/base/clock.h"

namespace perf {
namespace {

using tutti::Code;
using tutti::Result;
using tutti::Status;

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kInterrupted = 130;

int complain(const Status& status, int code) {
  std::fflush(stdout);
  std::fprintf(stderr, "tutti-perf: %s\n", status.text().c_str());
  return code;
}

// A line on standard error now and then, for sweeps that take long.
class Progress {
 public:
  explicit Progress(size_t cases) : cases_(cases) {}
  ~Progress() { clear(); }

  void next(const Case& c, int nranks) {
    const int64_t now = tutti::now_ns();
    ++at_;
    const bool terminal = isatty(STDERR_FILENO) == 1;
    if (now - said_ns_ < (terminal ? 1 : 10) * int64_t{1000000000}) return;
    said_ns_ = now;
    std::fprintf(stderr, "%stutti-perf: %s, %zu bytes: case %zu of %zu, %.0f s%s",
                 terminal ? "\r\033[K" : "", name_of(c.collective), bytes_of(c, nranks), at_,
                 cases_, static_cast<double>(now - begun_ns_) * 1e-9, terminal ? "" : "\n");
    dirty_ = terminal;
  }
  // Before anything else is printed.
  void clear() {
    if (dirty_) std::fprintf(stderr, "\r\033[K");
    dirty_ = false;
  }

 private:
  size_t cases_;
  size_t at_ = 0;
  int64_t begun_ns_ = tutti::now_ns();
  int64_t said_ns_ = begun_ns_;
  bool dirty_ = false;
};

Status draw(const std::string& json, const std::string& picture) {
  Children children;
  TUTTI_TRY(children.start(
      "the plot", {"/usr/bin/python3", program_folder() + "/tutti-perf-plot.py", json, picture},
      {}));
  return children.finish(120);
}

Status write_reports(const std::vector<CaseResult>& results, const Systems& systems,
                     const Options& options) {
  const std::string text = to_json(results, systems, options);
  if (!options.json.empty()) TUTTI_TRY(write_file(options.json, text));
  if (options.plot.empty()) return {};
  PrivateFolder folder;
  TUTTI_TRY(folder.make());
  const std::string rows = folder.path() + "/rows.json";
  TUTTI_TRY(write_file(rows, text));
  TUTTI_TRY(draw(rows, options.plot));
  std::printf("# picture: %s\n", options.plot.c_str());
  return {};
}

Result<std::vector<Case>> all_cases(const Options& options, int nranks) {
  if (options.root >= nranks) {
    return tutti::error(Code::kInvalidArgument, "-r %d: there are %d ranks", options.root, nranks);
  }
  std::vector<Case> cases;
  for (const Collective collective : options.collectives) {
    const std::vector<Case> some = cases_of(options, collective, nranks);
    cases.insert(cases.end(), some.begin(), some.end());
  }
  if (!cases.empty()) return cases;
  return tutti::error(Code::kInvalidArgument,
                      "no size from %zu to %zu bytes has an element for each of %d ranks",
                      options.smallest, options.largest, nranks);
}

Result<std::vector<CaseResult>> sweep(const std::vector<Case>& cases, const Systems& systems,
                                      const Options& options) {
  std::fputs(describe_ranks(systems).c_str(), stdout);
  Progress progress(cases.size());
  std::vector<CaseResult> results;
  for (const Case& c : cases) {
    if (results.empty() || results.back().c.collective != c.collective || is_expert(c.collective)) {
      progress.clear();
      std::fputs(table_head(c, systems, options).c_str(), stdout);
      std::fflush(stdout);
    }
    progress.next(c, static_cast<int>(systems[0]->ranks().size()));
    Result<CaseResult> result = measure(c, systems, options);
    if (!result.ok()) return result.status();
    progress.clear();
    std::fputs(table_line(result.value(), systems).c_str(), stdout);
    std::fflush(stdout);
    results.push_back(std::move(result.value()));
  }
  return results;
}

uint64_t count_wrong(const std::vector<CaseResult>& results) {
  uint64_t wrong = 0;
  for (const CaseResult& result : results) {
    for (const std::optional<Row>& row : result.rows) wrong += row ? row->wrong.value_or(0) : 0;
  }
  return wrong;
}

int verdict(const std::vector<CaseResult>& results) {
  const uint64_t wrong = count_wrong(results);
  if (wrong == 0) return 0;
  std::fprintf(stderr, "tutti-perf: %llu elements were wrong\n",
               static_cast<unsigned long long>(wrong));
  return kFailed;
}

// `tutti-perf select`.
int run_contests(const Options& options) {
  const int nranks = options.ranks.value_or(2);
  const Result<std::vector<Case>> cases = all_cases(options, nranks);
  if (!cases.ok()) return complain(cases.status(), kUsage);
  std::vector<Contested> contests;
  std::vector<CaseResult> results;
  for (const Collective collective : options.collectives) {
    const std::vector<Case> some = cases_of(options, collective, nranks);
    if (some.empty()) continue;
    Result<Contested> contested = contest(some, options, nranks);
    if (!contested.ok()) {
      const bool interrupted = contested.status().code() == Code::kAborted;
      return complain(contested.status(), interrupted ? kInterrupted : kFailed);
    }
    contests.push_back(std::move(contested.value()));
    const std::vector<CaseResult>& more = contests.back().results;
    results.insert(results.end(), more.begin(), more.end());
  }
  std::printf("\n# For comm/runtime/selection_table.cc:\n");
  for (const Contested& contested : contests) {
    for (const tutti::SelectionRow& row : contested.rows) std::puts(source_of(row).c_str());
  }
  if (!options.json.empty()) {
    const Status written = write_file(options.json, to_json(contests, options));
    if (!written.ok()) return complain(written, kFailed);
  }
  return verdict(results);
}

// Times of experts are told over what memory allows, whatever else is beside them.
Options with_limit(const Options& given) {
  Options options = given;
  if (!is_expert(options.collectives.front())) return options;
  std::vector<std::string>& peers = options.peers;
  if (std::find(peers.begin(), peers.end(), "limit") == peers.end()) peers.push_back("limit");
  return options;
}

int run_here(const Options& given) {
  const Options options = with_limit(given);
  const int nranks = options.ranks.value_or(2);
  const Result<std::vector<Case>> cases = all_cases(options, nranks);
  if (!cases.ok()) return complain(cases.status(), kUsage);
  PrivateFolder folder;
  Children children;
  const Status made = folder.make();
  if (!made.ok()) return complain(made, kFailed);
  const auto failed = [&](const Status& status) {
    // Before they see their sockets close, which would make them all complain.
    children.end();
    return complain(status, children.interrupted() ? kInterrupted : kFailed);
  };
  const Result<Systems> systems = start_systems(options, nranks, children, folder);
  if (!systems.ok()) return failed(systems.status());
  const Result<std::vector<CaseResult>> results = sweep(cases.value(), systems.value(), options);
  if (!results.ok()) return failed(results.status());
  for (const std::unique_ptr<System>& system : systems.value()) {
    const Status quit = system->quit();
    if (!quit.ok()) return failed(quit);
  }
  const Status finished = children.finish(60);
  const Status written = write_reports(results.value(), systems.value(), options);
  if (!written.ok()) return failed(written);
  if (!finished.ok()) return failed(finished);
  return verdict(results.value());
}

// Rank 0 of launched ranks. *released: the others know that it is over.
int lead(tuttiComm_t comm, RankServer& server, const std::vector<Case>& cases,
         const Options& options, bool* released) {
  Systems systems;
  auto tutti = std::make_unique<LaunchedSystem>(comm, server);
  const Status met = tutti->meet();
  if (!met.ok()) return complain(met, kFailed);
  systems.push_back(std::move(tutti));
  const Result<std::vector<CaseResult>> results = sweep(cases, systems, options);
  if (!results.ok()) return complain(results.status(), kFailed);
  const Status quit = systems[0]->quit();
  if (!quit.ok()) return complain(quit, kFailed);
  *released = true;
  const Status written = write_reports(results.value(), systems, options);
  if (!written.ok()) return complain(written, kFailed);
  return verdict(results.value());
}

int run_launched(const Options& options, const Launch& launch) {
  const auto refuse = [&](const Status& status) {
    return launch.rank == 0 ? complain(status, kUsage) : kUsage;
  };
  if (!options.peers.empty()) {
    return refuse(tutti::error(Code::kInvalidUsage,
                               "--peers needs ranks that tutti-perf starts itself; %s says that a "
                               "launcher started this one: run it without the launcher, with -n",
                               launch.variable.c_str()));
  }
  if (options.select) {
    return refuse(
        tutti::error(Code::kInvalidUsage,
                     "select starts its ranks itself, and %s says that a launcher started "
                     "this one: run it without the launcher, with -n",
                     launch.variable.c_str()));
  }
  if (options.ranks.value_or(launch.nranks) != launch.nranks) {
    return refuse(tutti::error(Code::kInvalidUsage, "-n %d, but the launcher started %d ranks (%s)",
                               *options.ranks, launch.nranks, launch.variable.c_str()));
  }
  const Result<std::vector<Case>> cases = all_cases(options, launch.nranks);
  if (!cases.ok()) return refuse(cases.status());
  const Result<tuttiComm_t> comm = join_launched_ranks({options.transport, algorithms_of(options)});
  if (!comm.ok()) return complain(comm.status(), kFailed);
  TuttiRank rank(comm.value());
  RankServer server(rank);
  int code = 0;
  bool released = false;
  if (rank.rank() == 0) {
    code = lead(comm.value(), server, cases.value(), options, &released);
  } else {
    const Status followed = LaunchedSystem::follow(comm.value(), server);
    released = followed.ok();
    if (!released) code = complain(followed, kFailed);
  }
  // Whoever stopped early must not keep the others waiting.
  if (!released) tuttiCommAbort(comm.value());
  const Status left = leave(comm.value());
  return code != 0 || left.ok() ? code : complain(left, kFailed);
}

int run(int argc, char** argv) {
  const CommandLine line = read_command_line(argc, argv);
  if (line.exit_code) return *line.exit_code;
  const Options& options = line.options;
  if (options.serve) {
    return serve_tutti(options.socket, {options.transport, options.algorithms}, options.threads);
  }
  const Launch launch = find_launch();
  if (!launch.variable.empty()) return run_launched(options, launch);
  return options.select ? run_contests(options) : run_here(options);
}

}  // namespace
}  // namespace perf

int main(int argc, char** argv) { return perf::run(argc, argv); }
