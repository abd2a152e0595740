// MpiWorld: what exists once per process: two communicators of our own, the packets, the requests
// MPI has in hand, and the endpoints that packets are for.
//
// MPI keeps a pool of receives for packets posted at all times, so what arrives never waits for the
// channel it is for. Payloads are sent at once, under a tag that no other payload of this process
// has at the time, and received once their channel knows where they go: every length is known
// before a receive is posted, so MPI can never find one too small. Payloads are synchronous sends:
// one that is complete has met its receive and its tag may be used again.
//
// Making the world is collective over MPI_COMM_WORLD (MPI_Comm_dup) and cannot be given a deadline.
// Threads: `mutex` guards everything here, in the endpoints and in the channels, and serialises all
// calls of MPI; none of those waits. Nothing allocates once the pools have grown to what is needed.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mpi.h>
#include <string>
#include <sys/uio.h>
#include <unordered_map>
#include <vector>

#include "comm/base/mutex.h"
#include "comm/base/status.h"
#include "transports/mpi/library.h"
#include "transports/mpi/wire.h"

namespace tutti {

class MpiEndpoint;
class MpiRecvChannel;
class MpiSendChannel;

// A packet and what MPI does with it. An arrived kPayload packet stands for its message until that
// has landed; a sent one until all requests of its message are complete.
struct Packet {
  Packet* next = nullptr;
  size_t bytes = 0;  // in use of envelope and data
  MpiPeer peer = {};
  uint32_t left = 0;                       // requests of MPI that are not complete
  MpiSendChannel* owner = nullptr;         // told when a sent packet is complete
  MpiRecvChannel* receiver = nullptr;      // woken when its payload has landed
  bool noted = false;                      // the channel has seen the announcement
  bool arriving = false;                   // a payload is being received for it
  bool orphan = false;                     // nobody waits for that payload any more
  int tag = -1;                            // held by the payload it announces
  uint32_t serial = 0;                     // of the endpoint whose memory the payload names
  const void* lent = nullptr;              // that memory, null once MPI is done with it
  bool many_parts = false;                 // `lent` is but its first part
  std::unique_ptr<std::byte[]> discarded;  // where a payload of a wrong length goes
  Envelope envelope = {};
  std::byte data[kInlineBytes];
};

// Whether two packets of one stream hold parts of one message.
inline bool same_message(const Packet& a, const Packet& b) {
  return a.envelope.number == b.envelope.number && a.envelope.incarnation == b.envelope.incarnation;
}

class MpiWorld {
 public:
  // The one of this process, made when it is first asked for.
  static Result<std::shared_ptr<MpiWorld>> get();
  ~MpiWorld();
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  int rank() const { return rank_; }
  int nranks() const { return nranks_; }
  int local_rank() const { return local_rank_; }
  uint64_t job() const { return job_; }
  int level() const { return start_.level; }
  MPI_Comm comm() const { return packets_comm_; }

  uint32_t add_endpoint(MpiEndpoint* endpoint);
  void remove_endpoint(uint32_t serial);
  // Marks it done; after the last one MPI is finalised, if we have initialised it.
  Status finalize(uint32_t serial);

  Packet* take() TUTTI_REQUIRES(mutex);
  void give(Packet* packet) TUTTI_REQUIRES(mutex);
  // Hands the packet's first `bytes` to MPI; close with posted().
  void post_packet(Packet* packet, const MpiPeer& to, size_t bytes) TUTTI_REQUIRES(mutex);
  // Hands the message that `packet` announces to MPI; close with posted(). False: no tag is free.
  bool take_tag(Packet* packet) TUTTI_REQUIRES(mutex);
  void post_payload(Packet* packet, const iovec* parts, int nparts) TUTTI_REQUIRES(mutex);
  // The packet may complete, and vanish, from now on.
  void posted(Packet* packet) TUTTI_REQUIRES(mutex);
  // Receives the payload that `packet` announced; it has landed when `left` is zero.
  void receive_payload(Packet* packet, const iovec* parts, int nparts) TUTTI_REQUIRES(mutex);
  // Gives up on it, or on a packet that waits in a stream. MPI may go on writing it for a while.
  void drop(Packet* packet) TUTTI_REQUIRES(mutex);
  // Sends a packet without data, at once where this thread may call MPI, else from progress().
  void notify(const Envelope& envelope, const MpiPeer& to) TUTTI_REQUIRES(mutex);
  // Forgets an owner that is being destroyed.
  void disown(const MpiSendChannel* owner) TUTTI_REQUIRES(mutex);
  // A stream (of `serial`) that owes credits asks to be reminded when nothing else happens.
  void remind(uint32_t serial, const StreamKey& key) TUTTI_REQUIRES(mutex);
  // Memory of `serial` that MPI may still touch for `comm`; empty for none.
  std::string still_lent(uint32_t serial, uint64_t comm) const TUTTI_REQUIRES(mutex);

