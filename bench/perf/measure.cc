#include "bench/perf/measure.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "bench/perf/expert_plan.h"

namespace perf {

using tutti::Code;
using tutti::Result;
using tutti::Status;

namespace {

constexpr double kBatchSeconds = 0.02;
constexpr double kSinglesSeconds = 0.1;
// Even if calls become a thousand times slower in the middle, as they do on a crowded machine.
constexpr long kMostCalls = 2000;
constexpr long kMostSingles = 500;

struct Batch {
  double seconds = 0;      // of the slowest rank
  double cpu_seconds = 0;  // of all processes
};

// A system while a case is measured on it.
class Track {
 public:
  Track(System& system, const Case& c) : system_(system), case_(c) {}

  Status prepare(const Options& options) {
    const auto answers = system_.ask("case " + encode(case_));
    if (!answers.ok()) return answers.status();
    runs_ = answers.value()[0] == "ready";
    if (runs_ && options.check) TUTTI_TRY(check(1));
    return {};
  }

  // Finds how many calls fill a batch, which warms up as well.
  Status calibrate(const Options& options) {
    if (!runs_) return {};
    if (options.warmup && *options.warmup > 0) {
      const Result<Batch> warm = batch(*options.warmup);
      if (!warm.ok()) return warm.status();
    }
    long calls = 1;
    while (true) {
      const Result<Batch> tried = batch(calls);
      if (!tried.ok()) return tried.status();
      call_seconds_ = std::max(tried.value().seconds / static_cast<double>(calls), 1e-8);
      if (tried.value().seconds > kBatchSeconds / 4 || calls >= kMostCalls / 4) break;
      calls *= 4;
    }
    fixed_ = options.iterations.has_value();
    calls_ = fixed_ ? *options.iterations : calls_per_batch();
    return {};
  }

  Status add_batch() {
    if (!runs_) return {};
    const Result<Batch> done = batch(calls_);
    if (!done.ok()) return done.status();
    const auto calls = static_cast<double>(calls_);
    row_.batch_us.push_back(done.value().seconds / calls * 1e6);
    cpu_us_.push_back(done.value().cpu_seconds / calls * 1e6);
    if (done.value().seconds > 4 * kBatchSeconds) {
      call_seconds_ = done.value().seconds / calls;
      if (!fixed_) calls_ = calls_per_batch();
    }
    return {};
  }

  Status finish(const Options& options, size_t bytes) {
    if (!runs_) return {};
    TUTTI_TRY(singles());
    if (options.check) TUTTI_TRY(check(2));
    if (is_expert(case_.collective)) TUTTI_TRY(count_sent());
    const auto ended = system_.ask("end");
    if (!ended.ok()) return ended.status();
    row_.p50_us = median(row_.batch_us);
    row_.cpu_us = median(cpu_us_);
    row_.algbw_gbs = static_cast<double>(bytes) / row_.p50_us * 1e-3;
    row_.busbw_gbs =
        row_.algbw_gbs * bus_factor(case_.collective, static_cast<int>(system_.ranks().size()));
    return {};
  }

  bool runs() const { return runs_; }
  const System& system() const { return system_; }
  const Row& row() const { return row_; }
  Row& row() { return row_; }

 private:
  Status count_sent() {
    const auto answers = system_.ask("sent");
    if (!answers.ok()) return answers.status();
    Sent sent;
    for (const std::string& answer : answers.value()) {
      unsigned long long n[4] = {};
      if (answer == "sent unknown") return {};
      if (std::sscanf(answer.c_str(), "sent %llu %llu %llu %llu", &n[0], &n[1], &n[2], &n[3]) != 4)
        return unexpected(answer);
      sent.payload.near += n[0];
      sent.payload.far += n[1];
      sent.wire.near += n[2];
      sent.wire.far += n[3];
    }
    row_.sent = sent;
    return {};
  }

  Status check(int salt) {
    const auto answers = system_.ask("check " + std::to_string(salt));
    if (!answers.ok()) return answers.status();
    uint64_t wrong = row_.wrong.value_or(0);
    for (const std::string& answer : answers.value()) {
      unsigned long long count = 0;
      if (answer == "none") return {};
      if (std::sscanf(answer.c_str(), "wrong %llu", &count) != 1) return unexpected(answer);
      wrong += count;
    }
    row_.wrong = wrong;
    return {};
  }

  long calls_per_batch() const {
    return std::clamp(std::lround(kBatchSeconds / call_seconds_), 2L, kMostCalls);
  }

