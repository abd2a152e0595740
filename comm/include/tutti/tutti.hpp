// A thin C++ face of tutti.h: handles that free themselves, failures as exceptions. Header only;
// C++17.
//
//   tutti::check(tuttiAllReduce(...), comm.get());      // throws tutti::Error
//   std::vector<tutti::Comm> ranks = tutti::Comm::init_all(4);
//
// Threads and ownership as in tutti.h. Destructors never wait for peers: a communicator with
// pending operations is aborted first.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tutti/tutti.h"

namespace tutti {

class Error : public std::runtime_error {
 public:
  Error(tuttiResult_t result, const std::string& text)
      : std::runtime_error(std::string(tuttiGetErrorString(result)) + ": " + text),
        result_(result) {}
  tuttiResult_t result() const noexcept { return result_; }

 private:
  tuttiResult_t result_;
};

// Throws Error unless `result` is tuttiSuccess or tuttiInProgress.
inline void check(tuttiResult_t result, tuttiComm_t comm = nullptr) {
  if (result == tuttiSuccess || result == tuttiInProgress) return;
  throw Error(result, tuttiGetLastError(comm));
}

// Owns a communicator.
class Comm {
 public:
  Comm() = default;
  explicit Comm(tuttiComm_t comm) noexcept : comm_(comm) {}
  Comm(Comm&& other) noexcept : comm_(std::exchange(other.comm_, nullptr)) {}
  Comm& operator=(Comm&& other) noexcept {
    std::swap(comm_, other.comm_);
    return *this;
  }
  ~Comm() {
    if (comm_ == nullptr || tuttiCommDestroy(comm_) == tuttiSuccess) return;
    tuttiCommAbort(comm_);
    tuttiCommDestroy(comm_);
  }

  static std::vector<Comm> init_all(int nranks, const tuttiConfig_t* config = nullptr) {
    std::vector<tuttiComm_t> handles(static_cast<size_t>(nranks > 0 ? nranks : 0));
    check(tuttiCommInitAll(handles.data(), nranks, config));
    std::vector<Comm> comms;
    for (tuttiComm_t handle : handles) comms.emplace_back(handle);
    return comms;
  }

  // A communicator of the ranks that give the same color; empty for TUTTI_SPLIT_NOCOLOR.
  Comm split(int color, int key, const tuttiConfig_t* config = nullptr) const {
    tuttiComm_t made = nullptr;
    check(tuttiCommSplit(comm_, color, key, &made, config), comm_);
    return Comm(made);
  }

  tuttiComm_t get() const noexcept { return comm_; }
  tuttiComm_t release() noexcept { return std::exchange(comm_, nullptr); }
  explicit operator bool() const noexcept { return comm_ != nullptr; }
  int rank() const {
    int rank = 0;
    check(tuttiCommUserRank(comm_, &rank), comm_);
    return rank;
  }
  int nranks() const {
    int nranks = 0;
    check(tuttiCommCount(comm_, &nranks), comm_);
    return nranks;
  }

 private:
  tuttiComm_t comm_ = nullptr;
};

// Owns a window: memory registered with a communicator. Neither the memory nor the communicator may
// go before it.
class Window {
 public:
  Window(const Comm& comm, void* ptr, size_t bytes, int flags = TUTTI_WINDOW_DEFAULT)
      : comm_(comm.get()) {
    check(tuttiCommWindowRegister(comm_, ptr, bytes, &window_, flags), comm_);
  }
  Window(Window&& other) noexcept
      : comm_(other.comm_), window_(std::exchange(other.window_, nullptr)) {}
  Window& operator=(Window&& other) noexcept {
    std::swap(comm_, other.comm_);
    std::swap(window_, other.window_);
    return *this;
  }
  ~Window() {
    if (window_ != nullptr) tuttiCommDeregister(comm_, window_);
  }
  tuttiWindow_t get() const noexcept { return window_; }

 private:
  tuttiComm_t comm_ = nullptr;
  tuttiWindow_t window_ = nullptr;
};

// Owns a stream of the host device.
class Stream {
 public:
  Stream() { check(tuttiStreamCreate(&stream_)); }
  Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(stream_, other.stream_);
    return *this;
  }
  // Waits for what is enqueued: the operations on it hold its buffers.
  ~Stream() {
    if (stream_ == nullptr) return;
    tuttiStreamSynchronize(stream_);
    tuttiStreamDestroy(stream_);
  }
  void synchronize() const { check(tuttiStreamSynchronize(stream_)); }
  tuttiStream_t get() const noexcept { return stream_; }

 private:
  tuttiStream_t stream_ = nullptr;
};

// Groups the calls of a scope. end() reports; a scope left by an exception drops its calls' errors.
class Group {
 public:
  Group() { check(tuttiGroupStart()); }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  ~Group() {
    if (open_) tuttiGroupEnd();
  }
  void end() {
    open_ = false;
    check(tuttiGroupEnd());
  }

 private:
  bool open_ = true;
};

}  // namespace tutti
