// The one door to Gloo: its headers, and how its calls are made.
//
// Gloo throws, and it writes to sockets with writev(2), which raises SIGPIPE when the peer has
// gone. Neither may reach the application: every call that may throw goes through gloo_try, every
// call that may write through gloo_send. Threads that Gloo starts inherit a mask without SIGPIPE.
//
// Stateless; any thread.
#pragma once

#include <csignal>
#include <ctime>
#include <exception>
#include <gloo/common/logging.h>
#include <gloo/transport/context.h>
#include <gloo/transport/device.h>
#include <gloo/transport/pair.h>
#include <gloo/transport/tcp/attr.h>
#include <gloo/transport/tcp/device.h>
#include <memory>
#include <utility>
#include <vector>

#include "comm/base/status.h"

namespace tutti {

using GlooBuffer = gloo::transport::Buffer;
using GlooPair = gloo::transport::Pair;

// Keeps SIGPIPE from this thread, and swallows one that came meanwhile.
class SigpipeBlock {
 public:
  SigpipeBlock() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~SigpipeBlock() {
    if (sigismember(&before_, SIGPIPE) == 1) return;  // the caller's business
    const timespec now{};
    sigtimedwait(&pipe_, nullptr, &now);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SigpipeBlock(const SigpipeBlock&) = delete;
  SigpipeBlock& operator=(const SigpipeBlock&) = delete;

 private:
  sigset_t pipe_;
  sigset_t before_;
};

// Runs `call`; what it throws becomes a failure with `code` and Gloo's words.
template <typename Call>
Status gloo_try(Code code, Call call) {
  try {
    call();
  } catch (const std::exception& e) {
    return error(code, "%s", e.what());
  }
  return Status();
}

template <typename Call>
Status gloo_send(Call call) {
  const SigpipeBlock block;
  return gloo_try(Code::kRemoteError, std::move(call));
}

// Sends nothing through `buffer`, to hear of its pair, which Gloo tells only to whoever uses it:
// kInProgress while it is not connected, kRemoteError when it has failed.
inline Status gloo_probe(GlooBuffer* buffer) {
  const SigpipeBlock block;
  try {
    buffer->send(0, 0, 0);
  } catch (const gloo::EnforceNotMet&) {
    return error(Code::kInProgress, "not connected yet");
  } catch (const std::exception& e) {
    return error(Code::kRemoteError, "%s", e.what());
  }
  return Status();
}

}  // namespace tutti
