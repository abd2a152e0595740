// Status and Result: how every call inside Tutti reports failure.
//
// A Status is a code and, for failures, a text that names rank, peer, operation, expected and got.
// kOk carries no text and costs nothing. Value types, not thread-safe. Bugs (broken invariants) are
// TUTTI_CHECK failures (check.h), never a Status.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>

namespace tutti {

// Same values and order as tuttiResult_t (static_assert in comm/api/error.cc). Append only.
enum class Code : int32_t {
  kOk = 0,
  kInvalidArgument,
  kInvalidUsage,
  kUnsupported,
  kSystemError,
  kOutOfMemory,
  kRemoteError,
  kTimeout,
  kAborted,
  kMismatch,
  kConcurrentUse,
  kAuthFailed,
  kVersionMismatch,
  kForked,
  kInProgress,
  kInternalError,
};
inline constexpr int kNumCodes = 16;

// A short lower-case phrase, e.g. "invalid argument". Static storage.
const char* code_name(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string text);
  Status(const Status& other) : failure_(other.ok() ? nullptr : other.copy()) {}
  Status& operator=(const Status& other) {
    failure_ = other.ok() ? nullptr : other.copy();
    return *this;
  }
  Status(Status&&) = default;
  Status& operator=(Status&&) = default;

  bool ok() const { return failure_ == nullptr; }
  Code code() const { return ok() ? Code::kOk : failure_->code; }
  const std::string& text() const;

 private:
  struct Failure {
    Code code;
    std::string text;
  };
  std::unique_ptr<Failure> copy() const;
  std::unique_ptr<Failure> failure_;  // null for kOk: all that the common case carries about
};

// printf-style constructor of a failure.
Status error(Code code, const char* format, ...) __attribute__((format(printf, 2, 3)));

// A value, or why there is none. `value()` of a failed Result is a bug.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}         // NOLINT: implicit by design
  Result(Status status) : state_(std::move(status)) {}  // NOLINT: implicit by design
  bool ok() const { return std::holds_alternative<T>(state_); }
  T& value() { return std::get<T>(state_); }
  const T& value() const { return std::get<T>(state_); }
  // By reference while the Result lives, by value from a temporary one.
  const Status& status() const& {
    static const Status kSuccess;
    return ok() ? kSuccess : std::get<Status>(state_);
  }
  Status status() && { return ok() ? Status() : std::get<Status>(std::move(state_)); }

 private:
  std::variant<Status, T> state_;
};

// Returns from the enclosing function when `expr` (a Status) is a failure.
#define TUTTI_TRY(expr)                                  \
  do {                                                   \
    ::tutti::Status tutti_try_status = (expr);           \
    if (!tutti_try_status.ok()) return tutti_try_status; \
  } while (false)

}  // namespace tutti
