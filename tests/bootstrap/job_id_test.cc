#include "comm/bootstrap/job_id.h"

#include <gtest/gtest.h>

namespace tutti {
namespace {

JobId example() {
  JobId id;
  for (size_t i = 0; i < id.secret.size(); ++i) id.secret[i] = static_cast<uint8_t>(i * 17);
  id.candidates = {SocketAddress::parse("192.0.2.7:4000").value(),
                   SocketAddress::parse("[2001:db8::1]:65535").value(),
                   SocketAddress::parse("127.0.0.1:1").value()};
  return id;
}

TEST(JobId, ComesBackAsItWas) {
  const std::string bytes = example().encode();
  ASSERT_EQ(bytes.size(), JobId::kBytes);
  const Result<JobId> id = JobId::decode(bytes);
  ASSERT_TRUE(id.ok()) << id.status().text();
  EXPECT_EQ(id.value().secret, example().secret);
  EXPECT_EQ(id.value().candidates, example().candidates);
}

TEST(JobId, EveryWrongByteIsFound) {
  const std::string bytes = example().encode();
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string wrong = bytes;
    wrong[i] = static_cast<char>(wrong[i] ^ 0x20);
    const Result<JobId> id = JobId::decode(wrong);
    ASSERT_FALSE(id.ok()) << i;
    EXPECT_EQ(id.status().code(), Code::kInvalidArgument);
  }
}

TEST(JobId, OtherBytesAreNone) {
  EXPECT_FALSE(JobId::decode("").ok());
  EXPECT_FALSE(JobId::decode(std::string(JobId::kBytes, '\0')).ok());
  EXPECT_FALSE(JobId::decode(example().encode() + "x").ok());
}

}  // namespace
}  // namespace tutti
