// tutti-schedule: shows the schedules of the catalogue and verifies them for any number of ranks.
//
// Exits 0 when all is well, 1 when a schedule is wrong (the counter-example is printed) and 2 when
// the command line or a file is.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "comm/schedule/catalog.h"
#include "comm/schedule/text.h"
#include "comm/tools/cli.h"
#include "comm/tools/rank_list.h"
#include "comm/verify/sweep.h"

namespace tutti {
namespace {

constexpr int kWrong = 1;
constexpr int kBadUsage = 2;

int bad_usage(const std::string& text) {
  std::fprintf(stderr, "tutti-schedule: %s\n", text.c_str());
  return kBadUsage;
}

std::string known_collectives() {
  std::string out;
  for (int i = 0; i < kNumCollectives; ++i) {
    out += (i == 0 ? "" : ", ") + std::string(name_of(static_cast<Collective>(i)));
  }
  return out;
}

int list() {
  for (const Algorithm& a : catalog()) {
    std::printf("%-15s %-19s %s\n", name_of(a.collective), a.name, a.summary);
  }
  return 0;
}

// The algorithms that the two names leave; empty names leave all. Sets `problem` when none.
std::vector<const Algorithm*> select(const std::string& collective, const std::string& algorithm,
                                     std::string* problem) {
  std::vector<const Algorithm*> chosen;
  const auto wanted = parse_collective(collective);
  if (!collective.empty() && !wanted) {
    *problem = "no collective is called '" + collective + "'; there are " + known_collectives();
    return chosen;
  }
  std::string there_are;
  for (const Algorithm& a : catalog()) {
    if (wanted && a.collective != *wanted) continue;
    if ((", " + there_are + ",").find(", " + std::string(a.name) + ",") == std::string::npos) {
      there_are += (there_are.empty() ? "" : ", ") + std::string(a.name);
    }
    if (algorithm.empty() || algorithm == a.name) chosen.push_back(&a);
  }
  if (chosen.empty()) {
    *problem = "no algorithm " + (collective.empty() ? "" : "of " + collective + " ") +
               "is called '" + algorithm + "'; there are " + there_are;
  }
  return chosen;
}

struct ShowOptions {
  std::string collective, algorithm;
  std::optional<int> ranks, rank, root, pieces;
  bool in_place = false, plain = false;
};

int show(const ShowOptions& o) {
  std::string problem;
  const auto chosen = select(o.collective, o.algorithm, &problem);
  if (chosen.empty()) return bad_usage(problem);
  if (!o.ranks || *o.ranks < 1 || *o.ranks > 65536) {
    return bad_usage("show needs --ranks from 1 to 65536");
  }
  const int n = *o.ranks;
  const auto out_of_range = [n](const std::optional<int>& rank) {
    return rank && (*rank < 0 || *rank >= n);
  };
  if (out_of_range(o.rank)) return bad_usage("--rank must be from 0 to " + std::to_string(n - 1));
  if (out_of_range(o.root)) return bad_usage("--root must be from 0 to " + std::to_string(n - 1));
  if (o.pieces && (*o.pieces < 1 || *o.pieces > 65536)) {
    return bad_usage("--pieces must be from 1 to 65536");
  }
  Params p;
  p.nranks = n;
  p.root = o.root.value_or(0);
  p.pieces = o.pieces.value_or(1);
  p.in_place = o.in_place;
  Schedule schedule;
  for (int rank = o.rank.value_or(0); rank <= o.rank.value_or(n - 1); ++rank) {
    p.rank = rank;
    o.plain ? chosen[0]->build(p, &schedule) : make_schedule(*chosen[0], p, &schedule);
    std::fputs(print(schedule).c_str(), stdout);
  }
  return 0;
}

struct VerifyCommand {
  std::string collective, algorithm, ranks, file;
  std::optional<int> slots;
};

// What all jobs of one algorithm found together.
struct Line {
  const Algorithm* algorithm;
  SweepResult total;
};

void merge(const SweepResult& one, SweepResult* total) {
  total->cases += one.cases;
  total->slots = std::max(total->slots, one.slots);
  total->plain_slots = std::max(total->plain_slots, one.plain_slots);
  // Jobs end in any order; the case with the shorter text is the smaller n.
  const bool smaller =
      !total->defect || one.failed_case.size() < total->failed_case.size() ||
      (one.failed_case.size() == total->failed_case.size() && one.failed_case < total->failed_case);
  if (one.defect && smaller) {
    total->defect = one.defect;
    total->failed_case = one.failed_case;
  }
}

// One job per (algorithm, n), the largest n first so that no thread ends up with a big one alone.
std::vector<Line> sweep_all(const std::vector<const Algorithm*>& algorithms,
                            std::vector<int> ranks) {
  std::sort(ranks.rbegin(), ranks.rend());
  const size_t num_jobs = ranks.size() * algorithms.size();
  std::vector<SweepResult> results(num_jobs);
  std::atomic<size_t> next{0};
  const auto work = [&] {
    Verifier verifier;
    for (;;) {
      // Relaxed: it only hands out numbers; the results are read after join().
      const size_t job = next.fetch_add(1, std::memory_order_relaxed);
      if (job >= num_jobs) return;
      const Algorithm& algorithm = *algorithms[job % algorithms.size()];
      results[job] = sweep(algorithm, ranks[job / algorithms.size()], &verifier);
    }
  };
  std::vector<std::thread> threads;
  const unsigned num_threads = std::clamp(std::thread::hardware_concurrency(), 1u, 8u);
  for (unsigned i = 1; i < num_threads; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  std::vector<Line> lines;
  for (size_t a = 0; a < algorithms.size(); ++a) {
    lines.push_back({algorithms[a], {}});
    for (size_t i = 0; i < ranks.size(); ++i) {
      merge(results[i * algorithms.size() + a], &lines.back().total);
    }
  }
  return lines;
}

int verify_catalog(const VerifyCommand& o) {
  std::string problem;
  const auto algorithms = select(o.collective, o.algorithm, &problem);
  if (algorithms.empty()) return bad_usage(problem);
  const Result<std::vector<int>> ranks = parse_rank_list(o.ranks);
  if (!ranks.ok()) return bad_usage("--ranks: " + ranks.status().text());
  int exit_code = 0;
  for (const Line& line : sweep_all(algorithms, ranks.value())) {
    const SweepResult& r = line.total;
    std::printf("%-15s %-19s ", name_of(line.algorithm->collective), line.algorithm->name);
    if (!r.defect) {
      std::printf("ok  minimum K %u (before fusing %u)  %llu cases\n", r.slots, r.plain_slots,
                  static_cast<unsigned long long>(r.cases));
      continue;
    }
    std::printf("WRONG with %s\n%s\n", r.failed_case.c_str(), describe(*r.defect).c_str());
    exit_code = kWrong;
  }
  return exit_code;
}

// A file holds the schedules of all ranks one after another, as show prints them.
Result<std::vector<Schedule>> read_schedules(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return error(Code::kInvalidArgument, "cannot read '%s'", path.c_str());
  std::vector<Schedule> schedules;
  std::string line, text;
  int number = 1, first = 1;
  const auto flush = [&]() -> Status {
    if (text.find_first_not_of(" \t\r\n") == std::string::npos) return {};
    Result<Schedule> one = parse_schedule(text, first);
    if (!one.ok()) return one.status();
    schedules.push_back(std::move(one.value()));
    return {};
  };
  for (; std::getline(in, line); ++number) {
    if (line.rfind("schedule ", 0) == 0) {
      TUTTI_TRY(flush());
      text.clear();
      first = number;
    }
    text += line + "\n";
  }
  TUTTI_TRY(flush());
  if (schedules.empty()) return error(Code::kInvalidArgument, "no schedule in '%s'", path.c_str());
  if (schedules.size() != static_cast<size_t>(schedules[0].nranks)) {
    return error(Code::kInvalidArgument, "expected the schedules of %d ranks, got %zu",
                 schedules[0].nranks, schedules.size());
  }
  return schedules;
}

int verify_file(const VerifyCommand& o) {
  if (o.slots && *o.slots < 1) return bad_usage("--slots must be at least 1");
  const Result<std::vector<Schedule>> read = read_schedules(o.file);
  if (!read.ok()) return bad_usage(read.status().text());
  const std::vector<Schedule>& schedules = read.value();
  const auto schedule_of = [&](int rank, Schedule* out) {
    *out = schedules[static_cast<size_t>(rank)];
  };
  const int n = schedules[0].nranks;
  MinimumSlots found;
  if (o.slots) {
    found.slots = static_cast<uint32_t>(*o.slots);
    found.defect = verify(n, schedule_of, {found.slots, 2});
  } else {
    found = minimum_slots(n, schedule_of, static_cast<uint32_t>(4 * n + 16));
  }
  if (found.defect) {
    std::printf("WRONG\n%s\n", describe(*found.defect).c_str());
    return kWrong;
  }
  std::printf("ok  %s K %u\n", o.slots ? "with" : "minimum", found.slots);
  return 0;
}

int verify_command(const VerifyCommand& o) {
  if (o.file.empty()) {
    if (o.slots) return bad_usage("--slots goes with --file; the catalogue is searched for K");
    return verify_catalog(o);
  }
  if (!o.collective.empty() || !o.algorithm.empty() || !o.ranks.empty()) {
    return bad_usage("--file says itself what it holds: no --collective, --algorithm or --ranks");
  }
  return verify_file(o);
}

int run(int argc, char** argv) {
  Cli cli("tutti-schedule", "Shows and verifies the schedules behind Tutti's collectives.");
  const Cli::Command& list_it = cli.command("list", "Lists the catalogue.");
  Cli::Command& show_it = cli.command("show", "Prints the schedule of one rank, or of all.");
  ShowOptions show_options;
  show_it.positional("COLLECTIVE", &show_options.collective, "e.g. all_reduce");
  show_it.positional("ALGORITHM", &show_options.algorithm, "e.g. ring");
  show_it.option("--ranks", &show_options.ranks, "number of ranks");
  show_it.option("--rank", &show_options.rank, "this rank only");
  show_it.option("--root", &show_options.root, "root of a rooted collective (0)");
  show_it.option("--pieces", &show_options.pieces, "how finely a pipelined algorithm cuts (1)");
  show_it.flag("--in-place", &show_options.in_place, "input and output share memory");
  show_it.flag("--plain", &show_options.plain, "as the algorithm writes it, before fusing");
  Cli::Command& verify_it = cli.command("verify", "Verifies the catalogue, or a file.");
  VerifyCommand verify_options;
  verify_it.option("--collective", &verify_options.collective, "this one only");
  verify_it.option("--algorithm", &verify_options.algorithm, "this one only");
  verify_it.option("--ranks", &verify_options.ranks, "numbers of ranks, e.g. 1..64,127..129");
  verify_it.option("--file", &verify_options.file, "schedules of all ranks, as show prints them");
  verify_it.option("--slots", &verify_options.slots, "K of every channel, with --file");
  if (const std::optional<int> exit_code = cli.parse(argc, argv)) return *exit_code;
  if (list_it.chosen()) return list();
  if (show_it.chosen()) return show(show_options);
  return verify_command(verify_options);
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) { return tutti::run(argc, argv); }
