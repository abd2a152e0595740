// How the output of many ranks becomes one: whole lines, each with the name of its rank in front.
//
// A Sink is where lines go (tutti-run's own standard output or error), a RankPipe is what one rank
// writes to. A line that has its end is never torn. One longer than 64 KiB goes on in pieces and
// keeps the sink for itself until it ends, or for 5 s: then another rank may end it with a newline,
// because a rank that waits for room to write may be the one that the writer of the long line waits
// for. Memory is bounded: a pipe is read only while its sink has room and is free for it.
// Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "comm/base/unique_fd.h"

namespace tutti {

class Sink {
 public:
  // `fd` is borrowed.
  explicit Sink(int fd) : fd_(fd) {}

  // Bytes of a writer (any address that tells it from the others): complete lines, or pieces of
  // one. Each line gets `prefix` in front.
  void put(const void* writer, std::string_view prefix, std::string_view bytes, int64_t now);
  // Ends the line of `writer`, if it is open, with a newline.
  void end_line(const void* writer);
  // The line of `writer` may be torn from now on.
  void let_go(const void* writer);

  bool has_open_line_of(const void* writer) const { return line_open_ && writer_ == writer; }
  bool is_free_for(const void* writer, int64_t now) const {
    return !line_open_ || writer_ == writer || now >= held_until_;
  }
  // When a line that others wait for may be torn; INT64_MAX when none is open.
  int64_t held_until() const { return line_open_ ? held_until_ : INT64_MAX; }

  bool full() const;
  bool empty() const { return queue_.empty(); }
  // Writes what can be written without waiting.
  void flush();
  // The errno of a failed write; from then on all is dropped.
  int failure() const { return failure_; }
  int fd() const { return fd_; }

 private:
  const int fd_;
  std::string queue_;
  size_t written_ = 0;  // of queue_
  const void* writer_ = nullptr;
  bool line_open_ = false;
  int64_t held_until_ = 0;
  int failure_ = 0;
};

class RankPipe {
 public:
  // `pipe`: reading must not block. `sink` must outlive this.
  RankPipe(UniqueFd pipe, std::string prefix, Sink* sink)
      : pipe_(std::move(pipe)), prefix_(std::move(prefix)), sink_(sink) {}

  bool open() const { return pipe_.valid(); }
  bool wants_to_read(int64_t now) const {
    return open() && !sink_->full() && sink_->is_free_for(this, now);
  }
  int fd() const { return pipe_.get(); }
  // At the end of the output, a last line without an end is passed on too, and the pipe closed.
  void read_some(int64_t now);
  // Without a read; 0 when closed.
  size_t bytes_waiting() const;
  // The rank is gone: what it wrote is in the pipe now, and what comes later is not its own. From
  // here on read_some() makes progress whenever wants_to_read(), until the pipe is closed.
  void read_no_later_bytes() { left_ = bytes_waiting(); }
  bool ends_soon() const { return left_ != SIZE_MAX; }
  // Throws away what is left: nobody can be told. The rank's next write fails.
  void abandon() { pipe_.reset(); }

 private:
  void deliver(std::string_view bytes, int64_t now);
  void finish(int64_t now);

  UniqueFd pipe_;
  const std::string prefix_;
  Sink* const sink_;
  std::string partial_;     // a line whose end has not come
  size_t left_ = SIZE_MAX;  // bytes still to be read
};

}  // namespace tutti
