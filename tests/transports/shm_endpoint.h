// An endpoint of shm, as the tests of shm open it.
#pragma once

#include <memory>
#include <utility>

#include "tests/transports/conformance.h"
#include "transports/shm/shm.h"

namespace tutti {

inline std::unique_ptr<Transport> open_endpoint(int number, const Secret& secret = {},
                                                int64_t connect_ns = 200'000'000) {
  ShmOptions options;
  options.connect_ns = connect_ns;
  auto made = ShmTransport::open(number, secret, std::make_shared<OwnRegions>(), options);
  EXPECT_TRUE(made.ok()) << made.status().text();
  return std::move(made.value());
}

}  // namespace tutti
