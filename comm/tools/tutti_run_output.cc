#include "comm/tools/tutti_run_output.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace tutti {
namespace {

constexpr size_t kMaxHeldLine = 64 << 10;
constexpr size_t kFullSink = 256 << 10;
constexpr int64_t kHoldNs = 5'000'000'000;

bool has_room(int fd) {
  pollfd watched{fd, POLLOUT, 0};
  return poll(&watched, 1, 0) > 0;
}

}  // namespace

void Sink::put(const void* writer, std::string_view prefix, std::string_view bytes, int64_t now) {
  if (failure_ != 0 || bytes.empty()) return;
  if (line_open_ && writer_ != writer) {
    queue_ += '\n';
    line_open_ = false;
  }
  writer_ = writer;
  while (!bytes.empty()) {
    if (!line_open_) {
      queue_ += prefix;
      line_open_ = true;
      held_until_ = now + kHoldNs;
    }
    const size_t newline = bytes.find('\n');
    const size_t taken = newline == std::string_view::npos ? bytes.size() : newline + 1;
    queue_ += bytes.substr(0, taken);
    line_open_ = newline == std::string_view::npos;
    bytes.remove_prefix(taken);
  }
}

void Sink::end_line(const void* writer) {
  if (!has_open_line_of(writer) || failure_ != 0) return;
  queue_ += '\n';
  line_open_ = false;
}

void Sink::let_go(const void* writer) {
  if (has_open_line_of(writer)) held_until_ = 0;
}

bool Sink::full() const { return queue_.size() - written_ >= kFullSink; }

void Sink::flush() {
  // A pipe that poll() finds writable takes PIPE_BUF bytes without waiting. Making it non-blocking
  // instead would change it for everybody who shares it.
  while (written_ < queue_.size() && has_room(fd_)) {
    const ssize_t n =
        write(fd_, queue_.data() + written_, std::min<size_t>(queue_.size() - written_, PIPE_BUF));
    if (n > 0) {
      written_ += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      failure_ = errno;
      line_open_ = false;
      written_ = queue_.size();
    }
  }
  if (written_ == queue_.size()) {
    queue_.clear();
    written_ = 0;
  } else if (written_ >= kFullSink) {
    queue_.erase(0, written_);
    written_ = 0;
  }
}

void RankPipe::read_some(int64_t now) {
  if (left_ == 0) return finish(now);
  std::array<char, kMaxHeldLine> chunk;
  const ssize_t n = read(pipe_.get(), chunk.data(), std::min(chunk.size(), left_));
  if (n < 0 && (errno == EAGAIN || errno == EINTR) && !ends_soon()) return;
  if (n <= 0) return finish(now);
  if (ends_soon()) left_ -= static_cast<size_t>(n);
  deliver({chunk.data(), static_cast<size_t>(n)}, now);
}

size_t RankPipe::bytes_waiting() const {
  int present = 0;
  if (!open() || ioctl(pipe_.get(), FIONREAD, &present) != 0) return 0;
  return static_cast<size_t>(present);
}

void RankPipe::deliver(std::string_view bytes, int64_t now) {
  const size_t newline = bytes.rfind('\n');
  size_t ready = newline == std::string_view::npos ? 0 : partial_.size() + newline + 1;
  partial_ += bytes;
  const bool too_long = partial_.size() - ready >= kMaxHeldLine;
  if (too_long || (ready == 0 && sink_->has_open_line_of(this))) ready = partial_.size();
  if (ready == 0) return;
  sink_->put(this, prefix_, std::string_view(partial_).substr(0, ready), now);
  partial_.erase(0, ready);
}

void RankPipe::finish(int64_t now) {
  sink_->put(this, prefix_, partial_, now);
  partial_.clear();
  // Without prefixes bytes pass as they are; a newline comes when another rank's line follows.
  if (!prefix_.empty()) sink_->end_line(this);
  sink_->let_go(this);
  pipe_.reset();
}

}  // namespace tutti
