// Config: every setting of Tutti, read once at init. An explicit value (the C config struct) wins
// over the environment, which wins over the default.
//
// All settings stand in one table, settings(); parsing, tutti-info and the check that ranks agree
// are loops over it. Nothing but Environment::of_process() touches the real environment. Values;
// the free functions are pure and thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "comm/base/log.h"
#include "comm/base/status.h"

namespace tutti {

inline constexpr size_t kNumSettings = 9;
inline constexpr int64_t kTimeoutNever = INT64_MAX;

enum class SettingSource : uint8_t { kDefault, kEnvironment, kConfig };
const char* name_of(SettingSource source);  // "default", "environment", "config"

struct Config {
  // (collective, algorithm), sorted by collective, each collective at most once. Names are checked
  // by syntax only: which exist is the catalogue's business.
  std::vector<std::pair<std::string, std::string>> algorithms;
  std::string transport;   // "auto" or the name of one
  int64_t timeout_ns = 0;  // > 0; kTimeoutNever for none
  LogConfig log;
  int threads = 0;  // >= 1
  // Bytes of scratch that one operation of one rank may use; and of copies that one process makes
  // of messages for peers of its host, all communicators together.
  size_t buffer_cap = 0;
  std::string interface;  // selector of comm/net/address.h; "": the one toward the rendezvous
  uint16_t port_low = 0;  // ports to listen on; 0: any
  uint16_t port_high = 0;
  std::string host_id;  // ranks whose texts differ do not share memory

  // Where each value came from, indexed like settings().
  std::array<SettingSource, kNumSettings> sources{};
  // Names in the environment that look like ours and mean nothing; worth one warning.
  std::vector<std::string> unknown;
};

// Values given explicitly, by the C config struct or a tool. Texts have the syntax of the
// environment.
struct ConfigOverrides {
  std::optional<std::string> algorithms;
  std::optional<std::string> transport;
  std::optional<int64_t> timeout_ns;
  std::optional<std::string> log;
  std::optional<int> threads;
  std::optional<size_t> buffer_cap;
  std::optional<std::string> interface;
  std::optional<std::string> port_range;
  std::optional<std::string> host_id;
};

// The variables that concern us, copied. Later entries of a repeated name are ignored, as getenv()
// does.
struct Environment {
  std::vector<std::pair<std::string, std::string>> variables;

  // Copies every TUTTI_ variable and every launch variable of this process. Call once, before
  // threads may call setenv().
  static Environment of_process();
  // Null when absent. An empty value counts as absent.
  const std::string* find(std::string_view name) const;
};

struct Setting {
  const char* name;      // as in the C config struct
  const char* variable;  // TUTTI_...
  const char* expected;  // what a value may be, for messages and help
  const char* default_text;
  const char* meaning;
  bool all_ranks_agree;  // init fails when ranks differ

  // False when `text` is not what `expected` says; then *config is unchanged.
  bool (*parse)(std::string_view text, Config* config);
  std::string (*print)(const Config& config);  // parse() reads it back
  std::optional<std::string> (*given)(const ConfigOverrides& overrides);
};

std::span<const Setting, kNumSettings> settings();

// What launchers tell a process about its job: no settings, but known names (comm/bootstrap reads
// them). Those of other launchers have no TUTTI_ in front.
struct LaunchVariable {
  const char* variable;
  const char* meaning;
};
std::span<const LaunchVariable> launch_variables();

// The settings in force. kInvalidArgument names the first bad one, what was expected and what was
// found; a bad variable fails even where an override hides it.
Result<Config> load_config(const Environment& environment, const ConfigOverrides& overrides = {});

// The settings that all ranks must share, one "name=value" a line, sorted by name.
std::string agreement_text(const Config& config);

}  // namespace tutti
