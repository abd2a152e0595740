#include <algorithm>
#include <cstring>
#include <new>

#include "comm/base/check.h"
#include "transports/mpi/channel.h"

namespace tutti {

MpiRecvChannel::MpiRecvChannel(std::shared_ptr<MpiEndpoint> endpoint, int peer)
    : endpoint_(std::move(endpoint)), world_(endpoint_->world()), peer_(peer) {}

Result<std::unique_ptr<RecvChannel>> MpiRecvChannel::open(std::shared_ptr<MpiEndpoint> endpoint,
                                                          const ChannelKey& key) {
  MpiEndpoint& owner = *endpoint;
  std::unique_ptr<MpiRecvChannel> channel(new MpiRecvChannel(std::move(endpoint), key.peer));
  MutexLock lock(owner.world().mutex);
  Result<Stream*> stream = owner.open_recv(key, channel.get(), &channel->key_);
  if (!stream.ok()) return stream.status();
  channel->stream_ = stream.value();
  return std::unique_ptr<RecvChannel>(std::move(channel));
}

MpiRecvChannel::~MpiRecvChannel() {
  MutexLock lock(world_.mutex);
  if (stream_ == nullptr) return;  // never opened
  // Messages that were landing are lost; MPI is asked to forget them.
  Packet* packet = stream_->head;
  stream_->head = nullptr;
  stream_->tail = nullptr;
  while (packet != nullptr) {
    Packet* next = packet->next;
    packet->next = nullptr;
    if (packet->arriving) {
      world_.drop(packet);
    } else {
      (stream_->tail == nullptr ? stream_->head : stream_->tail->next) = packet;
      stream_->tail = packet;
    }
    packet = next;
  }
  endpoint_->close_recv(key_);
}

bool MpiRecvChannel::release() {
  TUTTI_CHECK(false, "release without a message from view()");
  return false;
}

void MpiRecvChannel::post_recv(const iovec* parts, int nparts) {
  TUTTI_CHECK(pending_ < kMpiSlots, "more receives posted than slots");
  targets_[(received_ + pending_) % kMpiSlots] = {parts, nparts};
  ++pending_;
  news_.store(true, std::memory_order_relaxed);  // only this thread takes it back
}

// Whether the sender has taken back the memory that the packet announces.
bool MpiRecvChannel::is_cut(const Packet* packet) const {
  const Envelope& e = packet->envelope;
  return e.kind == PacketKind::kPayload && !packet->arriving &&
         e.incarnation == stream_->cut_sender && e.number >= stream_->cut_from;
}

// Receives every payload that has been announced and has a place to go. False while some are left.
bool MpiRecvChannel::start_payloads() {
  bool all = true;
  Packet* packet = stream_->head;
  for (uint32_t i = 0; i < pending_ && packet != nullptr; ++i) {
    const Packet* first = packet;
    if (packet->envelope.kind == PacketKind::kPayload && !packet->arriving) {
      if (is_cut(packet)) return all;
      if (!packet->noted) {
        // Next time. Receiving may copy all of it here and now, and the caller may have messages to
        // send first, without which peers would stand idle for as long.
        packet->noted = true;
        all = false;
      } else if (!start_payload(packet, targets_[(received_ + i) % kMpiSlots])) {
        return true;  // it never will be
      }
    }
    do {
      packet = packet->next;
    } while (packet != nullptr && same_message(*first, *packet));
  }
  return all;
}

bool MpiRecvChannel::start_payload(Packet* packet, const Target& target) {
  size_t room = 0;
  for (int i = 0; i < target.nparts; ++i) room += target.parts[i].iov_len;
  packet->serial = endpoint_->serial();
  packet->receiver = this;
  if (room == packet->envelope.bytes) {
    world_.receive_payload(packet, target.parts, target.nparts);
    return true;
  }
  // Of another length: taken out of MPI's hands, but not to the caller.
  packet->discarded.reset(new (std::nothrow) std::byte[packet->envelope.bytes]);
  if (packet->discarded == nullptr) {
    failure_ = error(Code::kOutOfMemory, "mpi: no memory for %llu bytes from peer %d, %zu expected",
                     static_cast<unsigned long long>(packet->envelope.bytes), peer_, room);
    return false;
  }
  const iovec part = {packet->discarded.get(), packet->envelope.bytes};
  world_.receive_payload(packet, &part, 1);
  return true;
}

// Copies the oldest message out of its packets once all of them are there.
bool MpiRecvChannel::copy_packets(const Target& target) {
  const Packet* first = stream_->head;
  const Packet* last = first;
  size_t arrived = 0;
  for (const Packet* p = first; p != nullptr && same_message(*first, *p); p = p->next) {
    arrived += p->bytes - sizeof(Envelope);
    last = p;
  }
  if (arrived < first->envelope.bytes) return false;
  size_t room = 0;
  for (int i = 0; i < target.nparts; ++i) room += target.parts[i].iov_len;
  if (room != first->envelope.bytes || room == 0) return true;
  size_t part_offset = 0;
  const iovec* part = target.parts;
  for (const Packet* p = first;; p = p->next) {
    const size_t held = p->bytes - sizeof(Envelope);
    for (size_t done = 0; done < held;) {
      const size_t run = std::min(held - done, part->iov_len - part_offset);
      if (run > 0) {
        std::memcpy(static_cast<std::byte*>(part->iov_base) + part_offset, p->data + done, run);
      }
      done += run;
      part_offset += run;
      if (part_offset == part->iov_len) {
        ++part;
        part_offset = 0;
      }
    }
    if (p == last) return true;
  }
}

bool MpiRecvChannel::has_landed() {
  const Packet* packet = stream_->head;
  if (packet->envelope.kind == PacketKind::kPayload) return packet->arriving && packet->left == 0;
  return copy_packets(targets_[received_ % kMpiSlots]);
}

bool MpiRecvChannel::has_message() {
  MutexLock lock(world_.mutex);
  return !ended_ && stream_->head != nullptr && !is_cut(stream_->head);
}

uint64_t MpiRecvChannel::received() {
  // Pairs with the store in wake().
  if (pending_ == 0 || !news_.load(std::memory_order_acquire)) return received_;
  MutexLock lock(world_.mutex);
  if (ended_) return received_;
  if (stream_->head == nullptr) {
    news_.store(false, std::memory_order_relaxed);
    return received_;
  }
  const bool all_started = start_payloads();
  if (!has_landed()) {
    if (all_started) news_.store(false, std::memory_order_relaxed);
    return received_;
  }
  const Envelope& e = stream_->head->envelope;
  last_ = {nullptr, nullptr, 0, e.bytes, false};
  if (e.has_header != 0) {
    last_header_ = e.header;
    last_.header = &last_header_;
  }
  --pending_;
  ++received_;
  endpoint_->take_message(key_, stream_);
  return received_;
}

Status MpiRecvChannel::health() const {
  MutexLock lock(world_.mutex);
  Status known = endpoint_->health(key_, peer_);
  if (ended_) return known;
  if (!failure_.ok()) return failure_;
  if (stream_->head != nullptr) {
    // What has arrived can be taken, unless its sender has taken it back.
    if (!is_cut(stream_->head)) return Status();
    return error(Code::kRemoteError, "mpi: peer %d has closed its end with a message still lent",
                 peer_);
  }
  TUTTI_TRY(known);
  if (stream_->sender_closed) {
    return error(Code::kRemoteError, "mpi: peer %d has closed its end of the channel", peer_);
  }
  return Status();
}

}  // namespace tutti
