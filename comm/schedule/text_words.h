// Words: reads one line of the text form of schedules. For the parsers only. Not thread-safe.
#pragma once

#include <charconv>
#include <string>
#include <string_view>

#include "comm/base/status.h"

namespace tutti {

// The words of one line: names, numbers and single signs. "->" and ".." are signs too.
class Words {
 public:
  Words(std::string_view line, int number) : number_(number) {
    rest_ = line.substr(0, line.find('#'));
  }

  bool at_end() { return peek().empty(); }
  std::string_view peek() {
    skip_blanks();
    if (rest_.empty()) return {};
    return rest_.substr(0, length());
  }
  std::string_view next() {
    const std::string_view word = peek();
    rest_.remove_prefix(word.size());
    return word;
  }
  bool take(std::string_view word) {
    if (peek() != word) return false;
    next();
    return true;
  }
  Status expect(std::string_view word) {
    return take(word) ? Status() : wrong("'" + std::string(word) + "'");
  }
  // A number from 0 to below `bound`.
  Status number(const char* what, uint64_t bound, uint32_t* out) {
    const std::string_view word = peek();
    uint32_t value = 0;
    const auto [end, problem] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (word.empty() || problem != std::errc() || end != word.data() + word.size() ||
        value >= bound) {
      return wrong(std::string(what) + " below " + std::to_string(bound));
    }
    next();
    *out = value;
    return {};
  }
  // A number with sign, fraction and exponent as it needs them, or "inf".
  Status real(const char* what, float* out) {
    skip_blanks();
    const auto [end, problem] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), *out);
    if (problem != std::errc()) return wrong(what);
    rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
    return {};
  }
  bool at_number() {
    const std::string_view word = peek();
    return !word.empty() && is_digit(word[0]);
  }
  Status wrong(const std::string& expected) {
    std::string got(peek().substr(0, 40));
    for (char& c : got) {
      if (c < ' ' || c > '~') c = '?';
    }
    return wrong(expected, got.empty() ? "the end of the line" : "'" + got + "'");
  }
  Status wrong(const std::string& expected, const std::string& got) const {
    return error(Code::kInvalidArgument, "schedule text line %d: expected %s, got %s", number_,
                 expected.c_str(), got.c_str());
  }
  int number() const { return number_; }

 private:
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || c == '_'; }
  void skip_blanks() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t' || rest_[0] == '\r')) {
      rest_.remove_prefix(1);
    }
  }
  size_t length() const {
    size_t n = 1;
    if (rest_.substr(0, 2) == "->" || rest_.substr(0, 2) == "..") return 2;
    if (is_digit(rest_[0])) {
      while (n < rest_.size() && is_digit(rest_[n])) ++n;
    } else if (is_letter(rest_[0])) {
      while (n < rest_.size() && (is_letter(rest_[n]) || is_digit(rest_[n]))) ++n;
    }
    return n;
  }

  std::string_view rest_;
  int number_;
};

}  // namespace tutti
