#include "comm/tools/tutti_run_options.h"

#include <charconv>
#include <string_view>
#include <system_error>

namespace tutti {

const char* const kRunUsage =
    "usage: tutti-run -n N [options] PROGRAM [ARGUMENT]...\n"
    "\n"
    "Starts N ranks of PROGRAM on this host, each told who it is in its environment, and waits "
    "for\n"
    "them. The first rank that fails ends all; tutti-run exits as that rank did.\n"
    "\n"
    "  -n N              ranks, 1 to 1024\n"
    "  --timeout S       end all after S seconds and exit with 124\n"
    "  --grace S         seconds between asking a rank to end (SIGTERM) and SIGKILL (default 5)\n"
    "  --bind core|none  core: rank i runs on the i-th core this process may use (default none)\n"
    "  --no-prefix       lines of output without \"[rank 2] \" in front\n"
    "  -h, --help        this text\n"
    "  --                what follows is PROGRAM\n";

namespace {

// An hour is a lot for a grace, ten years for a job; more is a slip of the finger.
constexpr double kMaxSeconds = 315360000;

Status read_ranks(const std::string& text, RunOptions* options) {
  const char* end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, options->nranks);
  if (failure == std::errc() && stop == end && options->nranks >= 1 &&
      options->nranks <= kMaxLocalRanks) {
    return {};
  }
  return error(Code::kInvalidArgument, "-n: expected a whole number from 1 to %d, got \"%s\"",
               kMaxLocalRanks, text.c_str());
}

Status read_seconds(const char* name, const std::string& text, bool zero_allowed, int64_t* ns) {
  double seconds = 0;
  const char* end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, seconds);
  // Written so that NaN fails.
  const bool in_range = seconds <= kMaxSeconds && (seconds > 0 || (zero_allowed && seconds == 0));
  if (failure != std::errc() || stop != end || !in_range) {
    return error(Code::kInvalidArgument, "%s: expected seconds %s 0, such as 30 or 0.5, got \"%s\"",
                 name, zero_allowed ? ">=" : ">", text.c_str());
  }
  *ns = static_cast<int64_t>(seconds * 1e9);
  return {};
}

Status read_bind(const std::string& text, RunOptions* options) {
  options->bind_cores = text == "core";
  if (options->bind_cores || text == "none") return {};
  return error(Code::kInvalidArgument, "--bind: expected core or none, got \"%s\"", text.c_str());
}

Status read_value(const std::string& name, const std::string& value, RunOptions* options) {
  if (name == "-n") return read_ranks(value, options);
  if (name == "--bind") return read_bind(value, options);
  if (name == "--grace") return read_seconds("--grace", value, true, &options->grace_ns);
  options->timeout_ns.emplace();
  return read_seconds("--timeout", value, false, &*options->timeout_ns);
}

bool takes_value(std::string_view name) {
  return name == "-n" || name == "--timeout" || name == "--grace" || name == "--bind";
}

// "--timeout=5" and "-n4" as well as name and value apart.
struct Split {
  std::string name;
  std::optional<std::string> value;
};

Split split(std::string_view argument) {
  const size_t equals = argument.find('=');
  if (argument.starts_with("--") && equals != std::string_view::npos) {
    return {std::string(argument.substr(0, equals)), std::string(argument.substr(equals + 1))};
  }
  if (argument.starts_with("-n") && argument.size() > 2) {
    return {"-n", std::string(argument.substr(2))};
  }
  return {std::string(argument), std::nullopt};
}

// One option that takes no value. False when there is none of that name.
bool read_flag(const Split& option, RunOptions* options) {
  if (option.value) return false;
  if (option.name == "--no-prefix") {
    options->prefix = false;
    return true;
  }
  options->help = options->help || option.name == "-h" || option.name == "--help";
  return options->help;
}

Status check_complete(const RunOptions& options) {
  if (options.help) return {};
  if (options.nranks == 0) {
    return error(Code::kInvalidArgument, "expected -n N, the number of ranks, got none");
  }
  if (options.command.empty()) {
    return error(Code::kInvalidArgument, "expected PROGRAM, got nothing after the options");
  }
  return {};
}

}  // namespace

Result<RunOptions> parse_run_options(std::span<char* const> arguments) {
  RunOptions options;
  size_t i = 0;
  for (; i < arguments.size() && !options.help; ++i) {
    const std::string_view argument = arguments[i];
    if (argument == "--") {
      ++i;
      break;
    }
    if (argument.size() < 2 || argument[0] != '-') break;
    Split option = split(argument);
    if (read_flag(option, &options)) continue;
    if (!takes_value(option.name)) {
      return error(Code::kInvalidArgument,
                   "expected -n, --timeout, --grace, --bind, --no-prefix, --help or PROGRAM, got "
                   "\"%s\"",
                   arguments[i]);
    }
    if (!option.value) {
      if (i + 1 == arguments.size()) {
        return error(Code::kInvalidArgument, "%s: expected a value, got nothing", arguments[i]);
      }
      option.value = arguments[++i];
    }
    TUTTI_TRY(read_value(option.name, *option.value, &options));
  }
  options.command.assign(arguments.begin() + static_cast<std::ptrdiff_t>(i), arguments.end());
  TUTTI_TRY(check_complete(options));
  return options;
}

}  // namespace tutti
