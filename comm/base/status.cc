#include "comm/base/status.h"

#include <cstdarg>
#include <cstdio>

#include "comm/base/check.h"

namespace tutti {

const char* code_name(Code code) {
  switch (code) {
    case Code::kOk:
      return "success";
    case Code::kInvalidArgument:
      return "invalid argument";
    case Code::kInvalidUsage:
      return "invalid usage";
    case Code::kUnsupported:
      return "unsupported";
    case Code::kSystemError:
      return "system error";
    case Code::kOutOfMemory:
      return "out of memory";
    case Code::kRemoteError:
      return "remote error";
    case Code::kTimeout:
      return "timeout";
    case Code::kAborted:
      return "aborted";
    case Code::kMismatch:
      return "mismatched calls";
    case Code::kConcurrentUse:
      return "concurrent use";
    case Code::kAuthFailed:
      return "authentication failed";
    case Code::kVersionMismatch:
      return "version mismatch";
    case Code::kForked:
      return "used after fork";
    case Code::kInProgress:
      return "in progress";
    case Code::kInternalError:
      return "internal error";
  }
  return "unknown result code";
}

Status::Status(Code code, std::string text) {
  if (code != Code::kOk) failure_ = std::make_unique<Failure>(Failure{code, std::move(text)});
}

std::unique_ptr<Status::Failure> Status::copy() const {
  return std::make_unique<Failure>(*failure_);
}

const std::string& Status::text() const {
  // Function-local and const: the one empty text every success shares.
  static const std::string kEmpty;
  return failure_ ? failure_->text : kEmpty;
}

Status error(Code code, const char* format, ...) {
  va_list args;
  va_list again;
  va_start(args, format);
  va_copy(again, args);
  const int length = std::vsnprintf(nullptr, 0, format, args);
  va_end(args);
  std::string text;
  if (length < 0) {
    text = format;  // an unformattable argument must not hide the failure itself
  } else {
    text.resize(static_cast<size_t>(length));
    std::vsnprintf(text.data(), text.size() + 1, format, again);
  }
  va_end(again);
  TUTTI_CHECK(code != Code::kOk, "error() builds failures only");
  return Status(code, std::move(text));
}

}  // namespace tutti
