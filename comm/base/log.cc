#include "comm/base/log.h"

#include <array>
#include <cstdio>
#include <set>
#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include "comm/base/mutex.h"

namespace tutti {
namespace {

// Indexed by LogLevel.
constexpr std::array<const char*, kNumLogLevels> kLevelNames = {"off",  "error", "warn",
                                                                "info", "debug", "trace"};

// Far longer than any message of ours; the rest of a longer one is cut.
constexpr size_t kMaxText = 4096;

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::kOff:
      return spdlog::level::off;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kTrace:
      return spdlog::level::trace;
  }
  return spdlog::level::off;
}

}  // namespace

const char* name_of(LogLevel level) {
  const auto index = static_cast<size_t>(level);
  return index < kLevelNames.size() ? kLevelNames[index] : "unknown";
}

std::optional<LogLevel> parse_log_level(std::string_view name) {
  for (size_t i = 0; i < kLevelNames.size(); ++i) {
    if (name == kLevelNames[i]) return static_cast<LogLevel>(i);
  }
  return std::nullopt;
}

struct Logger::Impl {
  explicit Impl(spdlog::sink_ptr sink) : out("tutti", std::move(sink)) {}

  // Private to us: not in spdlog's registry, where the program's own loggers live.
  spdlog::logger out;
  Mutex mutex;
  std::set<std::string, std::less<>> seen TUTTI_GUARDED_BY(mutex);
};

Logger::Logger(LogLevel level, std::unique_ptr<Impl> impl)
    : level_(level), impl_(std::move(impl)) {}

Logger::~Logger() = default;

Result<std::unique_ptr<Logger>> Logger::open(const LogConfig& config) {
  spdlog::sink_ptr sink;
  try {
    if (config.file.empty()) {
      sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    } else {
      // Appends, so that several processes may name one file.
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(config.file);
    }
  } catch (const spdlog::spdlog_ex& failure) {
    return error(Code::kSystemError, "cannot open the log file \"%s\": %s", config.file.c_str(),
                 failure.what());
  }
  auto impl = std::make_unique<Impl>(std::move(sink));
  impl->out.set_pattern("%Y-%m-%d %H:%M:%S.%e tutti[%P] %l: %v");
  impl->out.set_level(spdlog_level(config.level));
  // Lines are few and most precious when the process dies next.
  impl->out.flush_on(spdlog::level::trace);
  return std::unique_ptr<Logger>(new Logger(config.level, std::move(impl)));
}

void Logger::write(LogLevel level, std::string_view prefix, std::string_view text) {
  if (!enabled(level)) return;
  std::string line;
  line.reserve(prefix.size() + 2 + text.size());
  line.append(prefix);
  if (!prefix.empty()) line.append(": ");
  line.append(text);
  impl_->out.log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
}

bool Logger::first(std::string_view key) {
  MutexLock lock(impl_->mutex);
  if (impl_->seen.find(key) != impl_->seen.end()) return false;
  impl_->seen.emplace(key);
  return true;
}

void Log::write(LogLevel level, const char* format, va_list args) const {
  std::array<char, kMaxText> text;
  const int length = std::vsnprintf(text.data(), text.size(), format, args);
  logger_->write(level, prefix_, length < 0 ? format : text.data());
}

void Log::error(const char* format, ...) const {
  if (!enabled(LogLevel::kError)) return;
  va_list args;
  va_start(args, format);
  write(LogLevel::kError, format, args);
  va_end(args);
}

void Log::warn(const char* format, ...) const {
  if (!enabled(LogLevel::kWarn)) return;
  va_list args;
  va_start(args, format);
  write(LogLevel::kWarn, format, args);
  va_end(args);
}

void Log::info(const char* format, ...) const {
  if (!enabled(LogLevel::kInfo)) return;
  va_list args;
  va_start(args, format);
  write(LogLevel::kInfo, format, args);
  va_end(args);
}

void Log::debug(const char* format, ...) const {
  if (!enabled(LogLevel::kDebug)) return;
  va_list args;
  va_start(args, format);
  write(LogLevel::kDebug, format, args);
  va_end(args);
}

void Log::trace(const char* format, ...) const {
  if (!enabled(LogLevel::kTrace)) return;
  va_list args;
  va_start(args, format);
  write(LogLevel::kTrace, format, args);
  va_end(args);
}

void Log::warn_once(const char* key, const char* format, ...) const {
  if (!enabled(LogLevel::kWarn) || !logger_->first(key)) return;
  va_list args;
  va_start(args, format);
  write(LogLevel::kWarn, format, args);
  va_end(args);
}

}  // namespace tutti
