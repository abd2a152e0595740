#include "comm/tools/tutti_run_input.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace tutti {
namespace {

// Nothing tells a process that its group has come to the foreground.
constexpr int64_t kLookAgainNs = 500'000'000;

bool in_background(int terminal) {
  const pid_t foreground = tcgetpgrp(terminal);
  return foreground >= 0 && foreground != getpgrp();  // -1: not our terminal, so no rule of its
}

}  // namespace

TerminalInput::TerminalInput(int terminal, UniqueFd to_rank)
    : terminal_(terminal), to_rank_(std::move(to_rank)), background_until_(0) {
  fcntl(to_rank_.get(), F_SETFL, O_NONBLOCK);
}

pollfd TerminalInput::watch(int64_t now) const {
  if (!to_rank_.valid()) return {-1, 0, 0};
  if (!typed_.empty()) return {to_rank_.get(), POLLOUT, 0};
  return {now < background_until_ ? -1 : terminal_, POLLIN, 0};
}

int64_t TerminalInput::wake_at(int64_t now) const {
  const bool waits = to_rank_.valid() && typed_.empty() && now < background_until_;
  return waits ? background_until_ : INT64_MAX;
}

void TerminalInput::advance(int64_t now) {
  if (typed_.empty()) read_more(now);
  if (typed_.empty()) return;
  const ssize_t n = write(to_rank_.get(), typed_.data(), typed_.size());
  if (n > 0) {
    typed_.erase(0, static_cast<size_t>(n));
  } else if (errno != EAGAIN && errno != EINTR) {
    typed_.clear();
    to_rank_.reset();  // the rank wants no more
  }
}

void TerminalInput::read_more(int64_t now) {
  if (in_background(terminal_)) {
    background_until_ = now + kLookAgainNs;
    return;
  }
  std::array<char, 4096> chunk;
  const ssize_t n = read(terminal_, chunk.data(), chunk.size());
  if (n > 0) {
    typed_.assign(chunk.data(), static_cast<size_t>(n));
  } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
    to_rank_.reset();  // the end of the input, for the rank too
  }
}

}  // namespace tutti
