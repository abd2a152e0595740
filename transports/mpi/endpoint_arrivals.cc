// What arrives at an endpoint: messages into their streams, notices to whom they concern.
#include <algorithm>
#include <vector>

#include "transports/mpi/channel.h"
#include "transports/mpi/endpoint.h"

namespace tutti {

void MpiEndpoint::deliver(Packet* packet) {
  world_->assert_held();
  const Envelope& e = packet->envelope;
  const StreamKey key{packet->peer, e.comm, e.order, e.epoch, e.plane};
  switch (e.kind) {
    case PacketKind::kData:
    case PacketKind::kPayload:
      add_message(packet);
      return;
    case PacketKind::kCredit:
    case PacketKind::kCloseRecv: {
      const auto found = sends_.find(e.incarnation);
      if (found == sends_.end()) break;  // closed by now
      if (e.kind == PacketKind::kCredit) {
        found->second->credit(e.number);
      } else {
        found->second->peer_closed();
      }
      break;
    }
    case PacketKind::kCloseSend:
      on_close_send(key, e);
      break;
    case PacketKind::kAbort:
      on_abort(packet->peer, e.comm, e.epoch);
      break;
    case PacketKind::kGone:
      on_gone(packet->peer);
      break;
  }
  world_->give(packet);
}

void MpiEndpoint::add_message(Packet* packet) {
  const Envelope& e = packet->envelope;
  const StreamKey key{packet->peer, e.comm, e.order, e.epoch, e.plane};
  if (ended(key)) {
    world_->give(packet);
    return;
  }
  Stream& stream = streams_[key];
  stream.sender = e.incarnation;
  stream.sender_closed = false;
  packet->next = nullptr;
  if (stream.tail == nullptr) {
    stream.head = packet;
  } else {
    stream.tail->next = packet;
  }
  stream.tail = packet;
  if (stream.open != nullptr) stream.open->wake();
  if (!stream.left_alone || stream.open != nullptr) return;
  // The channel that this sender meant has been closed before it was heard.
  stream.left_alone = false;
  world_->notify(envelope(PacketKind::kCloseRecv, key, e.incarnation), key.peer);
}

void MpiEndpoint::on_close_send(const StreamKey& key, const Envelope& e) {
  const auto found = streams_.find(key);
  if (found == streams_.end()) return;  // never opened here and nothing ever came
  Stream& stream = found->second;
  stream.left_alone = false;
  if (stream.sender == e.incarnation || stream.sender == 0) {
    stream.sender = 0;
    stream.sender_closed = true;
    stream.cut_sender = e.incarnation;
    stream.cut_from = e.number;
  }
  forget_if_unused(key);
}

void MpiEndpoint::on_abort(const MpiPeer& peer, uint64_t comm, uint32_t epoch) {
  world_->assert_held();
  uint32_t& known = peer_of(peer).ended[comm];
  known = std::max(known, epoch);
  refresh_ended();
}

void MpiEndpoint::on_gone(const MpiPeer& peer) {
  peer_of(peer).gone = true;
  for (const auto& [incarnation, channel] : sends_) {
    if (channel->key().peer == peer) channel->peer_closed();
  }
  std::vector<StreamKey> closed;
  for (auto& [key, stream] : streams_) {
    if (!(key.peer == peer)) continue;
    if (stream.sender != 0) {
      stream.cut_sender = stream.sender;
      stream.cut_from = 0;
      stream.sender = 0;
    }
    stream.left_alone = false;
    if (stream.open == nullptr) closed.push_back(key);
  }
  for (const StreamKey& key : closed) forget_if_unused(key);
}

// Tells the channels of communicators that have ended, and drops what waits for them.
void MpiEndpoint::refresh_ended() {
  any_ended_ = true;
  for (const auto& [incarnation, channel] : sends_) {
    if (ended(channel->key())) channel->end();
  }
  std::vector<StreamKey> closed;
  for (auto& [key, stream] : streams_) {
    if (!ended(key)) continue;
    drop_messages(&stream);
    if (stream.open == nullptr) {
      closed.push_back(key);
    } else {
      stream.open->end();
    }
  }
  for (const StreamKey& key : closed) streams_.erase(key);
}

// The oldest message has been taken; its packets are given back.
void MpiEndpoint::take_message(const StreamKey& key, Stream* stream) {
  world_->assert_held();
  const uint64_t number = stream->head->envelope.number;
  const uint32_t incarnation = stream->head->envelope.incarnation;
  bool more = true;
  while (more) {
    Packet* packet = stream->head;
    stream->head = packet->next;
    more = stream->head != nullptr && same_message(*packet, *stream->head);
    world_->give(packet);
  }
  if (stream->head == nullptr) stream->tail = nullptr;
  if (stream->credit_to != incarnation) {
    if (stream->credit_to != 0) send_credit(key);
    stream->credit_to = incarnation;
    stream->credited = 0;
  }
  stream->taken = number + 1;
  if (stream->taken - stream->credited >= kMpiSlots / 2) {
    send_credit(key);
  } else if (!stream->reminded) {
    stream->reminded = true;
    world_->remind(serial_, key);
  }
}

void MpiEndpoint::send_credit(const StreamKey& key) {
  world_->assert_held();
  const auto found = streams_.find(key);
  if (found == streams_.end() || left_) return;
  Stream& stream = found->second;
  stream.reminded = false;
  if (stream.taken == stream.credited || stream.credit_to == 0) return;
  Envelope e = envelope(PacketKind::kCredit, key, stream.credit_to);
  e.number = stream.taken;
  stream.credited = stream.taken;
  world_->notify(e, key.peer);
}

}  // namespace tutti
