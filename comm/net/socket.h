// What connection.cc and listener.cc share about sockets. Private to net; any thread.
#pragma once

#include <string>

#include "comm/base/status.h"
#include "comm/base/unique_fd.h"
#include "comm/net/address.h"
#include "comm/net/patience.h"

namespace tutti {

// "connection refused": the system's text in lower case.
std::string errno_text(int number);

// A TCP socket for `family`: never blocks, closed by exec, IPv6 only where it is IPv6, no delay.
// kSystemError.
Result<UniqueFd> make_socket(int family);
void set_no_delay(int fd);

// The address of this end, or of no family when there is none.
SocketAddress local_address(int fd);

// Until poll() reports one of `events` (or an error) on `fd`; -1 for a mere pause. kTimeout or
// kAborted without a text worth showing: the caller knows what was waited for.
Status wait_ready(int fd, short events, const Patience& patience);

// Closing a socket after this resets the connection: the peer's kernel says so instead of showing
// an orderly end.
void reset_on_close(int fd);

}  // namespace tutti
