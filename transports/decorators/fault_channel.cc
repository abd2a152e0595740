#include "transports/decorators/fault_channel.h"

#include <algorithm>
#include <utility>

namespace tutti {
namespace {

Status killed() { return error(Code::kAborted, "fault: this endpoint was killed"); }

}  // namespace

FaultDice::FaultDice(uint64_t seed, const ChannelKey& key, bool sending) : state_(seed) {
  const uint64_t words[] = {
      key.comm,  key.epoch, static_cast<uint64_t>(key.plane), static_cast<uint64_t>(key.peer),
      key.order, sending};
  for (uint64_t word : words) state_ = next() ^ word;
}

uint64_t FaultDice::next() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

bool FaultDice::happens(double probability) {
  if (probability <= 0) return false;
  return static_cast<double>(next() >> 11) * 0x1p-53 < probability;
}

uint32_t FaultDice::up_to(uint32_t most) {
  return most == 0 ? 0 : 1 + static_cast<uint32_t>(next() % most);
}

FaultSendChannel::FaultSendChannel(FaultTransport* transport, std::unique_ptr<SendChannel> inner,
                                   const ChannelKey& key)
    : transport_(transport), inner_(std::move(inner)), dice_(transport->options().seed, key, true) {
  const std::optional<DropRule>& drop = transport->options().drop;
  if (drop && drop->plane == key.plane && drop->peer == key.peer && drop->order == key.order) {
    drop_from_ = drop->number;
  }
}

bool FaultSendChannel::may_post() {
  if (transport_->step() || dice_.happens(transport_->options().stall)) return false;
  return posted() - inner_->consumed() < transport_->capabilities().slots;
}

bool FaultSendChannel::swallows() {
  if (posted() < drop_from_ || !inner_->health().ok()) return false;
  ++swallowed_;
  return true;
}

bool FaultSendChannel::post_send(const OpHeader* header, const iovec* parts, int nparts) {
  if (!may_post()) return false;
  return swallows() || inner_->post_send(header, parts, nparts);
}

void* FaultSendChannel::place(size_t bytes, uint64_t fingerprint) {
  if (transport_->step() || !transport_->capabilities().place) return nullptr;
  // Inside the drop the inner channel's next message is not the caller's.
  if (posted() >= drop_from_ || dice_.happens(transport_->options().stall)) return nullptr;
  return inner_->place(bytes, fingerprint);
}

bool FaultSendChannel::post_placed(const OpHeader* header, size_t bytes) {
  if (!may_post()) return false;
  return inner_->post_placed(header, bytes);
}

uint64_t FaultSendChannel::sent() {
  if (!transport_->step() && !dice_.happens(transport_->options().stall)) {
    sent_ = std::min(inner_->sent(), drop_from_);
  }
  return sent_;
}

Status FaultSendChannel::health() const { return transport_->dead() ? killed() : inner_->health(); }

FaultRecvChannel::FaultRecvChannel(FaultTransport* transport, std::unique_ptr<RecvChannel> inner,
                                   const ChannelKey& key)
    : transport_(transport),
      inner_(std::move(inner)),
      dice_(transport->options().seed, key, false) {}

bool FaultRecvChannel::held_back(uint64_t message) {
  const FaultOptions& options = transport_->options();
  if (message >= decided_) {
    decided_ = message + 1;
    delay_ = dice_.happens(options.delay) ? dice_.up_to(options.max_delay_polls) : 0;
  }
  if (delay_ == 0) return false;
  --delay_;
  return true;
}

const Message* FaultRecvChannel::view() {
  if (transport_->step() || !transport_->capabilities().view) return nullptr;
  const Message* message = inner_->view();
  // What the caller holds stays visible until it is released.
  if (message == nullptr || showing_) return message;
  if (held_back(reported_) || dice_.happens(transport_->options().stall)) return nullptr;
  showing_ = true;
  return message;
}

bool FaultRecvChannel::release() {
  transport_->step();
  showing_ = false;
  const bool valid = inner_->release();
  // Asking the inner channel would land the next message before its time; but only the inner one
  // knows whether this one still counted when the channel has ended.
  reported_ = inner_->health().ok() ? reported_ + 1 : inner_->received();
  return valid;
}

bool FaultRecvChannel::has_message() { return !transport_->step() && inner_->has_message(); }

void FaultRecvChannel::post_recv(const iovec* parts, int nparts) {
  if (!transport_->step()) inner_->post_recv(parts, nparts);
}

uint64_t FaultRecvChannel::received() {
  if (transport_->step() || dice_.happens(transport_->options().stall)) return reported_;
  // Held back before asking, because the inner channel lands what it reports. The delay is drawn
  // per message but runs whether it has arrived or not.
  if (!showing_ && held_back(reported_)) return reported_;
  reported_ = inner_->received();
  return reported_;
}

void FaultRecvChannel::offer(uint64_t ordinal, void* base, size_t bytes, uint64_t fingerprint) {
  if (transport_->step() || !transport_->capabilities().place) return;
  if (dice_.happens(transport_->options().hide_offer)) return;
  inner_->offer(ordinal, base, bytes, fingerprint);
}

Status FaultRecvChannel::health() const { return transport_->dead() ? killed() : inner_->health(); }

}  // namespace tutti
