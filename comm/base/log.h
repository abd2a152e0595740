// Logging: a Logger is the one sink of a process (owned by the Process object), a Log is a cheap
// view of it with a prefix such as "rank 3". A default-made Log drops everything.
//
// Levels: error = the operation fails; warn = it goes on, but the user should know; info = once per
// communicator; debug = once per call; trace = anything. Never on the data path after bind. Text is
// lower case and names the exact cause. Thread-safe.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "comm/base/status.h"

namespace tutti {

// Each level lets through itself and those before it.
enum class LogLevel : uint8_t { kOff = 0, kError, kWarn, kInfo, kDebug, kTrace };
inline constexpr int kNumLogLevels = 6;

const char* name_of(LogLevel level);  // "off", "error", ... static storage
std::optional<LogLevel> parse_log_level(std::string_view name);

struct LogConfig {
  LogLevel level = LogLevel::kWarn;
  std::string file;  // appended to; empty for standard error

  bool operator==(const LogConfig&) const = default;
};

class Logger {
 public:
  // Opens the sink. kSystemError when the file cannot be opened.
  static Result<std::unique_ptr<Logger>> open(const LogConfig& config);
  ~Logger();
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  bool enabled(LogLevel level) const { return level != LogLevel::kOff && level <= level_; }

  // Writes one line, "prefix: text" or just the text when the prefix is empty.
  void write(LogLevel level, std::string_view prefix, std::string_view text);

  // True the first time it is asked about `key`.
  bool first(std::string_view key);

 private:
  struct Impl;
  Logger(LogLevel level, std::unique_ptr<Impl> impl);

  const LogLevel level_;
  const std::unique_ptr<Impl> impl_;
};

class Log {
 public:
  Log() = default;
  // `logger` must outlive this and every copy.
  explicit Log(Logger& logger, std::string prefix = "")
      : logger_(&logger), prefix_(std::move(prefix)) {}

  bool enabled(LogLevel level) const { return logger_ && logger_->enabled(level); }

  void error(const char* format, ...) const __attribute__((format(printf, 2, 3)));
  void warn(const char* format, ...) const __attribute__((format(printf, 2, 3)));
  void info(const char* format, ...) const __attribute__((format(printf, 2, 3)));
  void debug(const char* format, ...) const __attribute__((format(printf, 2, 3)));
  void trace(const char* format, ...) const __attribute__((format(printf, 2, 3)));

  // A warning given once per process for each key; the key names the place, e.g. "unknown-setting".
  void warn_once(const char* key, const char* format, ...) const
      __attribute__((format(printf, 3, 4)));

 private:
  void write(LogLevel level, const char* format, va_list args) const;

  Logger* logger_ = nullptr;
  std::string prefix_;
};

}  // namespace tutti
