// What a transport can do that moves messages through rings.
#pragma once

#include <cstddef>

#include "transports/ring/channel.h"
#include "transports/ring/ring.h"
#include "transports/transport.h"

namespace tutti {

inline Capabilities ring_capabilities() {
  // For ranks with a core each; with more ranks than cores nobody spins (rungs_for). 2000 spins are
  // some 60 us, longer than a peer's share of a megabyte takes; 8-byte round trips are the same
  // from 50 spins up. With one core for both ranks a spin rung of 2000 / 200 / 50 would cost 107 /
  // 13 / 5 us per round trip. A yield is about 0.3 us alone, and 200 of them give way to naps,
  // which are 50 us late, after 60 us.
  constexpr WaitRungs kRungs = {2000, 2000};
  Capabilities c;
  c.slots = kRingSlots;
  c.max_message_bytes = (size_t{1} << 56) - 1;  // what a message's tag can say
  c.max_parts = 1024;
  c.view = true;
  c.place = true;
  c.rungs = kRungs;
  return c;
}

// `crowded`: more ranks than cores.
inline RingLimits ring_limits(bool crowded) {
  return {kRingSlots, crowded ? kSpilledBytes : kInlineBytes};
}

}  // namespace tutti
