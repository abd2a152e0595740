#include "comm/bootstrap/agreement.h"

#include <algorithm>
#include <set>

#include "comm/base/bytes.h"

namespace tutti {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// The value of "name=value" in a text of such lines; the text itself when it has no such line.
std::string_view value_in(std::string_view settings, std::string_view name) {
  for (std::string_view line : split(settings, '\n')) {
    if (line.starts_with(name) && line.size() > name.size() && line[name.size()] == '=') {
      return line.substr(name.size() + 1);
    }
  }
  return "(not known there)";
}

Status settings_differ(const RankCard& first, const RankCard& other, size_t rank) {
  for (const std::string& side : {first.settings, other.settings}) {
    for (std::string_view line : split(side, '\n')) {
      const std::string name(line.substr(0, line.find('=')));
      const std::string here(value_in(first.settings, name));
      const std::string there(value_in(other.settings, name));
      if (here == there) continue;
      return error(
          Code::kMismatch,
          "setting %s must be the same on all ranks: rank 0 (%s) has \"%s\", rank %zu (%s) "
          "has \"%s\"",
          name.c_str(), first.host.c_str(), here.c_str(), rank, other.host.c_str(), there.c_str());
    }
  }
  return Status();
}

}  // namespace

std::string RankCard::encode() const {
  return BytesWriter()
      .number(wire_version)
      .text(settings)
      .text(host)
      .text(boot)
      .text(network)
      .text(host_id)
      .text(process)
      .text(control)
      .text(transports)
      .text(cores.mask)
      .number(static_cast<uint32_t>(cores.quota))
      .take();
}

RankCard RankCard::decode(std::string_view bytes) {
  BytesReader in(bytes);
  RankCard card;
  card.wire_version = in.number<uint32_t>();
  card.settings = in.text();
  card.host = in.text();
  card.boot = in.text();
  card.network = in.text();
  card.host_id = in.text();
  card.process = in.text();
  card.control = in.text();
  card.transports = in.text();
  card.cores.mask = in.text();
  card.cores.quota = static_cast<int>(in.number<uint32_t>());
  return card;
}

Status check_agreement(const std::vector<RankCard>& cards) {
  const RankCard& first = cards.front();
  for (size_t r = 1; r < cards.size(); ++r) {
    if (cards[r].wire_version != first.wire_version) {
      return error(Code::kVersionMismatch,
                   "all ranks need the same version of Tutti: rank 0 (%s) speaks wire version %u, "
                   "rank %zu (%s) version %u",
                   first.host.c_str(), first.wire_version, r, cards[r].host.c_str(),
                   cards[r].wire_version);
    }
  }
  for (size_t r = 1; r < cards.size(); ++r) TUTTI_TRY(settings_differ(first, cards[r], r));
  return Status();
}

Result<std::vector<std::string>> common_transports(const std::vector<RankCard>& cards) {
  std::vector<std::string> common;
  for (std::string_view name : split(cards.front().transports, ' ')) {
    const bool everywhere = std::all_of(cards.begin(), cards.end(), [name](const RankCard& card) {
      const std::vector<std::string_view> have = split(card.transports, ' ');
      return std::find(have.begin(), have.end(), name) != have.end();
    });
    if (everywhere) common.emplace_back(name);
  }
  if (!common.empty()) return common;
  std::string who;
  for (size_t r = 0; r < cards.size() && r < 8; ++r) {
    who += (r == 0 ? "rank " : "; rank ") + std::to_string(r) + " (" + cards[r].host +
           "): " + (cards[r].transports.empty() ? "none" : cards[r].transports);
  }
  return error(Code::kUnsupported, "there is no transport that all ranks can use: %s", who.c_str());
}

Status check_one_host(const std::vector<RankCard>& cards) {
  const RankCard& first = cards.front();
  for (size_t r = 1; r < cards.size(); ++r) {
    const RankCard& other = cards[r];
    const char* what = other.boot != first.boot         ? "hosts"
                       : other.network != first.network ? "network name spaces of one host"
                       : other.host_id != first.host_id ? "parts of one host (TUTTI_HOST_ID)"
                                                        : nullptr;
    if (what == nullptr) continue;
    return error(Code::kUnsupported, "rank 0 (%s) and rank %zu (%s) are in different %s",
                 first.host.c_str(), r, other.host.c_str(), what);
  }
  return Status();
}

HostShare host_share(const std::vector<RankCard>& cards, int rank) {
  const RankCard& own = cards[static_cast<size_t>(rank)];
  HostShare share{0, 0};
  Cores cores = own.cores;
  for (const RankCard& card : cards) {
    if (card.boot != own.boot) continue;
    ++share.ranks;
    cores.add(card.cores);
  }
  share.cores = cores.count();
  return share;
}

bool any_host_crowded(const std::vector<RankCard>& cards) {
  std::set<std::string_view> seen;
  for (size_t r = 0; r < cards.size(); ++r) {
    // Once a host: there may be thousands of ranks.
    if (!seen.insert(cards[r].boot).second) continue;
    if (host_share(cards, static_cast<int>(r)).crowded()) return true;
  }
  return false;
}

}  // namespace tutti
