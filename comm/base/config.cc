#include "comm/base/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <system_error>
#include <unistd.h>

#include "comm/base/check.h"
#include "comm/base/checked.h"

namespace tutti {
namespace {

constexpr std::string_view kPrefix = "TUTTI_";
constexpr size_t kMaxNameLength = 64;
constexpr size_t kMaxShown = 200;  // of a bad value, in a message
constexpr size_t kKibi = 1024;
constexpr size_t kMinBufferCap = 64 * kKibi;
constexpr int kMaxThreads = 1024;
constexpr double kNsPerSecond = 1e9;

// A lower-case name such as "all_reduce" or "shm".
bool is_name(std::string_view text) {
  if (text.empty() || text.size() > kMaxNameLength) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

template <typename Number>
bool parse_whole(std::string_view text, Number* value) {
  const char* end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, *value);
  return failure == std::errc() && stop == end;
}

// --- algorithms ---

bool parse_algorithms(std::string_view text, Config* config) {
  std::vector<std::pair<std::string, std::string>> algorithms;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const size_t colon = item.find(':');
    if (colon == std::string_view::npos) return false;
    const std::string_view collective = item.substr(0, colon);
    const std::string_view algorithm = item.substr(colon + 1);
    if (!is_name(collective) || !is_name(algorithm)) return false;
    algorithms.emplace_back(collective, algorithm);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) return false;  // a trailing comma
  }
  // Sorted, so that two ranks that list the same choices in another order agree.
  std::sort(algorithms.begin(), algorithms.end());
  const auto same = [](const auto& a, const auto& b) { return a.first == b.first; };
  if (std::adjacent_find(algorithms.begin(), algorithms.end(), same) != algorithms.end()) {
    return false;
  }
  config->algorithms = std::move(algorithms);
  return true;
}

std::string print_algorithms(const Config& config) {
  std::string text;
  for (const auto& [collective, algorithm] : config.algorithms) {
    if (!text.empty()) text += ',';
    text += collective;
    text += ':';
    text += algorithm;
  }
  return text;
}

// --- transport ---

bool parse_transport(std::string_view text, Config* config) {
  if (!is_name(text)) return false;
  config->transport = text;
  return true;
}

// --- timeout ---

bool parse_timeout(std::string_view text, Config* config) {
  if (text == "never") {
    config->timeout_ns = kTimeoutNever;
    return true;
  }
  double seconds = 0;
  if (!parse_whole(text, &seconds) || !std::isfinite(seconds) || seconds <= 0) return false;
  // Rounded to the nearest, so that what timeout_text() prints comes back; but never to nothing.
  const double ns = std::max(std::round(seconds * kNsPerSecond), 1.0);
  // Exactly 2^63 as a double: the first value that int64_t cannot hold.
  if (ns >= 9223372036854775808.0) return false;
  config->timeout_ns = static_cast<int64_t>(ns);
  return true;
}

// Exact to the nanosecond, without trailing zeros, where a double would round.
std::string timeout_text(int64_t timeout_ns) {
  if (timeout_ns == kTimeoutNever) return "never";
  if (timeout_ns <= 0) return std::to_string(timeout_ns) + " ns";  // refused, shown as given
  const int64_t per_second = 1'000'000'000;
  std::string text = std::to_string(timeout_ns / per_second);
  if (const int64_t rest = timeout_ns % per_second; rest != 0) {
    std::string digits = std::to_string(per_second + rest).substr(1);
    digits.erase(digits.find_last_not_of('0') + 1);
    text += '.' + digits;
  }
  return text;
}

// --- log ---

bool parse_log(std::string_view text, Config* config) {
  const size_t colon = text.find(':');
  const std::optional<LogLevel> level = parse_log_level(text.substr(0, colon));
  if (!level) return false;
  std::string file;
  if (colon != std::string_view::npos) {
    file = text.substr(colon + 1);
    if (file.empty()) return false;
  }
  config->log = LogConfig{*level, std::move(file)};
  return true;
}

std::string print_log(const Config& config) {
  std::string text = name_of(config.log.level);
  if (!config.log.file.empty()) text += ':' + config.log.file;
  return text;
}

// --- threads ---

bool parse_threads(std::string_view text, Config* config) {
  int threads = 0;
  if (!parse_whole(text, &threads) || threads < 1 || threads > kMaxThreads) return false;
  config->threads = threads;
  return true;
}

// --- buffer cap ---

size_t unit_of(char suffix) {
  switch (suffix) {
    case 'K':
    case 'k':
      return kKibi;
    case 'M':
    case 'm':
      return kKibi * kKibi;
    case 'G':
    case 'g':
      return kKibi * kKibi * kKibi;
    default:
      return 1;
  }
}

