#include "transports/gloo/channel.h"

#include <utility>

#include "comm/base/check.h"

namespace tutti {

GlooSendChannel::GlooSendChannel(std::shared_ptr<Link> link, SendState* state)
    : link_(std::move(link)), state_(state), base_(link_->posted(*state_)) {}

GlooSendChannel::~GlooSendChannel() { link_->close(state_); }

bool GlooSendChannel::post_send(const OpHeader* header, const iovec* parts, int nparts) {
  return link_->post(state_, header, parts, nparts);
}

bool GlooSendChannel::post_placed(const OpHeader*, size_t) {
  TUTTI_CHECK(false, "post_placed without an address from place()");
  return false;
}

uint64_t GlooSendChannel::posted() const { return link_->posted(*state_) - base_; }

// Messages of an earlier opening may still be unread: they count for nothing here.
uint64_t GlooSendChannel::sent() {
  const uint64_t sent = link_->sent(state_);
  return sent > base_ ? sent - base_ : 0;
}

uint64_t GlooSendChannel::consumed() {
  const uint64_t acked = link_->acked(state_);
  return acked > base_ ? acked - base_ : 0;
}

Status GlooSendChannel::health() const { return link_->health(*state_); }

GlooRecvChannel::GlooRecvChannel(std::shared_ptr<Link> link, RecvState* state)
    : link_(std::move(link)), state_(state), base_(link_->received(state_)) {}

GlooRecvChannel::~GlooRecvChannel() { link_->close(state_); }

bool GlooRecvChannel::release() {
  TUTTI_CHECK(false, "release without a message from view()");
  return false;
}

void GlooRecvChannel::post_recv(const iovec* parts, int nparts) {
  link_->post_recv(state_, parts, nparts);
}

bool GlooRecvChannel::has_message() { return link_->has_message(state_); }

uint64_t GlooRecvChannel::received() { return link_->received(state_) - base_; }

// Written by received() only, which the caller does not run at the same time.
const Message& GlooRecvChannel::last() const { return state_->last; }

Status GlooRecvChannel::health() const { return link_->health(*state_); }

}  // namespace tutti
