#include "comm/net/secret.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <vector>

namespace tutti {
namespace {

Secret counting() {
  Secret secret;
  for (size_t i = 0; i < secret.size(); ++i) secret[i] = static_cast<uint8_t>(i);
  return secret;
}

std::string hex(const Digest& digest) {
  std::string text;
  for (const uint8_t byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

// A key shorter than a block is filled with zeros, so that test case 2 of RFC 4231 (key "Jefe") is
// one of 16 bytes as well.
TEST(Hmac, AgreesWithTheTestVectorOfTheRfc) {
  Secret jefe = {'J', 'e', 'f', 'e'};
  EXPECT_EQ(hex(hmac(jefe, "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

// Computed with another implementation.
TEST(Hmac, AgreesWithKnownValues) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  EXPECT_EQ(hex(hmac(counting(), "")),
            "07eff8b326b7798c9ccfcbdbe579489ac785a7995a04618b1a2813c26744777d");
  EXPECT_EQ(hex(hmac(counting(), "abc")),
            "d601cc177559b0248459787f7e804ed7f27689b5995c59b661802d9682fdf8d2");
  EXPECT_EQ(hex(hmac(counting(), std::string(1000, 'a'))),
            "4faf0de0c3ac8bc99cf5ddd5104b3ca6aebb61aa59270440df6e1fb18bbf04c3");
  EXPECT_EQ(hex(hmac(counting(), all)),
            "0ad3270ca09813264a7586de4c5716490207950cc799c814890b5a4d97446373");
}

TEST(Hmac, SameLooksAtEveryByte) {
  const Digest digest = hmac(counting(), "abc");
  EXPECT_TRUE(same(digest, digest));
  for (size_t i = 0; i < digest.size(); ++i) {
    Digest other = digest;
    other[i] ^= 0x10;
    EXPECT_FALSE(same(digest, other)) << i;
  }
}

TEST(Secrets, KeyIdIsTheOneOnTheWire) {
  EXPECT_EQ(key_id(counting()), 0xe9185b57c3fd8b83u);
  EXPECT_NE(key_id(counting()), key_id(Secret{}));
}

TEST(Secrets, PrintAndParse) {
  EXPECT_EQ(print_secret(counting()), "000102030405060708090a0b0c0d0e0f");
  EXPECT_EQ(parse_secret("000102030405060708090a0b0c0d0e0f"), counting());
  EXPECT_EQ(parse_secret("000102030405060708090A0b0C0D0E0F"), counting());
  Result<Secret> made = make_secret();
  ASSERT_TRUE(made.ok()) << made.status().text();
  EXPECT_EQ(parse_secret(print_secret(made.value())), made.value());
  EXPECT_NE(make_secret().value(), made.value());
}

TEST(Secrets, ParseRefusesEverythingElse) {
  const std::string good = "000102030405060708090a0b0c0d0e0f";
  for (const std::string& bad :
       {std::string(), good.substr(1), good + "0", good + "00", " " + good, good + "\n",
        "0x" + good.substr(2), std::string(32, 'g'), std::string(32, '/'), std::string(32, ':'),
        std::string(32, '@'), std::string(32, '`'), std::string(32, '\0')}) {
    EXPECT_EQ(parse_secret(bad), std::nullopt) << bad;
  }
}

TEST(Secrets, RandomBytesFillEveryLength) {
  for (const size_t bytes : {0u, 1u, 16u, 255u, 4096u, 100000u}) {
    std::vector<uint8_t> made(bytes + 1, 7);
    ASSERT_TRUE(random_bytes(made.data(), bytes).ok());
    EXPECT_EQ(made[bytes], 7) << "wrote past the end";
    if (bytes < 255) continue;
    const auto tail = std::vector<uint8_t>(made.end() - 101, made.end() - 1);
    EXPECT_TRUE(std::any_of(tail.begin(), tail.end(), [](uint8_t byte) { return byte != 7; }));
  }
}

TEST(KeyRing, FindsWhatWasAdded) {
  KeyRing keys;
  const Secret a = counting();
  const Secret b = {};
  EXPECT_EQ(keys.find(key_id(a)), std::nullopt);
  keys.add(a);
  keys.add(b);
  EXPECT_EQ(keys.find(key_id(a)), a);
  EXPECT_EQ(keys.find(key_id(b)), b);
  EXPECT_EQ(keys.find(key_id(a) + 1), std::nullopt);
  keys.remove(a);
  EXPECT_EQ(keys.find(key_id(a)), std::nullopt);
  EXPECT_EQ(keys.find(key_id(b)), b);
}

TEST(KeyRing, CountsUses) {
  KeyRing keys;
  keys.remove(counting());  // nothing there: no harm
  keys.add(counting());
  keys.add(counting());
  keys.remove(counting());
  EXPECT_EQ(keys.find(key_id(counting())), counting());
  keys.remove(counting());
  EXPECT_EQ(keys.find(key_id(counting())), std::nullopt);
  keys.remove(counting());
  keys.add(counting());
  EXPECT_EQ(keys.find(key_id(counting())), counting());
}

TEST(KeyRing, IsForAnyThread) {
  KeyRing keys;
  keys.add(Secret{});
  std::vector<std::thread> threads;
  for (uint8_t t = 1; t <= 4; ++t) {
    threads.emplace_back([&keys, t] {
      for (int i = 0; i < 200; ++i) {
        const Secret own = {t};
        keys.add(own);
        EXPECT_EQ(keys.find(key_id(own)), own);
        keys.remove(own);
        EXPECT_EQ(keys.find(key_id(Secret{})), Secret{});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace tutti
