#include "transports/mpi/endpoint.h"

#include <algorithm>

#include "transports/mpi/channel.h"

namespace tutti {

MpiEndpoint::MpiEndpoint(std::shared_ptr<MpiWorld> world, int number)
    : world_(std::move(world)), number_(number), serial_(world_->add_endpoint(this)) {}

MpiEndpoint::~MpiEndpoint() {
  leave();
  MutexLock lock(world_->mutex);
  for (auto& [key, stream] : streams_) drop_messages(&stream);
}

void MpiEndpoint::leave() {
  {
    MutexLock lock(world_->mutex);
    if (left_) return;
    left_ = true;
    Envelope gone = {};
    gone.kind = PacketKind::kGone;
    gone.from = serial_;
    for (const auto& [number, peer] : addresses_) {
      if (peer_of(peer).gone) continue;
      gone.to = peer.serial;
      world_->notify(gone, peer);
    }
  }
  world_->remove_endpoint(serial_);
}

Status MpiEndpoint::connect(int peer, std::string_view address) {
  const std::optional<DecodedAddress> decoded = decode_address(address);
  if (!decoded.has_value() || decoded->peer.rank >= world_->nranks()) {
    return error(Code::kInvalidArgument, "mpi %d: %zu bytes given for peer %d are no address",
                 number_, address.size(), peer);
  }
  if (decoded->job != world_->job()) {
    return error(Code::kInvalidArgument, "mpi %d: peer %d belongs to another MPI job", number_,
                 peer);
  }
  MutexLock lock(world_->mutex);
  const bool local = decoded->peer.rank == world_->rank();
  if (peer_of(decoded->peer).gone || (local && world_->endpoint(decoded->peer.serial) == nullptr)) {
    return error(Code::kRemoteError, "mpi %d: peer %d is gone", number_, peer);
  }
  const auto [known, added] = addresses_.emplace(peer, decoded->peer);
  if (!added && !(known->second == decoded->peer)) {
    return error(Code::kInvalidUsage, "mpi %d: peer %d is connected to another endpoint", number_,
                 peer);
  }
  return Status();
}

Envelope MpiEndpoint::envelope(PacketKind kind, const StreamKey& key, uint32_t incarnation) const {
  Envelope e = {};
  e.comm = key.comm;
  e.order = key.order;
  e.epoch = key.epoch;
  e.from = serial_;
  e.to = key.peer.serial;
  e.plane = key.plane;
  e.kind = kind;
  e.incarnation = incarnation;
  return e;
}

bool MpiEndpoint::covers(const Epochs& ended, const StreamKey& key) {
  const auto found = ended.find(key.comm);
  return found != ended.end() && key.epoch <= found->second;
}

const MpiEndpoint::Peer* MpiEndpoint::find_peer(const MpiPeer& peer) const {
  const auto found = peers_.find(peer_id(peer));
  return found == peers_.end() ? nullptr : &found->second;
}

bool MpiEndpoint::ended(const StreamKey& key) const {
  world_->assert_held();
  if (!any_ended_) return false;
  if (covers(ended_, key)) return true;
  const Peer* peer = find_peer(key.peer);
  return peer != nullptr && covers(peer->ended, key);
}

Status MpiEndpoint::health(const StreamKey& key, int peer) const {
  world_->assert_held();
  if (covers(ended_, key)) {
    const std::string lent = world_->still_lent(serial_, key.comm);
    return error(Code::kAborted, "mpi: communicator %llu epoch %u was aborted here%s%s",
                 static_cast<unsigned long long>(key.comm), key.epoch, lent.empty() ? "" : "; ",
                 lent.c_str());
  }
  if (world_->is_over()) return error(Code::kInvalidUsage, "mpi: MPI has been finalised");
  if (!world_->failure().ok()) return world_->failure();
  const Peer* other = find_peer(key.peer);
  if (other == nullptr) return Status();
  if (covers(other->ended, key)) {
    return error(Code::kRemoteError, "mpi: communicator %llu epoch %u was aborted by peer %d",
                 static_cast<unsigned long long>(key.comm), key.epoch, peer);
  }
  if (other->gone) return error(Code::kRemoteError, "mpi: peer %d is gone", peer);
  return Status();
}

Result<MpiPeer> MpiEndpoint::address_of(const ChannelKey& key) const {
  if (left_) return error(Code::kAborted, "mpi: this endpoint has been destroyed");
  const auto found = addresses_.find(key.peer);
  if (found == addresses_.end()) {
    return error(Code::kInvalidUsage, "mpi %d: peer %d is not connected", number_, key.peer);
  }
  return found->second;
}

Result<MpiPeer> MpiEndpoint::open_send(const ChannelKey& key, MpiSendChannel* channel,
                                       uint32_t* incarnation) {
  world_->assert_held();
  Result<MpiPeer> peer = address_of(key);
  if (!peer.ok()) return peer;
  const StreamKey name = stream_key(peer.value(), key);
  Status allowed = health(name, key.peer);
  if (!allowed.ok()) return allowed;
  if (!open_sends_.insert(name).second) {
    return error(Code::kInvalidUsage, "mpi: the send end of order %llu with peer %d is open",
                 static_cast<unsigned long long>(key.order), key.peer);
  }
  if (next_incarnation_ == 0) next_incarnation_ = 1;
  *incarnation = next_incarnation_++;
  sends_.emplace(*incarnation, channel);
  return peer;
}

void MpiEndpoint::close_send(const StreamKey& key, uint32_t incarnation, uint64_t lent_from) {
  world_->assert_held();
  sends_.erase(incarnation);
  open_sends_.erase(key);
  if (left_ || ended(key)) return;
  Envelope e = envelope(PacketKind::kCloseSend, key, incarnation);
  e.number = lent_from;
  world_->notify(e, key.peer);
}

Result<Stream*> MpiEndpoint::open_recv(const ChannelKey& key, MpiRecvChannel* channel,
                                       StreamKey* name) {
  world_->assert_held();
  Result<MpiPeer> peer = address_of(key);
  if (!peer.ok()) return peer.status();
  *name = stream_key(peer.value(), key);
  const auto known = streams_.find(*name);
  // What a peer that is gone has sent before may still be read.
  const bool mail = known != streams_.end() && known->second.head != nullptr;
  Status allowed = health(*name, key.peer);
  if (!allowed.ok() && (!mail || ended(*name))) return allowed;
  Stream& stream = streams_[*name];
  if (stream.open != nullptr) {
    return error(Code::kInvalidUsage, "mpi: the receive end of order %llu with peer %d is open",
                 static_cast<unsigned long long>(key.order), key.peer);
  }
  stream.open = channel;
  stream.left_alone = false;
  if (stream.head == nullptr && stream.sender == 0) stream.sender_closed = false;
  return &stream;
}

void MpiEndpoint::close_recv(const StreamKey& key) {
  world_->assert_held();
  const auto found = streams_.find(key);
  if (found == streams_.end()) return;
  Stream& stream = found->second;
  stream.open = nullptr;
  if (!left_ && !ended(key)) {
    send_credit(key);
    if (stream.sender != 0) {
      world_->notify(envelope(PacketKind::kCloseRecv, key, stream.sender), key.peer);
    } else if (!stream.sender_closed) {
      stream.left_alone = true;
    }
  }
  forget_if_unused(key);
}

void MpiEndpoint::forget_if_unused(const StreamKey& key) {
  const auto found = streams_.find(key);
  if (found == streams_.end() || found->second.open != nullptr) return;
  Stream& stream = found->second;
  const Peer* peer = find_peer(key.peer);
  const bool over = left_ || ended(key) || (peer != nullptr && peer->gone);
  if (over) {
    const bool readable = !left_ && !ended(key) && stream.head != nullptr;
    if (readable) return;
    drop_messages(&stream);
  } else if (stream.head != nullptr || stream.sender != 0 || stream.left_alone) {
    return;
  }
  streams_.erase(found);
}

void MpiEndpoint::drop_messages(Stream* stream) {
  while (stream->head != nullptr) {
    Packet* packet = stream->head;
    stream->head = packet->next;
    packet->next = nullptr;
    world_->drop(packet);
  }
  stream->tail = nullptr;
}

void MpiEndpoint::abort(uint64_t comm) {
  MutexLock lock(world_->mutex);
  if (left_) return;
  uint32_t epoch = 0;
  for (const auto& [incarnation, channel] : sends_) {
    if (channel->key().comm == comm) epoch = std::max(epoch, channel->key().epoch);
  }
  for (const auto& [key, stream] : streams_) {
    if (key.comm == comm && stream.open != nullptr) epoch = std::max(epoch, key.epoch);
  }
  const auto [known, first] = ended_.emplace(comm, epoch);
  if (!first && known->second >= epoch) return;
  known->second = epoch;
  refresh_ended();
  Envelope e = {};
  e.kind = PacketKind::kAbort;
  e.comm = comm;
  e.epoch = epoch;
  e.from = serial_;
  const MpiPeer self{world_->rank(), serial_};
  for (const auto& [number, peer] : addresses_) {
    if (peer.rank == self.rank) {
      MpiEndpoint* other = world_->endpoint(peer.serial);
      if (other != nullptr) other->on_abort(self, comm, epoch);
      continue;
    }
    e.to = peer.serial;
    world_->notify(e, peer);
  }
}

}  // namespace tutti
