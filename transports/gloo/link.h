// Link: what connects this endpoint with one peer, and the state of every channel on it.
//
// Gloo pairs, one per direction, for the rings of records and for large messages (record.h).
// Whoever asks a channel anything moves the whole link: arrived records go to their channels, so
// that a channel nobody reads blocks no other; it keeps at most kWindow messages, of kEagerBytes at
// most.
//
// Invariants: Gloo touches the application's memory only between the grant and the end of a large
// message; taking such memory back earlier (abort, closing a channel) ends the link's connection
// for large messages, for all communicators. Everything else ends without a trace.
// Threads: one lock guards all of it; every public method takes it and none waits for a peer.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "comm/base/mutex.h"
#include "transports/gloo/address.h"
#include "transports/gloo/bulk.h"
#include "transports/gloo/library.h"
#include "transports/gloo/record.h"
#include "transports/gloo/ring.h"
#include "transports/transport.h"

namespace tutti {

enum class Ended : uint8_t { kNo, kHere, kThere };

// One direction of one order, at its sending end. Outlives the channel while messages are unread.
struct SendState {
  WireKey key;
  uint32_t generation = 0;
  uint64_t posted = 0;
  uint64_t acked = 0;
  std::deque<BulkSend> bulks;  // not acknowledged, by number
  std::deque<Record> grants;   // for messages not posted yet, by number
  Ended ended = Ended::kNo;
  // What was last answered: what is still answered once it has ended.
  uint64_t last_sent = 0;
  uint64_t last_acked = 0;
  bool open = false;
  bool peer_closed = false;
  bool wants_bulk = false;  // a large message could not be posted: that connection is gone

  uint64_t sent() const { return bulks.empty() ? posted : bulks.front().number; }
};

struct Arrived {
  bool has_header = false;
  OpHeader header{};
  size_t bytes = 0;
  std::unique_ptr<std::byte[]> data;  // of a small message
  bool large = false;
  uint64_t number = 0;
};

struct Target {
  const iovec* parts;
  int nparts;
  size_t bytes;
  BulkRecv bulk;
};

// ... at its receiving end. Outlives the channel while there are messages for its next opening.
struct RecvState {
  WireKey key;
  std::deque<Arrived> arrived;
  std::deque<Target> targets;  // target i is for message i of `arrived`, or for one to come
  uint32_t generation = 0;     // of the sending end, 0: not known yet
  uint64_t next_number = 0;    // of the next message to arrive
  uint32_t ungranted = 0;      // targets for large messages that nobody has been told of
  uint64_t received = 0;
  uint32_t unacked = 0;
  bool ack_due = false;  // is in Link::unacked_
  Message last{};
  OpHeader last_header{};
  Ended ended = Ended::kNo;
  bool open = false;
  bool peer_closed = false;
};

class Link {
 public:
  Link(int number, int peer) : number_(number), peer_(peer) {}
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Creation, by the endpoint. The pairs outlive shut().
  Status open_pairs(const std::array<GlooPair*, kPairs>& pairs);
  const PairAddresses& addresses() const { return own_; }
  // True when there is something to connect, in run_connects().
  Result<bool> set_peer(const PairAddresses& peer);
  void run_connects();  // on the endpoint's connecting thread; blocks while the kernel connects

  Result<SendState*> open_send(const ChannelKey& key);
  Result<RecvState*> open_recv(const ChannelKey& key);
  void close(SendState* state);
  void close(RecvState* state);

  bool post(SendState* state, const OpHeader* header, const iovec* parts, int nparts);
  uint64_t posted(const SendState& state);
  uint64_t sent(SendState* state);
  uint64_t acked(SendState* state);
  void post_recv(RecvState* state, const iovec* parts, int nparts);
  bool has_message(RecvState* state);
  uint64_t received(RecvState* state);
  Status health(const SendState& state);
  Status health(const RecvState& state);

  // Moves what can be moved now. Answers how many records the link has moved since it was made.
  uint64_t progress();
  uint32_t highest_epoch(uint64_t comm);
  void abort(uint64_t comm, uint32_t epoch);

  // The end. Says goodbye; true when the peer has taken everything, or never will.
  bool bye();
  void shut();  // after the endpoint has closed the pairs

 private:
  using Epochs = std::unordered_map<uint64_t, uint32_t>;  // communicator -> highest epoch ended

  // link.cc: connecting, records in and out
  void look_for_peer() TUTTI_REQUIRES(mutex_);
  void say_hello() TUTTI_REQUIRES(mutex_);
  void fail(const Status& status) TUTTI_REQUIRES(mutex_);
  bool bulk_up() const TUTTI_REQUIRES(mutex_) {
    return bulk_stands_ && bulk_stands_there_ && !bulk_lost_;
  }
  bool has_room(size_t payload_bytes) const TUTTI_REQUIRES(mutex_);
  void push(const Record& record, const iovec* parts, int nparts) TUTTI_REQUIRES(mutex_);
  void push_control(const Record& record) TUTTI_REQUIRES(mutex_);
  // Takes records; with `asking`, only up to the first message landed in one of its targets.
  void poll(RecvState* asking) TUTTI_REQUIRES(mutex_);
  bool take(const Record& record, RecvState* asking) TUTTI_REQUIRES(mutex_);
  bool take_acks(const Record& record) TUTTI_REQUIRES(mutex_);
  void acknowledge(const WireKey& key, uint64_t count) TUTTI_REQUIRES(mutex_);
  void give_credit() TUTTI_REQUIRES(mutex_);
  void note_ack(RecvState* state, bool now) TUTTI_REQUIRES(mutex_);
  void flush_acks() TUTTI_REQUIRES(mutex_);

