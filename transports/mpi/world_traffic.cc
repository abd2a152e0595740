// Packets and payloads on their way through MPI.
#include <algorithm>
#include <cstddef>

#include "comm/base/clock.h"
#include "transports/mpi/channel.h"
#include "transports/mpi/endpoint.h"
#include "transports/mpi/world.h"

namespace tutti {
namespace {

constexpr int kPacketTag = 0;
// MPI counts in int; longer payloads travel as several messages under one tag.
constexpr size_t kPieceBytes = size_t{1} << 30;
// Time without any news after which owed credits are sent, looked at this rarely. Not a number of
// calls: one takes 0.2 us, or milliseconds where MPI yields a core that many want.
constexpr int64_t kIdleNs = 50'000;
constexpr uint32_t kIdleCalls = 8;
// What nobody waits for is looked at this rarely.
constexpr uint32_t kAsideCalls = 256;

static_assert(offsetof(Packet, data) == offsetof(Packet, envelope) + sizeof(Envelope));

}  // namespace

Packet* MpiWorld::take() {
  if (free_ == nullptr) return &packets_.emplace_back();
  Packet* packet = free_;
  free_ = packet->next;
  packet->next = nullptr;
  return packet;
}

void MpiWorld::give(Packet* packet) {
  packet->owner = nullptr;
  packet->receiver = nullptr;
  packet->noted = false;
  packet->arriving = false;
  packet->orphan = false;
  packet->tag = -1;
  packet->lent = nullptr;
  packet->discarded.reset();
  packet->next = free_;
  free_ = packet;
}

// Whether the calling thread may call MPI at all.
bool MpiWorld::may_call() const {
  if (start_.level >= MPI_THREAD_SERIALIZED) return true;
  int is_main = 0;
  MPI_Is_thread_main(&is_main);
  return is_main != 0;
}

void MpiWorld::note(int rc, const char* call) {
  if (rc != MPI_SUCCESS && failure_.ok()) failure_ = mpi_status(rc, call);
}

void MpiWorld::post_receive(size_t index) {
  Packet* packet = take();
  receiving_[index] = packet;
  note(MPI_Irecv(&packet->envelope, static_cast<int>(kPacketBytes), MPI_BYTE, MPI_ANY_SOURCE,
                 kPacketTag, packets_comm_, &receives_[index]),
       "MPI_Irecv");
}

void MpiWorld::post_packet(Packet* packet, const MpiPeer& to, size_t bytes) {
  packet->peer = to;
  packet->bytes = sizeof(Envelope) + bytes;
  MPI_Request request = MPI_REQUEST_NULL;
  note(MPI_Isend(&packet->envelope, static_cast<int>(packet->bytes), MPI_BYTE, to.rank, kPacketTag,
                 packets_comm_, &request),
       "MPI_Isend");
  int done = 1;
  if (request != MPI_REQUEST_NULL) MPI_Test(&request, &done, MPI_STATUS_IGNORE);
  if (done != 0) return;
  ++packet->left;
  pending_.push_back(request);
  pending_packets_.push_back(packet);
}

void MpiWorld::posted(Packet* packet) {
  if (packet->left == 0) complete(packet);
}

bool MpiWorld::take_tag(Packet* packet) {
  if (!free_tags_.empty()) {
    packet->tag = free_tags_.back();
    free_tags_.pop_back();
    return true;
  }
  if (next_tag_ == max_tag_) return false;
  packet->tag = next_tag_++;
  return true;
}

// Calls post(address, count, type) for stretches that MPI can count.
template <typename Post>
void MpiWorld::each_piece(const iovec* parts, int nparts, Post post) {
  size_t piece = 0;
  lengths_.clear();
  places_.clear();
  const auto finish = [&] {
    assert_held();
    if (lengths_.size() == 1) {
      post(reinterpret_cast<void*>(places_[0]), lengths_[0], MPI_BYTE);
    } else if (!lengths_.empty()) {
      MPI_Datatype type = MPI_DATATYPE_NULL;
      note(MPI_Type_create_hindexed(static_cast<int>(lengths_.size()), lengths_.data(),
                                    places_.data(), MPI_BYTE, &type),
           "MPI_Type_create_hindexed");
      note(MPI_Type_commit(&type), "MPI_Type_commit");
      post(MPI_BOTTOM, 1, type);
      MPI_Type_free(&type);  // MPI keeps it for the request
    }
    lengths_.clear();
    places_.clear();
    piece = 0;
  };
  for (int i = 0; i < nparts; ++i) {
    size_t done = 0;
    while (done < parts[i].iov_len) {
      const size_t run = std::min(parts[i].iov_len - done, kPieceBytes - piece);
      lengths_.push_back(static_cast<int>(run));
      places_.push_back(
          reinterpret_cast<MPI_Aint>(static_cast<std::byte*>(parts[i].iov_base) + done));
      done += run;
      piece += run;
      if (piece == kPieceBytes) finish();
    }
  }
  finish();
}

void MpiWorld::post_payload(Packet* packet, const iovec* parts, int nparts) {
  packet->lent = parts[0].iov_base;
  packet->many_parts = nparts > 1;
  each_piece(parts, nparts, [&](void* base, int count, MPI_Datatype type) {
    assert_held();
    MPI_Request request = MPI_REQUEST_NULL;
    note(MPI_Issend(base, count, type, packet->peer.rank, packet->tag, payloads_comm_, &request),
         "MPI_Issend");
    ++packet->left;
    pending_.push_back(request);
    pending_packets_.push_back(packet);
  });
}

void MpiWorld::receive_payload(Packet* packet, const iovec* parts, int nparts) {
  packet->arriving = true;
  packet->lent = packet->discarded == nullptr ? parts[0].iov_base : nullptr;
  packet->many_parts = nparts > 1;
  const int tag = static_cast<int>(packet->envelope.tag);
  each_piece(parts, nparts, [&](void* base, int count, MPI_Datatype type) {
    assert_held();
    MPI_Request request = MPI_REQUEST_NULL;
    note(MPI_Irecv(base, count, type, packet->peer.rank, tag, payloads_comm_, &request),
         "MPI_Irecv");
    ++packet->left;
    pending_.push_back(request);
    pending_packets_.push_back(packet);
  });
}

void MpiWorld::drop(Packet* packet) {
  if (packet->left == 0) {
    give(packet);
    return;
  }
  packet->orphan = true;
  const bool can = !over_ && may_call();
  for (size_t i = 0; i < pending_.size() && can; ++i) {
    if (pending_packets_[i] == packet) MPI_Cancel(&pending_[i]);
  }
  set_aside([packet](const Packet* other) { return other == packet; });
}

void MpiWorld::disown(const MpiSendChannel* owner) {
  set_aside([owner](const Packet* packet) { return packet->owner == owner; });
  for (Packet* packet : aside_packets_) {
    if (packet->owner == owner) packet->owner = nullptr;
  }
}

template <typename Which>
void MpiWorld::set_aside(Which which) {
  size_t kept = 0;
  for (size_t i = 0; i < pending_.size(); ++i) {
    if (which(pending_packets_[i])) {
      aside_.push_back(pending_[i]);
      aside_packets_.push_back(pending_packets_[i]);
      continue;
    }
    pending_[kept] = pending_[i];
    pending_packets_[kept++] = pending_packets_[i];
  }
  pending_.resize(kept);
  pending_packets_.resize(kept);
}

void MpiWorld::notify(const Envelope& envelope, const MpiPeer& to) {
  if (over_) return;
  if (!may_call()) {
    outbox_.emplace_back(envelope, to);
    return;
  }
  flush();
  Packet* packet = take();
  packet->envelope = envelope;
  post_packet(packet, to, 0);
  posted(packet);
}

void MpiWorld::flush() {
  for (size_t i = 0; i < outbox_.size(); ++i) {
    Packet* packet = take();
    packet->envelope = outbox_[i].first;
    post_packet(packet, outbox_[i].second, 0);
    posted(packet);
  }
  outbox_.clear();
}

void MpiWorld::remind(uint32_t serial, const StreamKey& key) { owing_.emplace_back(serial, key); }

void MpiWorld::send_reminders() {
  for (const auto& [serial, key] : owing_) {
    MpiEndpoint* owner = endpoint(serial);
    if (owner != nullptr) owner->send_credit(key);
  }
  owing_.clear();
}

// All requests of the packet are complete.
void MpiWorld::complete(Packet* packet) {
  packet->lent = nullptr;
  if (packet->arriving) {
    if (packet->orphan) {
      give(packet);
    } else {
      packet->receiver->wake();
    }
    return;
  }
  if (packet->tag >= 0) free_tags_.push_back(packet->tag);
  if (packet->owner != nullptr) packet->owner->completed(packet->envelope.number);
  give(packet);
}

bool MpiWorld::test_pending(std::vector<MPI_Request>* requests, std::vector<Packet*>* packets) {
  if (requests->empty()) return false;
  indices_.resize(requests->size());
  int done = 0;
  note(MPI_Testsome(static_cast<int>(requests->size()), requests->data(), &done, indices_.data(),
                    MPI_STATUSES_IGNORE),
       "MPI_Testsome");
  if (done == MPI_UNDEFINED || done <= 0) return false;
  size_t kept = 0;
  std::vector<Packet*>& finished = finished_;
  finished.clear();
  for (size_t i = 0; i < requests->size(); ++i) {
    Packet* packet = (*packets)[i];
    if ((*requests)[i] == MPI_REQUEST_NULL) {
      if (--packet->left == 0) finished.push_back(packet);
      continue;
    }
    (*requests)[kept] = (*requests)[i];
    (*packets)[kept++] = packet;
  }
  requests->resize(kept);
  packets->resize(kept);
  for (Packet* packet : finished) complete(packet);
  return true;
}

bool MpiWorld::take_arrivals() {
  size_t taken = 0;
  while (used_ < receives_.size()) {
    int done = 0;
    MPI_Status status;
    note(MPI_Test(&receives_[oldest_], &done, &status), "MPI_Test");
    if (done == 0) break;
    Packet* packet = receiving_[oldest_];
    int bytes = 0;
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    packet->bytes = static_cast<size_t>(bytes);
    packet->peer = {status.MPI_SOURCE, packet->envelope.from};
    packet->tag = -1;
    oldest_ = (oldest_ + 1) % receives_.size();
    ++used_;
    ++taken;
    dispatch(packet);
  }
  // Receives are posted again when there is time for it, so that nobody waits for that; or when
  // they run low.
  if (taken == 0 || used_ >= receives_.size() / 2) {
    for (; used_ > 0; --used_)
      post_receive((oldest_ + receives_.size() - used_) % receives_.size());
  }
  return taken > 0;
}

void MpiWorld::dispatch(Packet* packet) {
  const Envelope& e = packet->envelope;
  MpiEndpoint* to = endpoint(e.to);
  if (to != nullptr) {
    to->deliver(packet);
    return;
  }
  if (e.kind == PacketKind::kData || e.kind == PacketKind::kPayload) {
    Envelope gone = {};
    gone.kind = PacketKind::kGone;
    gone.from = e.to;
    gone.to = e.from;
    notify(gone, packet->peer);
  }
  give(packet);
}

void MpiWorld::progress() {
  MutexLock lock(mutex);
  if (over_ || !failure_.ok()) return;
  if (!outbox_.empty()) flush();
  bool news = take_arrivals();
  if (test_pending(&pending_, &pending_packets_)) news = true;
  if (++calls_ % kAsideCalls == 0) test_pending(&aside_, &aside_packets_);
  if (news || owing_.empty()) {
    idle_ = 0;
  } else if (idle_++ == 0) {
    idle_since_ns_ = now_ns();
  } else if (idle_ % kIdleCalls == 0 && now_ns() - idle_since_ns_ >= kIdleNs) {
    send_reminders();
  }
}

}  // namespace tutti
