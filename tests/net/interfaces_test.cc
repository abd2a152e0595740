#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "comm/net/address.h"
#include "tests/net/net_test.h"

namespace tutti {
namespace {

std::vector<Interface> machine() {
  return {{"lo", address_of("127.0.0.1:0"), 8},        {"ib0", address_of("[fd00:1::5]:0"), 64},
          {"eth0", address_of("192.0.2.2:0"), 24},     {"eth0", address_of("192.0.2.3:0"), 24},
          {"ens5", address_of("10.1.0.9:0"), 16},      {"ens6", address_of("10.2.0.9:0"), 16},
          {"docker0", address_of("172.17.0.1:0"), 16}, {"lo", address_of("[::1]:0"), 128},
          {"eth0", address_of("[fd00::2]:0"), 64}};
}

std::string choose(std::string_view selector, const std::vector<Interface>& interfaces) {
  const Result<SocketAddress> chosen = choose_interface(selector, interfaces);
  if (chosen.ok()) return chosen.value().host();
  EXPECT_EQ(chosen.status().code(), Code::kInvalidArgument);
  return "none";
}

TEST(ChooseInterface, Selectors) {
  const struct {
    const char* selector;
    const char* chosen;
  } kCases[] = {
      {"", "192.0.2.2"},              // IPv4 first, no loopback
      {"eth0", "192.0.2.2"},          // a name; its first address
      {"ens6", "10.2.0.9"},           //
      {"lo", "127.0.0.1"},            // loopback when it is asked for
      {"ens*", "10.1.0.9"},           // globs
      {"ens?", "10.1.0.9"},           //
      {"*[6]", "10.2.0.9"},           //
      {"ib0", "fd00:1::5"},           // IPv6 when there is no other
      {"ib*,docker0", "172.17.0.1"},  // IPv4 before IPv6, whatever the order
      {"ens6,eth0", "192.0.2.2"},     // the system's order, not the selector's
      {"10.0.0.0/8", "10.1.0.9"},     // networks
      {"10.2.0.0/16", "10.2.0.9"},    //
      {"10.2.77.1/16", "10.2.0.9"},   // bits behind the prefix do not count
      {"192.0.2.3/32", "192.0.2.3"},  // a single address
      {"192.0.2.3/31", "192.0.2.2"},  //
      {"0.0.0.0/0", "127.0.0.1"},     //
      {"fd00::/8", "fd00:1::5"},      //
      {"fd00::/48", "fd00::2"},       //
      {"::1/128", "::1"},             //
      {"^eth0", "10.1.0.9"},          // negation: everything else that is no loopback
      {"^eth0,^ens*", "172.17.0.1"},  //
      {"^eth0,^10.0.0.0/8,^docker0", "fd00:1::5"},
      {"ens*,^ens5", "10.2.0.9"},  // a negative term wins, wherever it stands
      {"^ens5,ens*", "10.2.0.9"},  //
      {"10.0.0.0/8,^10.1.0.0/16", "10.2.0.9"},
      {"^192.0.2.2/32", "192.0.2.3"},     // an interface with several addresses
      {"*,^lo,^0.0.0.0/0", "fd00:1::5"},  //
      {"wlan0,ens6", "10.2.0.9"},         // a term that matches nothing does no harm
  };
  for (const auto& c : kCases) EXPECT_EQ(choose(c.selector, machine()), c.chosen) << c.selector;
}

TEST(ChooseInterface, NothingLeftListsWhatThereIs) {
  for (const char* selector : {"wlan0", "eth", "ETH0", "192.168.0.0/16", "eth0,^eth0", "^*",
                               "ens*,^10.0.0.0/8", "10.2.0.9"}) {
    const Result<SocketAddress> chosen = choose_interface(selector, machine());
    ASSERT_FALSE(chosen.ok()) << selector;
    EXPECT_EQ(chosen.status().code(), Code::kInvalidArgument);
    const std::string text = chosen.status().text();
    EXPECT_NE(text.find(selector), std::string::npos) << text;
    EXPECT_NE(text.find("eth0 192.0.2.3/24"), std::string::npos) << text;
    EXPECT_NE(text.find("ib0 fd00:1::5/64"), std::string::npos) << text;
  }
  EXPECT_EQ(choose("", {machine()[0]}), "none");
  EXPECT_EQ(choose("", {}), "none");
}

TEST(ChooseInterface, MalformedSelectors) {
  for (const char* selector :
       {",", "eth0,", ",eth0", "eth0,,ens5", "^", "^^eth0", "eth^0", "10.0.0.0/33", "10.0.0.0/",
        "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0/8", "/8", "fd00::/129", "fd00:/8", "eth0/8", "^/",
        "10.0.0.0/8/8", "10.0.0.0/ 8"}) {
    const Result<SocketAddress> chosen = choose_interface(selector, machine());
    ASSERT_FALSE(chosen.ok()) << selector;
    EXPECT_EQ(chosen.status().code(), Code::kInvalidArgument);
    const std::string text = chosen.status().text();
    EXPECT_NE(text.find("expected comma-separated"), std::string::npos) << text;
    EXPECT_NE(text.find("eth0 192.0.2.2/24"), std::string::npos) << text;
  }
}

TEST(Interfaces, ThisMachineHasLoopback) {
  Result<std::vector<Interface>> interfaces = list_interfaces();
  ASSERT_TRUE(interfaces.ok()) << interfaces.status().text();
  bool found = false;
  for (const Interface& interface : interfaces.value()) {
    EXPECT_FALSE(interface.name.empty());
    EXPECT_EQ(interface.address.port(), 0);
    if (interface.address.host() != "127.0.0.1") continue;
    found = true;
    EXPECT_EQ(interface.prefix_bits, 8);
  }
  EXPECT_TRUE(found);
}

TEST(Interfaces, SourceTowardAPeer) {
  const Result<SocketAddress> local = source_toward(address_of("127.0.0.1:8000"));
  ASSERT_TRUE(local.ok()) << local.status().text();
  EXPECT_EQ(local.value().text(), "127.0.0.1:0");
  EXPECT_TRUE(source_toward(address_of("127.0.0.1:0")).ok());
  // A family that no socket has.
  EXPECT_EQ(source_toward(SocketAddress()).status().code(), Code::kSystemError);
}

TEST(PortRange, Parses) {
  for (const auto& [text, low, high] :
       std::vector<std::tuple<const char*, int, int>>{{"4000-4010", 4000, 4010},
                                                      {"1-65535", 1, 65535},
                                                      {"65535-65535", 65535, 65535},
                                                      {"7-7", 7, 7}}) {
    const Result<PortRange> range = parse_port_range(text);
    ASSERT_TRUE(range.ok()) << range.status().text();
    EXPECT_EQ(range.value().low, low);
    EXPECT_EQ(range.value().high, high);
  }
}

TEST(PortRange, RefusesEverythingElse) {
  for (const char* text : {"",
                           "-",
                           "4000",
                           "4000-",
                           "-4010",
                           "4010-4000",
                           "0-10",
                           "0-0",
                           "4000-65536",
                           "70000-70001",
                           "4000-4010 ",
                           " 4000-4010",
                           "4000 - 4010",
                           "4000--4010",
                           "4000-+4010",
                           "+4000-4010",
                           "4000-4010-4020",
                           "a-b",
                           "0x10-0x20",
                           "4000:4010"}) {
    const Result<PortRange> range = parse_port_range(text);
    ASSERT_FALSE(range.ok()) << text;
    EXPECT_EQ(range.status().code(), Code::kInvalidArgument);
    EXPECT_NE(range.status().text().find("got \"" + std::string(text) + "\""), std::string::npos);
  }
}

}  // namespace
}  // namespace tutti
