// MpiEndpoint: what one rank knows of its peers, and the messages that have arrived for it.
//
// A stream is one order of messages from one peer, there from the first message or the opening of
// its channel, whichever comes first, until both ends are closed and nothing is left to read.
// Messages wait in it as the packets they came in. Notices (closed, aborted, gone) travel behind
// the messages they follow; an abort is told to endpoints of the same process at once.
//
// Threads: the world's mutex guards everything. Jointly owned by its transport and its channels,
// which may outlive the transport but are then of no use.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "comm/base/mutex.h"
#include "comm/base/status.h"
#include "transports/mpi/wire.h"
#include "transports/mpi/world.h"
#include "transports/transport.h"

namespace tutti {

class MpiRecvChannel;
class MpiSendChannel;

struct Stream {
  Packet* head = nullptr;  // oldest message not taken
  Packet* tail = nullptr;
  MpiRecvChannel* open = nullptr;
  uint32_t sender = 0;             // incarnation of the sending end that is open, 0: none known
  bool sender_closed = false;      // and nothing newer has been heard
  bool left_alone = false;         // our end was closed before any sender had been heard
  bool reminded = false;           // the world knows that a credit is owed
  uint32_t credit_to = 0;          // incarnation whose messages we take
  uint64_t taken = 0;              // of that one's messages
  uint64_t credited = 0;           // of `taken`, how much it knows
  uint64_t cut_from = UINT64_MAX;  // messages whose memory may not be read any more: of cut_sender
  uint32_t cut_sender = 0;
};

class MpiEndpoint {
 public:
  // `number`: in texts.
  MpiEndpoint(std::shared_ptr<MpiWorld> world, int number);
  ~MpiEndpoint();
  MpiEndpoint(const MpiEndpoint&) = delete;
  MpiEndpoint& operator=(const MpiEndpoint&) = delete;

  MpiWorld& world() const { return *world_; }
  uint32_t serial() const { return serial_; }
  int number() const { return number_; }

  Status connect(int peer, std::string_view address);
  // Ends the endpoint: peers see it gone.
  void leave();
  void abort(uint64_t comm);

  // From here on: under the mutex.
  Result<MpiPeer> open_send(const ChannelKey& key, MpiSendChannel* channel, uint32_t* incarnation);
  void close_send(const StreamKey& key, uint32_t incarnation, uint64_t lent_from);
  Result<Stream*> open_recv(const ChannelKey& key, MpiRecvChannel* channel, StreamKey* stream_key);
  void close_recv(const StreamKey& key);

  // A packet that has arrived; it belongs to the endpoint from now on.
  void deliver(Packet* packet);
  // The oldest message of the stream has been taken.
  void take_message(const StreamKey& key, Stream* stream);
  void send_credit(const StreamKey& key);
  // A started envelope for what belongs to `key`.
  Envelope envelope(PacketKind kind, const StreamKey& key, uint32_t incarnation) const;

  // Why nothing more moves between this endpoint and `key.peer` on `key`, else ok. `peer`: for the
  // text.
  Status health(const StreamKey& key, int peer) const;
  // Whether `key` has been aborted here or by its peer.
  bool ended(const StreamKey& key) const;

 private:
  using Epochs = std::unordered_map<uint64_t, uint32_t>;  // communicator -> highest ended epoch
  struct Peer {
    bool gone = false;
    Epochs ended;
  };

  static bool covers(const Epochs& ended, const StreamKey& key);
  Peer& peer_of(const MpiPeer& peer) TUTTI_REQUIRES(world_->mutex) { return peers_[peer_id(peer)]; }
  const Peer* find_peer(const MpiPeer& peer) const TUTTI_REQUIRES(world_->mutex);
  static uint64_t peer_id(const MpiPeer& peer) {
    return uint64_t{static_cast<uint32_t>(peer.rank)} << 32 | peer.serial;
  }
  Result<MpiPeer> address_of(const ChannelKey& key) const TUTTI_REQUIRES(world_->mutex);
  void add_message(Packet* packet) TUTTI_REQUIRES(world_->mutex);
  void on_close_send(const StreamKey& key, const Envelope& e) TUTTI_REQUIRES(world_->mutex);
  void on_abort(const MpiPeer& peer, uint64_t comm, uint32_t epoch);
  void on_gone(const MpiPeer& peer) TUTTI_REQUIRES(world_->mutex);
  void refresh_ended() TUTTI_REQUIRES(world_->mutex);
  void drop_messages(Stream* stream) TUTTI_REQUIRES(world_->mutex);
  void forget_if_unused(const StreamKey& key) TUTTI_REQUIRES(world_->mutex);

  const std::shared_ptr<MpiWorld> world_;
  const int number_;
  bool left_ TUTTI_GUARDED_BY(world_->mutex) = false;
  std::unordered_map<int, MpiPeer> addresses_ TUTTI_GUARDED_BY(world_->mutex);  // by number
  std::unordered_map<uint64_t, Peer> peers_ TUTTI_GUARDED_BY(world_->mutex);    // by peer_id
  Epochs ended_ TUTTI_GUARDED_BY(world_->mutex);
  bool any_ended_ TUTTI_GUARDED_BY(world_->mutex) = false;  // here or at a peer
  std::unordered_map<StreamKey, Stream, StreamKeyHash> streams_ TUTTI_GUARDED_BY(world_->mutex);
  std::unordered_map<uint32_t, MpiSendChannel*> sends_ TUTTI_GUARDED_BY(world_->mutex);
  std::unordered_set<StreamKey, StreamKeyHash> open_sends_ TUTTI_GUARDED_BY(world_->mutex);
  uint32_t next_incarnation_ TUTTI_GUARDED_BY(world_->mutex) = 1;
  uint32_t serial_;  // last: the world knows us from here on
};

}  // namespace tutti
