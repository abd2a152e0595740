#include "transports/inproc/health.h"

namespace tutti {

Status ring_health(uint32_t state, const RingEnd& end, int peer) {
  const int other = 1 - end.side;
  const bool sending = end.direction == Direction::kSend;
  const uint32_t closed = bit_of(sending ? kRecvClosed : kSendClosed, other);
  const uint32_t mine = bit_of(kAborted | kGone, end.side);
  const uint32_t theirs = bit_of(kAborted | kGone, other) | closed;
  if ((state & (mine | theirs)) == 0) return Status();
  const auto comm = static_cast<unsigned long long>(end.key.comm);
  if (state & mine) {
    return error(Code::kAborted, "inproc: communicator %llu epoch %u was aborted here", comm,
                 end.key.epoch);
  }
  const char* what = state & bit_of(kGone, other)      ? "is gone"
                     : state & bit_of(kAborted, other) ? "has aborted"
                                                       : "has closed its end of the channel";
  return error(Code::kRemoteError, "inproc: peer %d %s (communicator %llu epoch %u order %llu)",
               peer, what, comm, end.key.epoch, static_cast<unsigned long long>(end.key.order));
}

}  // namespace tutti
