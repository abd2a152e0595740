#include "comm/net/address.h"

#include <atomic>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <string>

#include "tests/net/net_test.h"

namespace tutti {
namespace {

TEST(Address, ParsesWhatItPrints) {
  for (const char* text :
       {"192.0.2.7:8000", "0.0.0.0:0", "255.255.255.255:65535", "[2001:db8::1]:8000", "[::]:1",
        "[::1]:65535", "[::ffff:192.0.2.7]:80", "[fe80::1%1]:80"}) {
    const Result<SocketAddress> address = SocketAddress::parse(text);
    ASSERT_TRUE(address.ok()) << address.status().text();
    EXPECT_EQ(address.value().text(), text);
    EXPECT_EQ(address.value().family(), text[0] == '[' ? AF_INET6 : AF_INET);
  }
  EXPECT_EQ(address_of("[2001:DB8:0:0::1]:8000").text(), "[2001:db8::1]:8000");
  EXPECT_EQ(address_of("[fe80::1%lo]:80").text(), "[fe80::1%1]:80");
}

TEST(Address, RefusesEverythingElse) {
  const std::string zero("192.0.2.7\0:80", 13);
  for (const std::string& text : {std::string(),
                                  std::string(":"),
                                  std::string("192.0.2.7"),
                                  std::string("192.0.2.7:"),
                                  std::string(":8000"),
                                  std::string("192.0.2.7:65536"),
                                  std::string("192.0.2.7:-1"),
                                  std::string("192.0.2.7:+1"),
                                  std::string("192.0.2.7:8 "),
                                  std::string(" 192.0.2.7:8"),
                                  std::string("192.0.2:8000"),
                                  std::string("192.0.2.256:8000"),
                                  std::string("0x7f.0.0.1:80"),
                                  std::string("2001:db8::1:8000"),
                                  std::string("[2001:db8::1]"),
                                  std::string("[192.0.2.7]:8"),
                                  std::string("[]:80"),
                                  std::string("[::1:80"),
                                  std::string("::1]:80"),
                                  std::string("[fe80::1%no-such-interface]:80"),
                                  std::string("[fe80::1%]:80"),
                                  std::string("localhost:80"),
                                  std::string(1000, '['),
                                  zero}) {
    const Result<SocketAddress> address = SocketAddress::parse(text);
    ASSERT_FALSE(address.ok()) << text;
    EXPECT_EQ(address.status().code(), Code::kInvalidArgument);
    EXPECT_NE(address.status().text().find("expected an address"), std::string::npos);
  }
}

TEST(Address, HasParts) {
  const SocketAddress v4 = address_of("192.0.2.7:8000");
  EXPECT_EQ(v4.host(), "192.0.2.7");
  EXPECT_EQ(v4.port(), 8000);
  EXPECT_EQ(v4.length(), sizeof(sockaddr_in));
  EXPECT_EQ(v4.with_port(1).text(), "192.0.2.7:1");
  EXPECT_EQ(v4.text(), "192.0.2.7:8000");
  const SocketAddress v6 = address_of("[2001:db8::1]:8000");
  EXPECT_EQ(v6.host(), "2001:db8::1");
  EXPECT_EQ(v6.port(), 8000);
  EXPECT_EQ(v6.with_port(1).text(), "[2001:db8::1]:1");
  EXPECT_EQ(v4, address_of("192.0.2.7:8000"));
  EXPECT_FALSE(v4 == v4.with_port(1));
  EXPECT_FALSE(v4 == v6);
  EXPECT_EQ(SocketAddress().family(), AF_UNSPEC);
  EXPECT_EQ(SocketAddress().port(), 0);
  EXPECT_EQ(SocketAddress().host(), "");
}

TEST(Address, KnowsLoopback) {
  for (const char* text : {"127.0.0.1:1", "127.255.0.3:1", "[::1]:1", "[::ffff:127.0.0.1]:1"}) {
    EXPECT_TRUE(address_of(text).is_loopback()) << text;
  }
  for (const char* text : {"128.0.0.1:1", "0.0.0.0:1", "[::]:1", "[::2]:1", "[fe80::1]:1"}) {
    EXPECT_FALSE(address_of(text).is_loopback()) << text;
  }
  EXPECT_FALSE(SocketAddress().is_loopback());
}

TEST(Address, ResolvesNamesAndNumbers) {
  const Patience patience = patience_of(20 * kSecond);
  const auto local = SocketAddress::resolve("localhost:8001", patience);
  ASSERT_TRUE(local.ok()) << local.status().text();
  ASSERT_FALSE(local.value().empty());
  for (size_t i = 0; i < local.value().size(); ++i) {
    const SocketAddress& address = local.value()[i];
    EXPECT_TRUE(address.is_loopback()) << address.text();
    EXPECT_EQ(address.port(), 8001);
    for (size_t j = 0; j < i; ++j) EXPECT_FALSE(address == local.value()[j]) << address.text();
  }
  for (const char* text : {"", "localhost", "localhost:", "localhost:x", ":80", "[localhost]:80"}) {
    EXPECT_EQ(SocketAddress::resolve(text, patience).status().code(), Code::kInvalidArgument)
        << text;
  }
  // No host name has spaces, so no server is asked.
  const Status unknown = SocketAddress::resolve("no such host:80", patience).status();
  EXPECT_EQ(unknown.code(), Code::kSystemError);
  EXPECT_NE(unknown.text().find("cannot resolve \"no such host\""), std::string::npos)
      << unknown.text();
}

// With no patience at all a look-up cannot succeed, so these made none.
TEST(Address, NumbersAreNeverLookedUp) {
  const std::atomic<bool> abort = true;
  for (const Patience& none :
       {Patience{Deadline::after_ns(0), nullptr}, Patience{Deadline::never(), &abort}}) {
    for (const char* text : {"192.0.2.7:8000", "[::1]:8000"}) {
      const auto numbers = SocketAddress::resolve(text, none);
      ASSERT_TRUE(numbers.ok()) << numbers.status().text();
      ASSERT_EQ(numbers.value().size(), 1u);
      EXPECT_EQ(numbers.value()[0].text(), text);
    }
  }
}

TEST(Address, ALookUpEndsWithThePatience) {
  const std::atomic<bool> abort = true;
  const Status status =
      SocketAddress::resolve("localhost:80", {Deadline::never(), &abort}).status();
  EXPECT_EQ(status.code(), Code::kAborted);
  EXPECT_EQ(status.text(), "cannot resolve \"localhost\": aborted");
  // A deadline that has passed leaves room for an answer that was faster than we were.
  Status late;
  for (int i = 0; i < 1000 && late.ok(); ++i) {
    late = SocketAddress::resolve("localhost:80", {Deadline::after_ns(0), nullptr}).status();
  }
  EXPECT_EQ(late.code(), Code::kTimeout);
  EXPECT_EQ(late.text(), "cannot resolve \"localhost\": no answer before the deadline");
}

}  // namespace
}  // namespace tutti
