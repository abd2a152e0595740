// The transport seam: what a way of moving bytes between two ranks must offer.
//
// A Transport is one rank's endpoint. A channel is one direction of one order of messages between
// two ranks: (communicator, epoch, plane, lane or tag). Messages of a channel arrive whole and in
// the order they were posted; channels do not order or block one another. A channel is a number on
// a link, not a socket.
//
// Threads: the methods of a channel are called by one thread at a time (the one that advances the
// communicator); different channels may be used by different threads at once. abort() may be called
// by any thread. Nothing here blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <sys/uio.h>

#include "comm/base/status.h"
#include "comm/base/wait.h"

namespace tutti {

// Travels beside the payload of the first message of an operation, never inside it.
struct OpHeader {
  uint32_t comm_epoch;   // communicator and epoch, folded to 32 bits
  uint32_t sequence;     // of the operation within its order
  uint64_t fingerprint;  // XXH3 of (operation, dtype, redop, root, count, plan)
};
static_assert(sizeof(OpHeader) == 16);

enum class Plane : uint8_t { kCollective, kPointToPoint, kExpert };

// Names one channel. Both ends use the same key but for `peer`.
struct ChannelKey {
  uint64_t comm;   // communicator id, equal on all its ranks
  uint32_t epoch;  // of the communicator
  Plane plane;
  int peer;        // transport-wide number of the other end, as given to connect()
  uint64_t order;  // lane of a collective, tag of a point-to-point message
};

// What a transport can do, as data.
struct Capabilities {
  uint32_t slots;            // K: messages that may be posted and not yet consumed, per channel
  size_t max_message_bytes;  // per message
  int max_parts;             // iovec entries per message
  bool view;                 // RecvChannel::view can show a message where it lies
  bool place;                // SendChannel::place can find an offered address
  bool fetch = false;  // view() may show a message without parts: RecvChannel::fetch copies it
  WaitRungs rungs;     // how long to spin and yield before blocking
  // False: the library underneath allows calls from one thread only, at `thread_level` of its own
  // naming (static storage). Then only abort() may come from another thread.
  bool any_thread = true;
  const char* thread_level = "";
};

// A kernel that touches memory which peers have lent or offered runs between enter() and leave().
// By one thread at a time.
class KernelGate {
 public:
  virtual ~KernelGate() = default;
  virtual bool enter() = 0;  // false: the communicator has ended, touch nothing
  virtual void leave() = 0;
};

// Where no kernel ever touches memory of another process.
class OpenGate final : public KernelGate {
 public:
  bool enter() override { return true; }
  void leave() override {}
};

class SendChannel {
 public:
  virtual ~SendChannel() = default;
  // Posts one message. `parts` and the bytes they name are borrowed until sent() exceeds this
  // message's number (posted() before the call). `header` may be null; it is copied. False when
  // `slots` messages are outstanding: nothing happened, try again after progress().
  virtual bool post_send(const OpHeader* header, const iovec* parts, int nparts) = 0;
  // Where the peer offered to have the next message written, when this process can address it and
  // the offer says exactly `bytes` and `fingerprint`; null otherwise. Never waits for an offer.
  virtual void* place(size_t bytes, uint64_t fingerprint) = 0;
  // Posts the next message, whose `bytes` the caller has written at the address place() returned.
  // False as post_send.
  virtual bool post_placed(const OpHeader* header, size_t bytes) = 0;
  virtual uint64_t posted() const = 0;  // messages posted since the channel was opened
  virtual uint64_t sent() = 0;          // of those, no longer borrowed; monotonic, in order
  // Of those, given back by the receiver: with `slots` posted and not consumed, posting fails. An
  // inline message is sent() at once but consumed() only when the receiver has released it.
  virtual uint64_t consumed() = 0;
  virtual Status health() const = 0;  // why no further message will be consumed, else ok
  // While on, messages are not copied on this side where the peer can read them as they lie, though
  // a copy may be faster.
  virtual void lend_all(bool /*on*/) {}
  // Bytes of messages that were copied on this side, for the peer to read the copy.
  virtual uint64_t copied_bytes() const { return 0; }
};

// An arrived message. `header` is null unless one was sent. `parts` is null where this process
// cannot address the bytes; `placed` when they already lie where offer() said.
struct Message {
  const OpHeader* header;
  const iovec* parts;
  int nparts;
  size_t bytes;
  bool placed;
};

class RecvChannel {
 public:
  virtual ~RecvChannel() = default;
  // The oldest arrived message that has not been released, or null. Stays valid until release().
  // With Capabilities::view false it always answers null: use post_recv.
  virtual const Message* view() = 0;
  // Gives it back: the sender may reuse its memory. False when the channel ended meanwhile: what
  // was read may not be what was sent.
  virtual bool release() = 0;
  // Copies `bytes` from `offset` on of the message that view() shows without `parts`. kRemoteError
  // when its memory is gone. Transports that show every message with parts do without.
  virtual Status fetch(size_t /*offset*/, void* /*to*/, size_t /*bytes*/) {
    return error(Code::kInternalError, "this transport has nothing to fetch");
  }
  // Where the next message not yet posted for (nor shown) goes. view() shows no new message while
  // receives are posted. Borrowed until received() exceeds its number.
  // At most `slots` outstanding. A message of another length than posted is not written; last()
  // tells its length.
  virtual void post_recv(const iovec* parts, int nparts) = 0;
  // Whether a message has arrived and may be taken. Asked only while no receive is posted.
  virtual bool has_message() { return view() != nullptr; }
  // Messages released or landed since the channel was opened. Lands at most one per call, so that
  // last() can be asked about each.
  virtual uint64_t received() = 0;
  virtual const Message& last() const = 0;  // of the last landed message: header, bytes, placed
  // Publishes that message number `ordinal` (counted as received() counts) may be written at `base`
  // by a sender that means exactly `bytes` and `fingerprint`. The range may be written until that
  // message arrives. A hint: transports without `place` ignore it.
  virtual void offer(uint64_t ordinal, void* base, size_t bytes, uint64_t fingerprint) = 0;
  virtual Status health() const = 0;  // why no further message will arrive, else ok
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual const char* name() const = 0;
  virtual const Capabilities& capabilities() const = 0;
  virtual std::string address() const = 0;  // opaque bytes for connect() on a peer
  virtual Status connect(int peer, std::string_view address) = 0;
  // After the last connect(): waits, a bounded time, until all peers have connected here too.
  virtual Status settle() { return Status(); }
  virtual Result<std::unique_ptr<SendChannel>> open_send(const ChannelKey& key) = 0;
  virtual Result<std::unique_ptr<RecvChannel>> open_recv(const ChannelKey& key) = 0;
  // Memory that peers can reach directly. The caller frees or deregisters it when no operation
  // uses it.
  virtual Result<void*> alloc(size_t bytes) = 0;
  virtual void free(void* base) = 0;
  // With `remap` it becomes such memory where peers could not map it: the whole pages in it are
  // replaced, address and contents stay, and deregistering undoes that. Nobody may write there
  // meanwhile. No effect where peers never map memory, or need not.
  virtual Status register_memory(void* base, size_t bytes, bool remap, uint64_t* handle) = 0;
  virtual Status deregister_memory(uint64_t handle) = 0;
  // Whether peers can read the range where it lies, so that no message of it need be copied.
  virtual bool is_shared(const void* /*base*/, size_t /*bytes*/) const { return false; }
  virtual void progress() = 0;      // moves whatever can be moved now
  virtual int wait_fd() const = 0;  // readable when progress() may help; -1: nap instead
  // Around a block on wait_fd(): what peers do from now on makes it readable. What they did before
  // does not, so the caller polls once more in between. Any thread; calls may overlap.
  virtual void begin_wait() {}
  virtual void end_wait() {}
  // One for each communicator, which may outlive neither it nor the endpoint. Any thread.
  virtual Result<std::unique_ptr<KernelGate>> open_gate(uint64_t /*comm*/) {
    return std::unique_ptr<KernelGate>(std::make_unique<OpenGate>());
  }
  // Ends every channel of `comm`, here and, as soon as they look, at its peers. Idempotent,
  // bounded, any thread. No completion is reported after it returns, and no peer touches memory of
  // this rank any more, but for what still_lent() names.
  virtual void abort(uint64_t comm) = 0;
  // After abort(): the callers' memory that may still be touched for `comm`, in words; empty for
  // none. Any thread.
  virtual std::string still_lent(uint64_t /*comm*/) const { return {}; }
  // In good order at the end of all traffic: every rank calls it once, when nothing is pending. May
  // wait for peers where the library underneath insists (MPI_Finalize). Opening channels afterwards
  // fails.
  virtual Status finalize() { return Status(); }
};

}  // namespace tutti