  Result<Batch> batch(long calls) {
    const auto answers = system_.ask("batch " + std::to_string(calls));
    if (!answers.ok()) return answers.status();
    Batch result;
    std::map<int, double> cpu;  // by process: ranks may be threads of one
    for (size_t r = 0; r < answers.value().size(); ++r) {
      double seconds = 0;
      double cpu_seconds = 0;
      const std::string& answer = answers.value()[r];
      if (std::sscanf(answer.c_str(), "done %lf %lf", &seconds, &cpu_seconds) != 2) {
        return unexpected(answer);
      }
      result.seconds = std::max(result.seconds, seconds);
      double& of_process = cpu[system_.ranks()[r].pid];
      of_process = std::max(of_process, cpu_seconds);
    }
    for (const auto& [pid, seconds] : cpu) result.cpu_seconds += seconds;
    return result;
  }

  Status singles() {
    const long calls = std::clamp(std::lround(kSinglesSeconds / call_seconds_), 10L, kMostSingles);
    const auto answers = system_.ask("single " + std::to_string(calls));
    if (!answers.ok()) return answers.status();
    std::vector<double> slowest(static_cast<size_t>(calls));
    for (const std::string& answer : answers.value()) {
      if (answer.rfind("times", 0) != 0) return unexpected(answer);
      const char* at = answer.c_str() + 5;
      for (double& us : slowest) {
        char* end = nullptr;
        us = std::max(us, std::strtod(at, &end) * 1e6);
        if (end == at) return unexpected(answer);
        at = end;
      }
    }
    row_.p99_us = percentile(std::move(slowest), 99);
    return {};
  }

  Status unexpected(const std::string& answer) const {
    return tutti::error(Code::kRemoteError, "%s: unexpected answer \"%.80s\"",
                        system_.name().c_str(), answer.c_str());
  }

  System& system_;
  Case case_;
  bool runs_ = false;
  double call_seconds_ = 0;
  long calls_ = 0;
  bool fixed_ = false;  // the user chose calls_
  std::vector<double> cpu_us_;
  Row row_;
};

// The median over pairs of batches.
double paired_ratio(const Row& row, const Row& other) {
  std::vector<double> ratios;
  for (size_t b = 0; b < row.batch_us.size(); ++b) {
    ratios.push_back(row.batch_us[b] / other.batch_us[b]);
  }
  return median(ratios);
}

void compare_with_limit_and_first(std::vector<Track>& tracks) {
  const auto limit = std::find_if(tracks.begin(), tracks.end(), [](const Track& t) {
    return t.runs() && t.system().name() == "limit";
  });
  for (Track& track : tracks) {
    if (!track.runs()) continue;
    if (limit != tracks.end()) track.row().over_bound = paired_ratio(track.row(), limit->row());
    if (tracks[0].runs()) track.row().over_first = paired_ratio(track.row(), tracks[0].row());
  }
}

std::optional<double> ratio_to_best_peer(const std::vector<Track>& tracks) {
  const Row* best = nullptr;
  for (size_t i = 1; i < tracks.size(); ++i) {
    // The limit is a bound, not something that one could use instead.
    if (!tracks[i].runs() || tracks[i].system().name() == "limit") continue;
    if (best == nullptr || tracks[i].row().p50_us < best->p50_us) best = &tracks[i].row();
  }
  if (best == nullptr || !tracks[0].runs()) return std::nullopt;
  return paired_ratio(*best, tracks[0].row());
}

}  // namespace

std::optional<double> bytes_over_least(const CaseResult& result, const Row& row) {
  if (!row.sent || !result.least || result.least->total() == 0) return std::nullopt;
  return static_cast<double>(row.sent->payload.total()) /
         static_cast<double>(result.least->total());
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double percentile(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(percent / 100 * static_cast<double>(values.size()));
  return values[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

Result<CaseResult> measure(const Case& c, const Systems& systems, const Options& options) {
  std::vector<Track> tracks;
  for (const std::unique_ptr<System>& system : systems) tracks.emplace_back(*system, c);
  for (Track& track : tracks) TUTTI_TRY(track.prepare(options));
  for (Track& track : tracks) TUTTI_TRY(track.calibrate(options));
  for (size_t b = 0; b < static_cast<size_t>(options.batches); ++b) {
    // Nobody is always the first, or always after the same one.
    for (size_t i = 0; i < tracks.size(); ++i) {
      TUTTI_TRY(tracks[(b + i) % tracks.size()].add_batch());
    }
  }
  CaseResult result;
  result.c = c;
  result.bytes = bytes_of(c, static_cast<int>(systems[0]->ranks().size()));
  for (Track& track : tracks) TUTTI_TRY(track.finish(options, result.bytes));
  if (is_expert(c.collective)) {
    compare_with_limit_and_first(tracks);
    result.least = least_bytes(c, static_cast<int>(systems[0]->ranks().size()));
  }
  for (const Track& track : tracks) {
    result.rows.push_back(track.runs() ? std::optional<Row>(track.row()) : std::nullopt);
  }
  result.ratio = ratio_to_best_peer(tracks);
  return result;
}

}  // namespace perf
