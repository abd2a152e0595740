#include "comm/net/address.h"

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
  Result<SocketAddress> numbers = SocketAddress::resolve("192.0.2.7:8000");
  ASSERT_TRUE(numbers.ok()) << numbers.status().text();
  EXPECT_EQ(numbers.value().text(), "192.0.2.7:8000");
  EXPECT_EQ(SocketAddress::resolve("[::1]:8000").value().text(), "[::1]:8000");
  Result<SocketAddress> local = SocketAddress::resolve("localhost:8001");
  ASSERT_TRUE(local.ok()) << local.status().text();
  EXPECT_TRUE(local.value().is_loopback()) << local.value().text();
  EXPECT_EQ(local.value().port(), 8001);
  for (const char* text : {"", "localhost", "localhost:", "localhost:x", ":80", "[localhost]:80"}) {
    EXPECT_EQ(SocketAddress::resolve(text).status().code(), Code::kInvalidArgument) << text;
  }
  // Not even looked up: no host name has spaces.
  const Status unknown = SocketAddress::resolve("no such host:80").status();
  EXPECT_EQ(unknown.code(), Code::kSystemError);
  EXPECT_NE(unknown.text().find("cannot resolve \"no such host\""), std::string::npos)
      << unknown.text();
}

}  // namespace
}  // namespace tutti