  // link_send.cc
  bool post_large(SendState* state, Record record, const iovec* parts, int nparts)
      TUTTI_REQUIRES(mutex_);
  bool take_grant(const Record& record) TUTTI_REQUIRES(mutex_);
  void start_bulk(BulkSend* message, const Record& grant) TUTTI_REQUIRES(mutex_);
  void forget_unused(SendState* state) TUTTI_REQUIRES(mutex_);

  // link_recv.cc
  bool take_message(const Record& record, RecvState* asking) TUTTI_REQUIRES(mutex_);
  void grant_targets(RecvState* state) TUTTI_REQUIRES(mutex_);
  bool grant(RecvState* state, Target* target, uint64_t number) TUTTI_REQUIRES(mutex_);
  bool land_front(RecvState* state) TUTTI_REQUIRES(mutex_);
  void count_landed(RecvState* state, const Arrived& message) TUTTI_REQUIRES(mutex_);
  void note_sender(RecvState* state, const Record& record) TUTTI_REQUIRES(mutex_);
  void take_sender(const Record& record, bool closed) TUTTI_REQUIRES(mutex_);
  void forget_unused(RecvState* state) TUTTI_REQUIRES(mutex_);

  // link_ends.cc
  Status may_open(const ChannelKey& key, bool mail) TUTTI_REQUIRES(mutex_);
  Status health_of(const WireKey& key, Ended ended, bool closed, bool needs_bulk)
      TUTTI_REQUIRES(mutex_);
  void probe() TUTTI_REQUIRES(mutex_);
  void end(SendState* state, Ended how) TUTTI_REQUIRES(mutex_);
  void end(RecvState* state, Ended how) TUTTI_REQUIRES(mutex_);
  // Whether Gloo may still touch memory of the application for it; taking that back.
  static bool lends(const SendState& state);
  static bool lends(const RecvState& state);
  void drop_bulk(SendState* state) TUTTI_REQUIRES(mutex_);
  void drop_targets(RecvState* state) TUTTI_REQUIRES(mutex_);
  void take_abort(const Record& record) TUTTI_REQUIRES(mutex_);
  void take_open_or_close(const Record& record) TUTTI_REQUIRES(mutex_);

  const int number_;
  const int peer_;
  std::array<GlooPair*, kPairs> pairs_ = {};  // set once, before any other thread knows of the link
  PairAddresses own_;

  Mutex mutex_;
  PairAddresses peer_address_ TUTTI_GUARDED_BY(mutex_);
  bool has_peer_ TUTTI_GUARDED_BY(mutex_) = false;  // peer_address_ is known
  bool ring_up_ TUTTI_GUARDED_BY(mutex_) = false;
  bool bulk_stands_ TUTTI_GUARDED_BY(mutex_) = false;        // here
  bool bulk_stands_there_ TUTTI_GUARDED_BY(mutex_) = false;  // the peer says
  int64_t looked_ns_ TUTTI_GUARDED_BY(mutex_) = 0;
  bool shut_ TUTTI_GUARDED_BY(mutex_) = false;
  Status failure_ TUTTI_GUARDED_BY(mutex_);  // of the link; what has arrived may still be read
  bool bulk_lost_ TUTTI_GUARDED_BY(mutex_) = false;
  Ring ring_ TUTTI_GUARDED_BY(mutex_);
  Bulk bulk_ TUTTI_GUARDED_BY(mutex_);
  std::unordered_map<WireKey, std::unique_ptr<SendState>, WireKeyHash> sends_
      TUTTI_GUARDED_BY(mutex_);
  std::unordered_map<WireKey, std::unique_ptr<RecvState>, WireKeyHash> recvs_
      TUTTI_GUARDED_BY(mutex_);
  uint32_t generations_ TUTTI_GUARDED_BY(mutex_) = 0;    // of sending ends, so far
  std::deque<Record> waiting_ TUTTI_GUARDED_BY(mutex_);  // without payload, for room in the ring
  bool bye_said_ TUTTI_GUARDED_BY(mutex_) = false;
  uint64_t bye_ TUTTI_GUARDED_BY(mutex_) = 0;         // records pushed up to and with kBye
  bool credit_due_ TUTTI_GUARDED_BY(mutex_) = false;  // the peer waits to hear what was taken
  uint64_t moved_ TUTTI_GUARDED_BY(mutex_) = 0;       // records in, and waiting ones out
  std::vector<RecvState*> unacked_ TUTTI_GUARDED_BY(mutex_);
  int64_t unacked_since_ns_ TUTTI_GUARDED_BY(mutex_) = 0;
  int64_t probed_ns_ TUTTI_GUARDED_BY(mutex_) = 0;
  Epochs ended_here_ TUTTI_GUARDED_BY(mutex_);
  Epochs ended_there_ TUTTI_GUARDED_BY(mutex_);
};

}  // namespace tutti
