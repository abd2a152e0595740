#include <algorithm>
#include <cstring>

#include "comm/base/check.h"
#include "transports/mpi/channel.h"

namespace tutti {

MpiSendChannel::MpiSendChannel(std::shared_ptr<MpiEndpoint> endpoint, int peer)
    : endpoint_(std::move(endpoint)), world_(endpoint_->world()), peer_(peer) {}

Result<std::unique_ptr<SendChannel>> MpiSendChannel::open(std::shared_ptr<MpiEndpoint> endpoint,
                                                          const ChannelKey& key) {
  MpiEndpoint& owner = *endpoint;
  std::unique_ptr<MpiSendChannel> channel(new MpiSendChannel(std::move(endpoint), key.peer));
  MutexLock lock(owner.world().mutex);
  Result<MpiPeer> peer = owner.open_send(key, channel.get(), &channel->incarnation_);
  if (!peer.ok()) return peer.status();
  channel->key_ = stream_key(peer.value(), key);
  return std::unique_ptr<SendChannel>(std::move(channel));
}

MpiSendChannel::~MpiSendChannel() {
  MutexLock lock(world_.mutex);
  if (incarnation_ == 0) return;  // never opened
  world_.disown(this);
  endpoint_->close_send(key_, incarnation_, done_.load(std::memory_order_relaxed));
}

bool MpiSendChannel::post_send(const OpHeader* header, const iovec* parts, int nparts) {
  size_t bytes = 0;
  for (int i = 0; i < nparts; ++i) bytes += parts[i].iov_len;
  MutexLock lock(world_.mutex);
  const uint64_t done = done_.load(std::memory_order_relaxed);
  const uint64_t taken = taken_.load(std::memory_order_relaxed);
  if (next_ - std::min(done, taken) >= kMpiSlots) return false;
  if (ended_.load(std::memory_order_relaxed) || world_.is_over()) return false;
  if (peer_closed_ || !world_.failure().ok()) return false;
  Envelope envelope = endpoint_->envelope(PacketKind::kData, key_, incarnation_);
  envelope.number = next_;
  envelope.bytes = bytes;
  if (header != nullptr) {
    envelope.has_header = 1;
    envelope.header = *header;
  }
  if (bytes <= kPacketedBytes) {
    post_packets(&envelope, parts);
    return true;
  }
  return post_payload(&envelope, parts, nparts);
}

// Copies the message into packets.
void MpiSendChannel::post_packets(Envelope* envelope, const iovec* parts) {
  const uint64_t number = next_++;
  const size_t bytes = envelope->bytes;
  uint32_t& left = left_[number % kMpiSlots];
  left = 1;  // ours, until all packets are posted
  int part = 0;
  size_t part_offset = 0;
  size_t offset = 0;
  do {
    Packet* packet = world_.take();
    packet->owner = this;
    envelope->offset = offset;
    packet->envelope = *envelope;
    size_t filled = 0;
    const size_t room = std::min(bytes - offset, kInlineBytes);
    while (filled < room) {
      const size_t run = std::min(room - filled, parts[part].iov_len - part_offset);
      if (run > 0) {
        std::memcpy(packet->data + filled,
                    static_cast<const std::byte*>(parts[part].iov_base) + part_offset, run);
      }
      filled += run;
      part_offset += run;
      if (part_offset == parts[part].iov_len) {
        ++part;
        part_offset = 0;
      }
    }
    offset += filled;
    ++left;
    world_.post_packet(packet, key_.peer, filled);
    world_.posted(packet);
  } while (offset < bytes);
  completed(number);
}

bool MpiSendChannel::post_payload(Envelope* envelope, const iovec* parts, int nparts) {
  Packet* packet = world_.take();
  if (!world_.take_tag(packet)) {
    world_.give(packet);
    return false;
  }
  const uint64_t number = next_++;
  left_[number % kMpiSlots] = 1;
  envelope->kind = PacketKind::kPayload;
  envelope->tag = static_cast<uint32_t>(packet->tag);
  packet->owner = this;
  packet->serial = endpoint_->serial();
  packet->envelope = *envelope;
  world_.post_packet(packet, key_.peer, 0);
  world_.post_payload(packet, parts, nparts);
  world_.posted(packet);
  return true;
}

bool MpiSendChannel::post_placed(const OpHeader*, size_t) {
  TUTTI_CHECK(false, "post_placed without an address from place()");
  return false;
}

uint64_t MpiSendChannel::sent() {
  // Pairs with the stores in end() and completed().
  if (!ended_.load(std::memory_order_acquire)) told_sent_ = done_.load(std::memory_order_acquire);
  return told_sent_;
}

uint64_t MpiSendChannel::consumed() {
  // Pairs with the stores in end() and credit().
  if (!ended_.load(std::memory_order_acquire)) told_taken_ = taken_.load(std::memory_order_acquire);
  return told_taken_;
}

Status MpiSendChannel::health() const {
  MutexLock lock(world_.mutex);
  TUTTI_TRY(endpoint_->health(key_, peer_));
  if (peer_closed_) {
    return error(Code::kRemoteError, "mpi: peer %d has closed its end of the channel", peer_);
  }
  return Status();
}

}  // namespace tutti