bool parse_buffer_cap(std::string_view text, Config* config) {
  if (text.empty()) return false;
  const size_t unit = unit_of(text.back());
  if (unit != 1) text.remove_suffix(1);
  size_t number = 0;
  size_t bytes = 0;
  if (!parse_whole(text, &number) || !checked_mul(number, unit, &bytes)) return false;
  if (bytes < kMinBufferCap) return false;
  config->buffer_cap = bytes;
  return true;
}

std::string print_buffer_cap(const Config& config) {
  for (const char suffix : {'G', 'M', 'K'}) {
    const size_t unit = unit_of(suffix);
    if (config.buffer_cap >= unit && config.buffer_cap % unit == 0) {
      return std::to_string(config.buffer_cap / unit) + suffix;
    }
  }
  return std::to_string(config.buffer_cap);
}

// --- network ---

bool parse_host_id(std::string_view text, Config* config) {
  config->host_id = text;
  return true;
}

// Terms are matched against the interfaces at init; here only what can never be one is refused.
bool parse_interface(std::string_view text, Config* config) {
  const bool printable =
      std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!printable) return false;
  config->interface = text;
  return true;
}

bool parse_port_range(std::string_view text, Config* config) {
  uint16_t low = 0;
  uint16_t high = 0;
  if (!text.empty()) {
    const size_t dash = text.find('-');
    if (dash == std::string_view::npos || !parse_whole(text.substr(0, dash), &low) ||
        !parse_whole(text.substr(dash + 1), &high) || low == 0 || high < low) {
      return false;
    }
  }
  config->port_low = low;
  config->port_high = high;
  return true;
}

std::string print_port_range(const Config& config) {
  if (config.port_low == 0) return "";
  return std::to_string(config.port_low) + '-' + std::to_string(config.port_high);
}

template <typename Number>
std::optional<std::string> number_text(const std::optional<Number>& number) {
  if (!number) return std::nullopt;
  return std::to_string(*number);
}

// --- the table ---

constexpr std::array<Setting, kNumSettings> kSettings = {{
    {"algorithms", "TUTTI_ALGO",
     "COLLECTIVE:ALGORITHM[,COLLECTIVE:ALGORITHM...], each collective once", "",
     "use these algorithms instead of choosing by size and number of ranks", true, parse_algorithms,
     print_algorithms, [](const ConfigOverrides& o) { return o.algorithms; }},
    {"transport", "TUTTI_TRANSPORT", "\"auto\" or the name of a transport", "auto",
     "what moves the bytes between ranks", true, parse_transport,
     [](const Config& c) { return c.transport; },
     [](const ConfigOverrides& o) { return o.transport; }},
    {"timeout", "TUTTI_TIMEOUT", "seconds > 0, such as 30 or 0.5, or \"never\"", "600",
     "how long an operation may wait for a peer before it fails", false, parse_timeout,
     [](const Config& c) { return timeout_text(c.timeout_ns); },
     [](const ConfigOverrides& o) -> std::optional<std::string> {
       if (!o.timeout_ns) return std::nullopt;
       return timeout_text(*o.timeout_ns);
     }},
    {"log", "TUTTI_LOG", "LEVEL[:FILE], LEVEL one of off error warn info debug trace", "warn",
     "what is logged, and where (standard error without FILE)", false, parse_log, print_log,
     [](const ConfigOverrides& o) { return o.log; }},
    {"threads", "TUTTI_THREADS", "a whole number from 1 to 1024", "1",
     "threads that one rank may use for a large reduction or copy", true, parse_threads,
     [](const Config& c) { return std::to_string(c.threads); },
     [](const ConfigOverrides& o) { return number_text(o.threads); }},
    {"buffer_cap", "TUTTI_BUFFER_CAP", "bytes, at least 64K, with an optional suffix K, M or G",
     "64M",
     "most bytes that copies for peers of this host take in one process, and most scratch of one "
     "operation of one rank, which moves more data in rounds",
     true, parse_buffer_cap, print_buffer_cap,
     [](const ConfigOverrides& o) { return number_text(o.buffer_cap); }},
    {"socket_ifname", "TUTTI_SOCKET_IFNAME",
     "interface names, globs or CIDR networks, separated by commas, ^ in front of one to exclude",
     "", "the interface to listen on (unset: the one toward the rendezvous)", false,
     parse_interface, [](const Config& c) { return c.interface; },
     [](const ConfigOverrides& o) { return o.interface; }},
    {"port_range", "TUTTI_PORT_RANGE", "LO-HI, two ports", "",
     "ports to listen on (unset: whatever is free)", false, parse_port_range, print_port_range,
     [](const ConfigOverrides& o) { return o.port_range; }},
    {"host_id", "TUTTI_HOST_ID", "any text", "",
     "ranks of one host that have different ones do not share memory (for tests)", false,
     parse_host_id, [](const Config& c) { return c.host_id; },
     [](const ConfigOverrides& o) { return o.host_id; }},
}};

