// The two ends of a channel over Gloo: a place in its link's state (link.h), which does the work.
//
// Invariants: counters start at zero where the channel was opened. No view and no place: messages
// land where receives are posted. Threads: as transport.h says; the link's lock does the rest.
#pragma once

#include <cstdint>
#include <memory>

#include "transports/gloo/link.h"
#include "transports/transport.h"

namespace tutti {

class GlooSendChannel final : public SendChannel {
 public:
  GlooSendChannel(std::shared_ptr<Link> link, SendState* state);
  ~GlooSendChannel() override;

  bool post_send(const OpHeader* header, const iovec* parts, int nparts) override;
  void* place(size_t, uint64_t) override { return nullptr; }
  bool post_placed(const OpHeader* header, size_t bytes) override;
  uint64_t posted() const override;
  uint64_t sent() override;
  uint64_t consumed() override;
  Status health() const override;

 private:
  std::shared_ptr<Link> link_;
  SendState* state_;  // the link's, until closed
  uint64_t base_;
};

class GlooRecvChannel final : public RecvChannel {
 public:
  GlooRecvChannel(std::shared_ptr<Link> link, RecvState* state);
  ~GlooRecvChannel() override;

  const Message* view() override { return nullptr; }
  bool release() override;
  bool has_message() override;
  void post_recv(const iovec* parts, int nparts) override;
  uint64_t received() override;
  const Message& last() const override;
  void offer(uint64_t, void*, size_t, uint64_t) override {}
  Status health() const override;

 private:
  std::shared_ptr<Link> link_;
  RecvState* state_;  // the link's, until closed
  uint64_t base_;
};

}  // namespace tutti
