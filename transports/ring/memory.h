// LinkMemory: how the memory that one end of a link lends is named to the other end and found there
// when the two are in different address spaces.
//
// Threads: any; several channels of a link may ask at once. Nothing here waits for the peer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <sys/uio.h>

#include "comm/base/status.h"
#include "transports/ring/ring.h"

namespace tutti {

enum class BlockUse : uint8_t {
  kStaging,  // for as long as the channel lives
  kMessage   // until a message is consumed
};

// Of one message that can go no other way.
struct BlockWait {
  int64_t since_ns = 0;  // when it was first refused; 0: it was not
  Status never;          // why there is no use in asking again
};

class LinkMemory {
 public:
  virtual ~LinkMemory() = default;
  // What the peer needs to reach `part` of ours: its region where the peer can map it (from now on
  // it can), else kOwnAddress.
  virtual LentRange describe(const iovec& part) = 0;
  // Where the peer's memory is in this process; null when it is in no region we can map.
  virtual void* resolve(const LentRange& lent) = 0;
  // Whether the peer may read kOwnAddress memory of ours through read().
  virtual bool peer_can_read() const = 0;
  // Copies from the peer's address space: `bytes` from `offset` on of the parts taken together.
  // kRemoteError when the peer has gone.
  virtual Status read(const LentRange* parts, size_t nparts, size_t offset, void* to,
                      size_t bytes) = 0;
  // Puts other memory of the same contents at the same address: what peers have mapped there is
  // from now on theirs alone.
  virtual Status detach(void* base, size_t bytes) = 0;
  // How often that has happened; and whether it happened to a part of the range since then.
  virtual uint64_t detaches() const = 0;
  virtual bool is_detached(const void* base, size_t bytes, uint64_t since) const = 0;
  // Memory of ours in a region that the peer can map: for copies, and for lists too long for a
  // slot. Null when there is none to be had now; `wait`, unless it is null, is told whether there
  // ever will be.
  virtual void* take_block(size_t bytes, BlockUse use, BlockWait* wait) = 0;
  virtual void give_block(void* block) = 0;
};

}  // namespace tutti