  void progress();

  // For code that its callers run under the mutex, where the compiler cannot know that it is this
  // world's.
  void assert_held() const TUTTI_THREAD_ANNOTATION(assert_capability(mutex)) {}

  MpiEndpoint* endpoint(uint32_t serial) TUTTI_REQUIRES(mutex);
  bool is_over() const TUTTI_REQUIRES(mutex) { return over_; }
  const Status& failure() const TUTTI_REQUIRES(mutex) { return failure_; }

  mutable Mutex mutex;

 private:
  explicit MpiWorld(const MpiStart& start) : start_(start) {}
  Status open();
  void close() TUTTI_REQUIRES(mutex);
  static int on_finalize(MPI_Comm comm, int keyval, void* world, void* extra);

  bool may_call() const;
  void note(int rc, const char* call) TUTTI_REQUIRES(mutex);
  void post_receive(size_t index) TUTTI_REQUIRES(mutex);
  bool take_arrivals() TUTTI_REQUIRES(mutex);
  void dispatch(Packet* packet) TUTTI_REQUIRES(mutex);
  bool test_pending(std::vector<MPI_Request>* requests, std::vector<Packet*>* packets)
      TUTTI_REQUIRES(mutex);
  void complete(Packet* packet) TUTTI_REQUIRES(mutex);
  void flush() TUTTI_REQUIRES(mutex);
  void send_reminders() TUTTI_REQUIRES(mutex);
  template <typename Which>
  void set_aside(Which which) TUTTI_REQUIRES(mutex);
  template <typename Post>
  void each_piece(const iovec* parts, int nparts, Post post) TUTTI_REQUIRES(mutex);

  const MpiStart start_;
  MPI_Comm packets_comm_ = MPI_COMM_NULL;
  MPI_Comm payloads_comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int nranks_ = 1;
  int local_rank_ = 0;
  int max_tag_ = 32767;
  int keyval_ = MPI_KEYVAL_INVALID;
  uint64_t job_ = 0;

  bool over_ TUTTI_GUARDED_BY(mutex) = false;
  Status failure_ TUTTI_GUARDED_BY(mutex);
  uint32_t next_serial_ TUTTI_GUARDED_BY(mutex) = 1;
  struct Member {
    MpiEndpoint* endpoint;
    bool done;
  };
  std::unordered_map<uint32_t, Member> endpoints_ TUTTI_GUARDED_BY(mutex);

  std::deque<Packet> packets_ TUTTI_GUARDED_BY(mutex);  // all there are; addresses stay
  Packet* free_ TUTTI_GUARDED_BY(mutex) = nullptr;
  std::vector<MPI_Request> receives_ TUTTI_GUARDED_BY(mutex);
  std::vector<Packet*> receiving_ TUTTI_GUARDED_BY(mutex);
  size_t oldest_ TUTTI_GUARDED_BY(mutex) = 0;  // of receives_: MPI fills them in this order
  size_t used_ TUTTI_GUARDED_BY(mutex) = 0;    // of those before it, how many are not posted
  // Requests that somebody waits for, and those that are only kept until MPI is done with them.
  std::vector<MPI_Request> pending_ TUTTI_GUARDED_BY(mutex);
  std::vector<Packet*> pending_packets_ TUTTI_GUARDED_BY(mutex);
  std::vector<MPI_Request> aside_ TUTTI_GUARDED_BY(mutex);
  std::vector<Packet*> aside_packets_ TUTTI_GUARDED_BY(mutex);
  std::vector<Packet*> finished_ TUTTI_GUARDED_BY(mutex);
  std::vector<int> indices_ TUTTI_GUARDED_BY(mutex);
  std::vector<int> lengths_ TUTTI_GUARDED_BY(mutex);
  std::vector<MPI_Aint> places_ TUTTI_GUARDED_BY(mutex);
  std::vector<int> free_tags_ TUTTI_GUARDED_BY(mutex);
  int next_tag_ TUTTI_GUARDED_BY(mutex) = 0;
  std::vector<std::pair<Envelope, MpiPeer>> outbox_ TUTTI_GUARDED_BY(mutex);
  std::vector<std::pair<uint32_t, StreamKey>> owing_ TUTTI_GUARDED_BY(mutex);
  uint32_t calls_ TUTTI_GUARDED_BY(mutex) = 0;
  uint32_t idle_ TUTTI_GUARDED_BY(mutex) =
      0;  // calls in a row that found nothing, with credits owed
  int64_t idle_since_ns_ TUTTI_GUARDED_BY(mutex) = 0;
};

}  // namespace tutti
