// Point-to-point operations: a message on the channel of its (peer, tag), a copy when the peer is
// the rank itself, and a receive from whoever sends first.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comm/base/types.h"
#include "comm/runtime/operation.h"
#include "transports/transport.h"

namespace tutti {

class Communicator;

inline constexpr int kAnyRank = -1;
// The order of tuttiSend and tuttiRecv, apart from all tags.
inline constexpr uint64_t kUntagged = UINT64_MAX;

struct PointToPoint {
  void* buffer = nullptr;
  size_t count = 0;
  DataType dtype = DataType::kUint8;
  int peer = 0;
  uint64_t tag = kUntagged;
  size_t bytes() const { return count * size_of(dtype); }
};

// A receiving channel and whether a receive is posted on it: one at a time, because receives of any
// rank and of this one may both wait for it.
struct RecvSide {
  std::unique_ptr<RecvChannel> channel;
  bool posted = false;
};

// Channels of the point-to-point plane, opened when first used. Thread: as Plans.
class PointToPointChannels {
 public:
  PointToPointChannels(Transport& transport, uint64_t comm_id, const std::vector<int>& peers)
      : transport_(transport), comm_id_(comm_id), peers_(peers) {}
  Result<SendChannel*> send_channel(int peer, uint64_t tag);
  Result<RecvSide*> recv_end(int peer, uint64_t tag);

 private:
  Transport& transport_;
  const uint64_t comm_id_;
  const std::vector<int>& peers_;
  std::map<std::pair<int, uint64_t>, std::unique_ptr<SendChannel>> sends_;
  std::map<std::pair<int, uint64_t>, RecvSide> recvs_;
};

class SendOperation final : public Operation {
 public:
  SendOperation(Communicator& comm, const PointToPoint& message, SendChannel* channel)
      : comm_(comm), message_(message), channel_(channel) {}
  Progress advance() override;
  Status failure() const override { return Status(); }
  Status health(int* peer) const override;
  int waiting_for() const override { return message_.peer; }
  std::string describe() const override;

  // To oneself: the receive copies, then says so.
  const PointToPoint& message() const { return message_; }
  void taken() { taken_ = true; }

 private:
  Communicator& comm_;
  const PointToPoint message_;
  SendChannel* channel_;  // null: to oneself
  iovec part_{};
  uint64_t number_ = 0;
  bool posted_ = false;
  bool taken_ = false;
};

class RecvOperation final : public Operation {
 public:
  // One end per candidate peer; a null one stands for the rank itself.
  struct Candidate {
    int peer;
    RecvSide* end;
  };
  // `source` (may be null) is set to the sender's rank by completion.
  RecvOperation(Communicator& comm, const PointToPoint& message, std::vector<Candidate> candidates,
                int* source)
      : comm_(comm), message_(message), candidates_(std::move(candidates)), source_(source) {}
  Progress advance() override;
  Status failure() const override { return failure_; }
  Status health(int* peer) const override;
  int waiting_for() const override { return message_.peer; }
  std::string describe() const override;

 private:
  Progress take(const Candidate& candidate);
  Progress take_from_self();
  Progress take_view(const Candidate& candidate);
  Progress take_landed(const Candidate& candidate);
  bool expected(const Candidate& candidate, const Message& message);
  Communicator& comm_;
  const PointToPoint message_;
  std::vector<Candidate> candidates_;
  int* source_;
  iovec part_{};
  uint64_t number_ = 0;
  int posted_to_ = kAnyRank;  // the peer whose message lands in our buffer
  Status failure_;
};

}  // namespace tutti
