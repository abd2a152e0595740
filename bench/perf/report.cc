#include "bench/perf/report.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/perf/environment.h"

namespace perf {

using Json = nlohmann::ordered_json;
using tutti::Code;

namespace {

// The value of the first line of `path` that begins with `key`, as /proc writes them.
std::string proc_value(const char* path, const std::string& key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind(key, 0) != 0) continue;
    const size_t value = line.find_first_not_of(" \t:", key.size());
    return value == std::string::npos ? "" : line.substr(value);
  }
  return "";
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

Json host_facts() {
  utsname system{};
  uname(&system);
  return {{"name", system.nodename},
          {"kernel", system.release},
          {"cpu", proc_value("/proc/cpuinfo", "model name")},
          {"online_cpus", sysconf(_SC_NPROCESSORS_ONLN)},
          {"memory", proc_value("/proc/meminfo", "MemTotal")}};
}

Json config_of(const Options& options) {
  Json variables = Json::object();
  for (const auto& [name, value] : tutti_variables()) variables[name] = value;
  return {{"batches", options.batches},
          {"iterations", options.iterations ? Json(*options.iterations) : Json("by time")},
          {"warmup", options.warmup ? Json(*options.warmup) : Json("by time")},
          {"root", options.root == kRotatingRoot ? Json("rotating") : Json(options.root)},
          {"in_place", options.in_place},
          {"check", options.check},
          {"environment", variables}};
}

// Where algorithms are compared every system is Tutti, and is named after its own.
std::string label_of(const System& system, const Options& options) {
  return options.select ? "tutti" : system.name();
}

Json meta_of(const Systems& systems, const Options& options) {
  Json versions = Json::object();
  Json cpus = Json::object();
  for (const std::unique_ptr<System>& system : systems) {
    const std::string label = label_of(*system, options);
    if (cpus.contains(label)) continue;
    versions[label] = system->ranks()[0].version;
    for (const RankFacts& rank : system->ranks()) cpus[label].push_back(rank.cpus);
  }
  return {{"time", utc_now()},
          {"host", host_facts()},
          {"versions", versions},
          {"cpus", cpus},
          {"config", config_of(options)}};
}

// How a system does it: Tutti's algorithm, the way of a peer ("openmpi-dedup").
Json algo_of(const ExpertShape& shape, const System& system) {
  if (system.name() == "tutti") return name_of(shape.algo);
  const size_t dash = system.name().find('-');
  return dash == std::string::npos ? Json() : Json(system.name().substr(dash + 1));
}

Json expert_fields(const CaseResult& result, const Row& row, const System& system) {
  const ExpertShape& s = result.c.expert;
  const auto total = [](const Tiers* t) { return t != nullptr ? Json(t->total()) : Json(); };
  const auto by_tier = [](const Tiers* t) {
    return t != nullptr ? Json::array({t->near, t->far}) : Json();
  };
  const Tiers* const payload = row.sent ? &row.sent->payload : nullptr;
  const Tiers* const wire = row.sent ? &row.sent->wire : nullptr;
  const Tiers* const least = result.least ? &*result.least : nullptr;
  const std::optional<double> over_min = bytes_over_least(result, row);
  return {{"tokens", s.tokens},
          {"hidden", s.hidden},
          {"topk", s.topk},
          {"experts", s.experts},
          {"layout", name_of(s.layout)},
          {"quant", name_of(s.quant)},
          {"reduce", name_of(s.reduce)},
          {"direction", s.backward ? "bwd" : "fwd"},
          {"routing", routing_name(s)},
          {"ranks_per_node", s.ranks_per_node},
          {"algo", algo_of(s, system)},
          {"payload_bytes", total(payload)},
          {"payload_by_tier", by_tier(payload)},
          {"wire_bytes", total(wire)},
          {"wire_by_tier", by_tier(wire)},
          {"min_bytes", total(least)},
          {"min_by_tier", by_tier(least)},
          {"bytes_over_min", over_min ? Json(*over_min) : Json()},
          {"time_over_bound", row.over_bound ? Json(*row.over_bound) : Json()}};
}

Json row_of(const CaseResult& result, const Row& row, const System& system,
            const Options& options) {
  const Case& c = result.c;
  const bool tutti = label_of(system, options) == "tutti";
  const bool moves_nothing = c.collective == Collective::kBarrier;
  const std::string set = options.algorithm.empty() ? "auto" : options.algorithm;
  const std::string algorithm = options.select ? system.name() : set;
  Json json = {{"collective", name_of(c.collective)},
               {"system", label_of(system, options)},
               {"transport", tutti ? Json(options.transport) : Json()},
               {"memory", tutti && c.registered ? "registered" : "malloc"},
               {"algorithm", tutti ? Json(algorithm) : Json()},
               {"ranks", system.ranks().size()},
               {"bytes", result.bytes},
               {"count", c.count},
               {"dtype", moves_nothing ? Json() : Json(tutti::name_of(c.dtype))},
               {"op", has_operator(c.collective) ? Json(tutti::name_of(c.op)) : Json()},
               {"p50_us", row.p50_us},
               {"p99_us", row.p99_us},
               {"algbw_gbs", row.algbw_gbs},
               {"busbw_gbs", row.busbw_gbs},
               {"cpu_us", row.cpu_us},
               {"wrong", row.wrong ? Json(*row.wrong) : Json()}};
  if (is_expert(c.collective)) json.update(expert_fields(result, row, system));
  return json;
}

void add_rows(const std::vector<CaseResult>& results, const Systems& systems,
              const Options& options, Json* rows) {
  for (const CaseResult& result : results) {
    for (size_t i = 0; i < result.rows.size(); ++i) {
      if (result.rows[i]) rows->push_back(row_of(result, *result.rows[i], *systems[i], options));
    }
  }
}

}  // namespace

std::string to_json(const std::vector<Contested>& contests, const Options& options) {
  Json rows = Json::array();
  Json table = Json::array();
  for (const Contested& contested : contests) {
    add_rows(contested.results, contested.systems, options, &rows);
    for (const tutti::SelectionRow& row : contested.rows) table.push_back(source_of(row));
  }
  const Json document = {
      {"meta", meta_of(contests.front().systems, options)}, {"rows", rows}, {"table", table}};
  return document.dump(1) + "\n";
}

std::string to_json(const std::vector<CaseResult>& results, const Systems& systems,
                    const Options& options) {
  Json rows = Json::array();
  add_rows(results, systems, options, &rows);
  const Json document = {{"meta", meta_of(systems, options)}, {"rows", rows}};
  return document.dump(1) + "\n";
}

tutti::Status write_file(const std::string& path, const std::string& text) {
  std::FILE* const file = std::fopen(path.c_str(), "w");
  if (file == nullptr) {
    return tutti::error(Code::kSystemError, "cannot write %s: %s", path.c_str(),
                        std::strerror(errno));
  }
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (std::fclose(file) != 0 || !written) {
    return tutti::error(Code::kSystemError, "cannot write %s: %s", path.c_str(),
                        std::strerror(errno));
  }
  return {};
}

}  // namespace perf
