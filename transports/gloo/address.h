// The address of a Gloo endpoint: where each of its pairs listens, one piece per peer.
//
// Gloo listens with one socket per pair, so that an endpoint's address differs for every peer; it
// is published whole and each peer takes its own piece. Bytes from the network: everything is
// checked before Gloo, which trusts them, sees any. Stateless; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "comm/base/status.h"

namespace tutti {

// The pairs of a link. Each carries data one way only: Gloo locks a pair while it reads from it,
// and its thread spins while somebody else writes to it. At the end with the lower number the Up
// pairs are for sending, at the other the Down pairs.
inline constexpr size_t kUpRing = 0;
inline constexpr size_t kDownRing = 1;
inline constexpr size_t kUpBulk = 2;
inline constexpr size_t kDownBulk = 3;
inline constexpr size_t kPairs = 4;

// What Gloo calls the bytes of an address, of each pair.
using PairAddresses = std::array<std::vector<char>, kPairs>;

// Whether this process can listen on `host`, a numeric address. Gloo, asked for another one, leaks.
Status check_host(const std::string& host);

// `pairs[r]`: for peer r; that of `number` itself is ignored. All have one length.
std::string encode_address(int number, const std::vector<PairAddresses>& pairs);

// The piece of `peer`'s address that is for `number`, one of `nranks`. `own` is our end of it.
// kInvalidArgument for bytes that are no address of that peer for a job of this size and build.
Result<PairAddresses> decode_address(std::string_view address, int peer, int number, int nranks,
                                     const PairAddresses& own);

// Whether Gloo makes the end called `own` the one that connects, the other the one that listens.
bool connects(const std::vector<char>& own, const std::vector<char>& peer);

}  // namespace tutti