constexpr LaunchVariable kLaunchVariables[] = {
    {"TUTTI_RANK", "this process's rank, 0..TUTTI_NRANKS-1"},
    {"TUTTI_NRANKS", "ranks in the job"},
    {"TUTTI_LOCAL_RANK", "its number among the ranks of this host"},
    {"TUTTI_RENDEZVOUS", "where ranks meet: tcp://HOST:PORT (rank 0 listens) or file:///FOLDER"},
    {"TUTTI_SECRET", "the job secret, 32 hexadecimal digits"},
    {"TUTTI_SECRET_FILE", "a file of mode 0600 that holds the job secret"},
    {"TUTTI_INSECURE_BOOTSTRAP", "1: several hosts may meet without a job secret"},
    {"RANK", "torchrun: rank"},
    {"WORLD_SIZE", "torchrun: ranks in the job"},
    {"LOCAL_RANK", "torchrun: number among the ranks of this host"},
    {"LOCAL_WORLD_SIZE", "torchrun: ranks on this host"},
    {"MASTER_ADDR", "torchrun: the host of rank 0"},
    {"MASTER_PORT", "torchrun: the port of its own store; Tutti uses the next one"},
    {"OMPI_COMM_WORLD_RANK", "mpirun: rank"},
    {"OMPI_COMM_WORLD_SIZE", "mpirun: ranks in the job"},
    {"OMPI_COMM_WORLD_LOCAL_RANK", "mpirun: number among the ranks of this host"},
};

bool is_launch_variable(std::string_view name) {
  return std::any_of(std::begin(kLaunchVariables), std::end(kLaunchVariables),
                     [name](const LaunchVariable& v) { return name == v.variable; });
}

Status bad_value(const Setting& setting, bool from_environment, std::string_view got) {
  const std::string shown(got.substr(0, kMaxShown));
  const char* more = got.size() > kMaxShown ? "..." : "";
  if (from_environment) {
    return error(Code::kInvalidArgument, "%s: expected %s, got \"%s\"%s", setting.variable,
                 setting.expected, shown.c_str(), more);
  }
  return error(Code::kInvalidArgument, "config field %s: expected %s, got \"%s\"%s", setting.name,
               setting.expected, shown.c_str(), more);
}

Status load_setting(const Setting& setting, const Environment& environment,
                    const ConfigOverrides& overrides, SettingSource* source, Config* config) {
  TUTTI_CHECK(setting.parse(setting.default_text, config), "every default is a valid value");
  *source = SettingSource::kDefault;
  if (const std::string* text = environment.find(setting.variable)) {
    if (!setting.parse(*text, config)) return bad_value(setting, true, *text);
    *source = SettingSource::kEnvironment;
  }
  if (const std::optional<std::string> text = setting.given(overrides)) {
    if (!setting.parse(*text, config)) return bad_value(setting, false, *text);
    *source = SettingSource::kConfig;
  }
  return {};
}

std::vector<std::string> unknown_names(const Environment& environment) {
  std::vector<std::string> unknown;
  for (const auto& variable : environment.variables) {
    const std::string& name = variable.first;
    if (!name.starts_with(kPrefix)) continue;
    const bool known = is_launch_variable(name) ||
                       std::any_of(kSettings.begin(), kSettings.end(),
                                   [&name](const Setting& s) { return name == s.variable; });
    if (!known) unknown.push_back(name);
  }
  std::sort(unknown.begin(), unknown.end());
  unknown.erase(std::unique(unknown.begin(), unknown.end()), unknown.end());
  return unknown;
}

}  // namespace

const char* name_of(SettingSource source) {
  switch (source) {
    case SettingSource::kDefault:
      return "default";
    case SettingSource::kEnvironment:
      return "environment";
    case SettingSource::kConfig:
      return "config";
  }
  return "unknown";
}

Environment Environment::of_process() {
  Environment result;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = text.substr(0, equals);
    if (!name.starts_with(kPrefix) && !is_launch_variable(name)) continue;
    result.variables.emplace_back(name, text.substr(equals + 1));
  }
  return result;
}

const std::string* Environment::find(std::string_view name) const {
  for (const auto& [key, value] : variables) {
    if (key == name) return value.empty() ? nullptr : &value;
  }
  return nullptr;
}

std::span<const Setting, kNumSettings> settings() { return kSettings; }
std::span<const LaunchVariable> launch_variables() { return kLaunchVariables; }

Result<Config> load_config(const Environment& environment, const ConfigOverrides& overrides) {
  Config config;
  for (size_t i = 0; i < kSettings.size(); ++i) {
    TUTTI_TRY(load_setting(kSettings[i], environment, overrides, &config.sources[i], &config));
  }
  config.unknown = unknown_names(environment);
  return config;
}

std::string agreement_text(const Config& config) {
  std::vector<std::string> lines;
  for (const Setting& setting : kSettings) {
    if (!setting.all_ranks_agree) continue;
    lines.push_back(std::string(setting.name) + '=' + setting.print(config) + '\n');
  }
  std::sort(lines.begin(), lines.end());
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

}  // namespace tutti
